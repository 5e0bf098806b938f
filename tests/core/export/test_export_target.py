"""The folder an export is written to, and what killed exports leave beside it."""

from pathlib import Path

import pytest
from filelock import FileLock

from neurontune_core.export.target import new_folder


def test_an_export_removes_what_a_killed_one_left_and_spares_one_at_work(tmp_path: Path) -> None:
    left, busy, other = (tmp_path / name for name in (".neurontune-export-a", ".neurontune-export-b", ".mine"))
    for folder in (left, busy, other):
        (folder / "content").mkdir(parents=True)
        (folder / "lock").touch()
    with FileLock(busy / "lock"), new_folder(tmp_path / "out") as content:
        (content / "weights").touch()
    assert sorted(path.name for path in tmp_path.iterdir()) == [".mine", ".neurontune-export-b", "out"]
    with new_folder(tmp_path / "again"):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == [".mine", "again", "out"]


def test_an_export_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), new_folder(tmp_path / "out") as content:
        (content / "weights").write_text(str(1 / 0))
    assert not list(tmp_path.iterdir())
