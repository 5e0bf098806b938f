import subprocess
import sys
from pathlib import Path

import pytest

from neurontune_core.errors import InputError
from neurontune_core.evaluation.judges import JUDGES, judge_by_name


def test_names_and_versions(tmp_path: Path) -> None:
    (tmp_path / "verdicts.jsonl").write_text('{"id": "a", "label": "refusal"}\n', encoding="utf-8")
    judges = [
        judge_by_name("rules"),
        judge_by_name("keyword"),
        judge_by_name("precomputed", tmp_path / "verdicts.jsonl"),
    ]
    assert [(judge.name, judge.version) for judge in judges] == [
        ("rules", "11"),
        ("keyword", "1"),
        ("precomputed", "2"),
    ]
    assert set(JUDGES) == {"rules", "keyword", "precomputed", "classifier"}


def test_bad_requests() -> None:
    with pytest.raises(InputError, match="'magic'; choose among rules"):
        judge_by_name("magic")
    with pytest.raises(InputError, match="takes no path"):
        judge_by_name("rules", "somewhere")
    with pytest.raises(InputError, match="needs a path"):
        judge_by_name("classifier")
    with pytest.raises(InputError, match="not a folder"):
        judge_by_name("classifier", "no/such/folder")


def test_the_default_judge_does_not_load_torch() -> None:
    code = (
        "import sys; from neurontune_core.evaluation.judges import judge_by_name, Completion;"
        "judge_by_name('rules')([Completion('a', 'Hi', 'Hello')]);"
        "sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
