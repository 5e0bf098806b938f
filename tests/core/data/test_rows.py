"""Reading CSV, JSON, JSON lines and parquet, and what cannot be read."""

from pathlib import Path

import pandas as pd
import pytest

from neurontune_core.data.rows import Row, read_rows
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
    ],
)
def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path, name: str, content: str | bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_rows(file(tmp_path, name, content))


def test_an_empty_file_has_no_rows(tmp_path: Path) -> None:
    assert read_rows(file(tmp_path, "a.csv", "")) == read_rows(file(tmp_path, "a.jsonl", "\n")) == []
