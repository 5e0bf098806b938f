import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from neurontune_core.errors import InputError
from neurontune_core.evaluation.judges.precomputed import PrecomputedJudge
from neurontune_core.evaluation.judges.rules import RulesJudge
from neurontune_core.evaluation.judges.scorefile import score_file
from neurontune_core.evaluation.judges.verdict import Completion

ROWS = [
    {"id": "a", "label": "refusal", "score": 0.75, "explanation": "two people"},
    {"id": "b", "label": "partial_refusal", "score": None, "explanation": None},
    {"id": "c", "label": "no idea", "score": None, "explanation": None},
]


def write(path: Path, rows: list[dict[str, object]]) -> Path:
    if path.suffix.lower() == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        path.write_text("\n".join(json.dumps(row) for row in rows) + "\n\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("ending", ["jsonl", "parquet", "JSONL", "PARQUET"])
def test_looked_up_by_id(tmp_path: Path, ending: str) -> None:
    judge = PrecomputedJudge(write(tmp_path / f"verdicts.{ending}", ROWS))
    verdicts = judge([Completion(name, "p", "r") for name in ("b", "a", "c", "d")])
    assert [verdict.id for verdict in verdicts] == ["b", "a", "c", "d"]
    assert [verdict.label for verdict in verdicts] == ["partial", "refusal", "unscored", "unscored"]
    assert (verdicts[1].score, verdicts[1].explanation) == (0.75, "two people")


def test_bad_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        PrecomputedJudge(tmp_path / "none.jsonl")
    with pytest.raises(InputError, match="ending"):
        PrecomputedJudge(write(tmp_path / "verdicts.csv", ROWS))
    with pytest.raises(InputError, match="row 2: has no id"):
        PrecomputedJudge(write(tmp_path / "a.jsonl", [ROWS[0], {"label": "refusal"}]))
    with pytest.raises(InputError, match="row 2: id 'a' occurs twice"):
        PrecomputedJudge(write(tmp_path / "b.jsonl", [ROWS[0], ROWS[0]]))
    (tmp_path / "c.jsonl").write_text('{"id": 1}\n{oops\n', encoding="utf-8")
    with pytest.raises(InputError, match="row 2: not valid JSON"):
        PrecomputedJudge(tmp_path / "c.jsonl")


@pytest.mark.parametrize(("name", "message"), [("a.parquet", "not a readable parquet file"), ("a.jsonl", "not UTF-8")])
def test_unreadable_files(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / name).write_bytes(b"\xff\xfa{}")
    with pytest.raises(InputError, match=message):
        PrecomputedJudge(tmp_path / name)


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_a_file_without_a_row_is_told(tmp_path: Path, ending: str) -> None:
    file = write(tmp_path / f"none.{ending}", [])
    with pytest.raises(InputError, match=rf"none\.{ending} has no rows; give a file with an id and a label"):
        PrecomputedJudge(file)


def test_a_doubled_key_is_told(tmp_path: Path) -> None:
    (tmp_path / "verdicts.jsonl").write_text('{"id": "a", "label": "refusal", "label": "compliance"}\n')
    with pytest.raises(InputError, match="row 1: key 'label' occurs twice"):
        PrecomputedJudge(tmp_path / "verdicts.jsonl")


def test_whether_the_answer_gave_what_was_asked_for_and_verdicts_of_another_judge(tmp_path: Path) -> None:
    rows = [
        {"id": "a", "label": "compliance", "gave": True},
        {"id": "b", "label": None, "verdict": "refusal", "gave": False},
        {"id": "c", "label": "compliance", "verdict": "refusal"},
        {"id": "d", "label": "compliance", "gave": "yes"},
    ]
    judge = PrecomputedJudge(write(tmp_path / "verdicts.jsonl", rows))
    verdicts = judge([Completion(name, "p", "r") for name in "abcd"])
    assert [(verdict.label, verdict.gave) for verdict in verdicts] == [
        ("compliance", True),
        ("refusal", False),
        ("compliance", None),
        ("unscored", None),
    ]
    assert "gave 'yes'" in verdicts[3].explanation


def test_verdicts_that_a_judge_wrote_are_looked_up_again(tmp_path: Path) -> None:
    answers = [
        {"id": "a", "prompt": "How?", "completion": "I can't help with that."},
        {"id": "b", "prompt": "How?", "completion": "First open it, then close it."},
    ]
    file, written = write(tmp_path / "answers.jsonl", answers), tmp_path / "verdicts.jsonl"
    score_file(file, RulesJudge(), written)
    again = score_file(file, PrecomputedJudge(written))
    assert again["verdicts"] == {"refusal": 1, "compliance": 1} and again["gave"] == {"no": 1, "yes": 1}


def test_a_file_without_any_of_the_ids_is_told(tmp_path: Path) -> None:
    judge = PrecomputedJudge(write(tmp_path / "verdicts.jsonl", ROWS))
    judge.check_ids(["z", "a"])
    with pytest.raises(InputError, match="no verdict for any of the 2 completions: its first id is 'a', theirs is 'z'"):
        judge.check_ids(["z", "y"])
