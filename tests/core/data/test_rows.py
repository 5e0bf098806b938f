"""Reading CSV, JSON, JSON lines and parquet, and what cannot be read."""

import json
import os
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from neurontune_core.data.rows import Row, Table, check_is_itself, read_objects, read_rows, read_table
from neurontune_core.errors import InputError


def file(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", 'q,n\r\n"One, two\nlines\u2028 and ""quotes""",1\r\nZw\u2028ölf,2\r\n'),
        ("a.json", '[{"q": "One, two\\nlines\u2028 and \\"quotes\\"", "n": "1"}, {"q": "Zw\u2028ölf", "n": "2"}]'),
        ("a.json", '{"q": "One, two\\nlines\u2028 and \\"quotes\\"", "n": "1"}\n{"q": "Zw\u2028ölf", "n": "2"}\n'),
        ("a.jsonl", '{"q": "One, two\\nlines\u2028 and \\"quotes\\"", "n": "1"}\n{"q": "Zw\u2028ölf", "n": "2"}\n'),
    ],
)
def test_text_formats_give_the_same_rows(tmp_path: Path, name: str, content: str, mark: str) -> None:
    first = {"q": 'One, two\nlines\u2028 and "quotes"', "n": "1"}
    assert read_rows(file(tmp_path, name, mark + content)) == [Row(1, first), Row(2, {"q": "Zw\u2028ölf", "n": "2"})]


def test_parquet(tmp_path: Path) -> None:
    pd.DataFrame({"q": ["a", None], "safe": [True, False]}).to_parquet(tmp_path / "a.parquet")
    assert read_rows(tmp_path / "a.parquet") == [Row(1, {"q": "a", "safe": True}), Row(2, {"q": None, "safe": False})]


def test_rows_that_cannot_be_read_keep_their_number_and_say_why(tmp_path: Path) -> None:
    lines = read_rows(file(tmp_path, "a.jsonl", '{"q": "a"}\n\n{"q": \n[1]\n{"q": "b"}'))
    assert [(row.number, row.problem.split(":")[0]) for row in lines] == [
        (1, ""),
        (3, "not JSON"),
        (4, "not an object"),
        (5, ""),
    ]
    table = read_rows(file(tmp_path, "a.CSV", 'q,n\na,1\nb\n\nc,2,3\n"d" e,4\nf,5\n'))
    assert [(row.number, row.problem) for row in table] == [
        (1, ""),
        (2, "1 fields where the header has 2"),
        (3, "3 fields where the header has 2"),
        (4, "not CSV: ',' expected after '\"'"),
        (5, ""),
    ]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", "q", r"unknown format '\.txt'; give a file that ends in \.csv"),
        ("a.csv", b"q\n\xff\xfe\n", r"not UTF-8 \(invalid start byte at byte 2\); convert the file to UTF-8"),
        ("a.csv", 'q,n\n"a,1\n', r"not a readable csv file: line \d: unexpected end of data"),
        ("a.json", "[1, 2", "not a readable json file"),
        ("a.parquet", "PAR0", "not a readable parquet file"),
        ("a.parquet", "", "not a readable parquet file"),
        ("a.json", "[" * 100_000, "not a readable json file"),
        ("a.json", f"[{'1' * 5000}]", "not a readable json file"),
        ("a.json", '{\n "q": "a"\n}', "holds one object, with 'q', of which not exactly one .* give a list of objects"),
        (
            "a.json",
            '{\n "a": [{"q": "a"}], "b": [{"q": "b"}]\n}',
            "holds one object, with 'a', 'b', of which not exactly",
        ),
        ("a.csv", b"q\nF\xfcr Elise\n", "not UTF-8 .* convert the file to UTF-8 .a spreadsheet can save it"),
        ("a.csv", "goal,target,goal\na,b,c\n", "column 'goal' occurs twice; keep one of them, or rename one"),
        ("a.csv", "goal,,\na,b,c\n", "column '' occurs twice"),
        ("a.csv", "goal;goal\na;b\n", "column 'goal' occurs twice"),
        ("a.csv", "Goal,goal \na,b\n", "columns 'Goal' and 'goal ' differ only in case or blanks; keep one of them"),
        ("a.jsonl", '{"q": "a"}\n{"q": "b", "n": 1, "q": "c"}', "row 2: key 'q' occurs twice"),
        ("a.json", '[{"q": "a", "q": "a"}]', "row 1: key 'q' occurs twice"),
        ("a.jsonl", '{"q": "a"}\n{"Q": "b"}', "columns 'q' and 'Q' differ only in case or blanks"),
    ],
)
def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path, name: str, content: str | bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_rows(file(tmp_path, name, content))


def test_an_empty_file_has_no_rows(tmp_path: Path) -> None:
    assert read_rows(file(tmp_path, "a.csv", "")) == read_rows(file(tmp_path, "a.jsonl", "\n")) == []


def test_columns_of_parquet_are_told_apart_as_well(tmp_path: Path) -> None:
    for names, message in ((["q", "q"], "column 'q' occurs twice"), (["a b", "A  B"], "only in case or blanks")):
        table = pa.table([["x"], ["y"]], names=names)
        parquet.write_table(table, tmp_path / "a.parquet")
        with pytest.raises(InputError, match=message):
            read_rows(tmp_path / "a.parquet")


def test_a_doubled_key_below_a_field_is_none_of_ours(tmp_path: Path) -> None:
    assert read_rows(file(tmp_path, "a.jsonl", '{"q": "a", "meta": {"n": 1, "n": 2}}'))[0].values["q"] == "a"


def test_the_index_column_of_pandas_is_left_out_with_a_word(tmp_path: Path) -> None:
    frame = pd.DataFrame({"q": ["a", "b"]}, index=pd.Index([3, 5]))
    frame.to_csv(tmp_path / "a.csv")
    frame.to_parquet(tmp_path / "b.PARQUET")
    file(tmp_path, "c.csv", "Unnamed: 0,q\n0,a\n1,b\n")
    for name, column in (("a.csv", ""), ("b.PARQUET", "__index_level_0__"), ("c.csv", "Unnamed: 0")):
        table = read_table(tmp_path / name)
        assert [row.values for row in table.rows] == [{"q": "a"}, {"q": "b"}]
        assert table.notes == (f"column {column!r} is taken for an index and not used",)


def test_a_field_may_be_of_any_length(tmp_path: Path) -> None:
    rows = read_rows(file(tmp_path, "a.csv", f"q,n\na,{'x' * 200_000}\nb,1\n"))
    assert [(row.values["q"], len(row.values["n"]), row.problem) for row in rows] == [("a", 200_000, ""), ("b", 1, "")]


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_other_delimiters_are_found_in_the_header(tmp_path: Path, delimiter: str) -> None:
    table = read_table(file(tmp_path, "a.csv", f'goal{delimiter}kind\n"a{delimiter} b, c"{delimiter}x\n'))
    assert table == Table([Row(1, {"goal": f"a{delimiter} b, c", "kind": "x"})], table.notes)
    assert table.notes == (f"its columns are separated by {delimiter!r}",)


@pytest.mark.parametrize("delimiter", [";", "\t", ","])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("ending", ["csv", "TSV"])
@pytest.mark.parametrize("first", ["", "sep={}\r\n"])
def test_what_spreadsheets_write_is_read(
    tmp_path: Path, delimiter: str, encoding: str, ending: str, first: str
) -> None:
    """A line that names the separator, another encoding, columns without name and value, lines that end in CR LF."""
    lines = ["goal,kind,,", '"Für a, b\r\nor c",x,,', "d,,,", ",,,"]
    text = first + "".join(f"{line}\r\n" for line in lines)
    quoted = '"Für a, b\r\nor c"'
    text = text.replace(quoted, "QUOTED").replace(",", delimiter).replace("QUOTED", quoted).format(delimiter)
    table = read_table(file(tmp_path, f"a.{ending}", text.encode(encoding)))
    assert [row.values for row in table.rows] == [
        {"goal": "Für a, b\nor c", "kind": "x"}, {"goal": "d", "kind": ""}, {"goal": "", "kind": ""},
    ]  # fmt: skip
    assert "2 empty columns without a name are not used" in table.notes and not any(row.problem for row in table.rows)


@pytest.mark.parametrize(
    "content",
    [
        '{"data": [{"q": "a", "n": 1}, {"q": "b", "n": 2}]}',
        '{"version": "1.0", "tags": ["x"], "rows": [{"q": "a", "n": 1}, {"q": "b", "n": 2}], "errors": []}',
        '{"q": ["a", "b"], "n": [1, 2]}',
        '{"q": {"0": "a", "1": "b"}, "n": {"0": 1, "1": 2}}',
    ],
)
@pytest.mark.parametrize("indent", [None, 1])
def test_rows_within_an_object_are_found_with_a_word(tmp_path: Path, content: str, indent: int | None) -> None:
    table = read_table(file(tmp_path, "a.json", json.dumps(json.loads(content), indent=indent)))
    assert table.rows == [Row(1, {"q": "a", "n": 1}), Row(2, {"q": "b", "n": 2})]
    assert len(table.notes) == 1 and table.notes[0].startswith("it")


@pytest.mark.parametrize(
    "row", [{"q": "a"}, {"messages": [{"role": "user", "content": "a"}]}, {"conversations": [{"from": "human"}]}]
)
def test_one_object_on_one_line_is_a_row(tmp_path: Path, row: dict[str, object]) -> None:
    assert [each.values for each in read_rows(file(tmp_path, "a.json", json.dumps(row)))] == [row]


@pytest.mark.parametrize(
    ("content", "texts", "note"),
    [
        ('q\n"One, two"\n', ["One, two"], ""),
        ('""\nOne\n\nTwo\n', ["One", "Two"], ""),
        ("\n\nq\nOne\n", ["One"], ""),
        ("How do tides work here?\nWho was Ada?\n", ["How do tides work here?", "Who was Ada?"], "has no header"),
        ("Explain this; and then that thing.\nTwo\n", ["Explain this; and then that thing.", "Two"], "has no header"),
        ('"Sorry, I do not do that."\n"No, no."\n', ["Sorry, I do not do that.", "No, no."], "has no header"),
        ("Sorry, I do not do that.\nNo.\n", ["Sorry, I do not do that.", "No."], "one text a line"),
        ("Be {query}\nAs {query}\n", ["Be {query}", "As {query}"], "has no header"),
    ],
)
def test_one_column_may_do_without_a_name(tmp_path: Path, content: str, texts: list[str], note: str) -> None:
    table = read_table(file(tmp_path, "a.csv", content))
    assert [list(row.values.values()) for row in table.rows] == [[text] for text in texts]
    assert [row.number for row in table.rows] == list(range(1, len(texts) + 1))
    assert note in " ".join(table.notes) and bool(table.notes) == bool(note)


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.json", '["One", "Two"]'), ("a.jsonl", '"One"\n"Two"\n'), ("a.jsonl", '["One", "Two"]')],
)
def test_a_list_of_texts_is_a_column(tmp_path: Path, name: str, content: str) -> None:
    assert read_rows(file(tmp_path, name, content)) == [Row(1, {"text": "One"}), Row(2, {"text": "Two"})]


def test_texts_among_objects_are_not_objects(tmp_path: Path) -> None:
    rows = read_rows(file(tmp_path, "a.json", '["One", {"q": "Two"}]'))
    assert [row.problem for row in rows] == ["not an object: 'One'", ""]


@pytest.mark.parametrize(
    ("name", "content", "columns", "index"),
    [
        ("a.csv", ",Unnamed: 0,goal\n0,0,a\n1,1,b\n", ["goal"], ["", "Unnamed: 0"]),
        ("a.csv", "Unnamed: 0.1,Unnamed: 0,goal\n0,0,a\n", ["goal"], ["Unnamed: 0.1", "Unnamed: 0"]),
        ("a.csv", "index,goal\n0,a\n1,b\n", ["goal"], ["index"]),
        ("a.csv", "index,goal\n7,a\n1,b\n", ["index", "goal"], []),
        ("a.jsonl", '{"goal": "a", "level_0": 0}\n', ["goal"], ["level_0"]),
        ("a.json", '[{"goal": "a", "__index_level_0__": 4, "__index_level_1__": 2}]', ["goal"],
         ["__index_level_1__", "__index_level_0__"]),
        ("a.csv", "index,level_0\n0,0\n", ["index", "level_0"], []),
    ],
)  # fmt: skip
def test_every_index_of_pandas_is_left_out_with_a_word(
    tmp_path: Path, name: str, content: str, columns: list[str], index: list[str]
) -> None:
    (tmp_path / name).write_text(content)
    table = read_table(tmp_path / name)
    assert table.columns == columns
    assert table.notes == tuple(f"column {column!r} is taken for an index and not used" for column in index)


@pytest.mark.parametrize("other", ["Goal", " goal", "goal\u00a0", "goal\u200b", "\u2060goal", "\uff47oal", "GO AL"])
@pytest.mark.parametrize("form", ["goal,target,{}\na,b,c\n", '{{"goal": "a", "{}": "b"}}\n'])
def test_columns_that_look_alike_are_told(tmp_path: Path, form: str, other: str) -> None:
    path = file(tmp_path, "a.csv" if form.startswith("goal") else "a.jsonl", form.format(other))
    with pytest.raises(InputError, match="only in case or blanks"):
        read_table(path)


def test_a_second_column_as_pandas_names_it_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("goal,goal.1,score.5\na,b,c\n")
    (note,) = read_table(tmp_path / "a.csv").notes
    assert note == "pandas gives a second column 'goal' the name 'goal.1'; check that you mean 'goal'"


def test_a_doubled_key_of_a_message_and_a_pipe_are_told(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"messages": [{"role": "user", "content": "a", "content": "b"}]}\n')
    with pytest.raises(InputError, match="row 1: key 'content' occurs twice"):
        read_table(tmp_path / "a.jsonl")
    os.mkfifo(tmp_path / "b.csv")
    with pytest.raises(InputError, match=r"b\.csv: is neither file nor folder"):
        read_table(tmp_path / "b.csv")


@pytest.mark.parametrize("start", ["version https://git-lfs.github.com/spec/v1", "\n<!DOCTYPE html>\n", "\ufeff<html>"])
@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.json", "a.parquet"])
def test_what_stands_in_a_files_place_is_told(tmp_path: Path, name: str, start: str) -> None:
    """Read as a table, its lines would be rows."""
    with pytest.raises(InputError, match=rf"{name}: is an? (Git LFS pointer|HTML page); .*(fetch|download)"):
        read_table(file(tmp_path, name, f"{start}\nHow do I bake bread?\nHow do I make soap?\n"))


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.parquet"])
def test_a_file_too_large_to_read_is_told_and_not_read(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    os.truncate(tmp_path / name, 2**40)
    with pytest.raises(InputError, match=rf"{name}: has 1,099,511,627,776 bytes, more than .*a part of the file"):
        read_table(tmp_path / name)


def test_the_reason_of_a_library_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        read_table(file(tmp_path, "a.parquet", b"PAR1" + bytes(100) + b"PAR1"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.parquet"])
def test_a_pipe_is_told_and_not_waited_for(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    for read in (read_table, lambda path: list(read_objects(path, "verdict file"))):
        with pytest.raises(InputError, match=rf"{name}: is neither file nor folder"):
            read(tmp_path / name)


@pytest.mark.parametrize("name", ["gone.jsonl", "folder.jsonl", "gone.parquet", "long" * 2000 + ".jsonl"])
def test_objects_of_no_file_are_told(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder.jsonl").mkdir()
    with pytest.raises(InputError, match=r"^verdict file .*(cannot be read|not a readable parquet file)"):
        list(read_objects(tmp_path / name, "verdict file"))


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.parquet"])
def test_a_file_that_may_not_be_read_is_told(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    path = file(tmp_path, name, "q\n1\n")
    monkeypatch.setattr(Path, "open", refused)
    for read in (read_table, check_is_itself, lambda path: list(read_objects(path, "verdict file"))):
        with pytest.raises(InputError, match=rf"{name}: cannot be read \(Permission denied\); check the file"):
            read(path)


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
def test_a_link_to_a_file_is_the_file(tmp_path: Path, name: str) -> None:
    """As in the cache of a hub, where every file is one to a blob without an ending."""
    blob = file(tmp_path, "0f3c", "q\nOne\n" if name.endswith("csv") else '{"q": "One"}\n')
    (tmp_path / name).symlink_to(blob)
    assert [row.values for row in read_rows(tmp_path / name)] == [{"q": "One"}]
