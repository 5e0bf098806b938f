"""Saved state of an unfinished stage."""

import logging
import os
import time
from pathlib import Path

import pytest

from neurontune_core.unfinished import ABANDONED_SECONDS, UnfinishedStage

LOCAL_AND_MEMORY = pytest.mark.parametrize("root", ["local", "memory"])


def stage(root: str, folder: Path, key: str = "abc") -> UnfinishedStage:
    return UnfinishedStage(str(folder) if root == "local" else f"memory://{folder.name}", "scaling", key)


@LOCAL_AND_MEMORY
def test_state_is_kept_until_it_is_discarded(root: str, tmp_path: Path) -> None:
    state, other = stage(root, tmp_path), stage(root, tmp_path, "abd")
    assert state.load() is None
    state.save(b"one")
    state.save(b"two")
    assert (state.load(), other.load()) == (b"two", None)
    state.discard()
    assert state.load() is None
    state.discard()


@pytest.mark.parametrize("name", ["a b", "a%20b", "a%2Fb", "a#b", "a[b]*", "ü"])
def test_the_root_may_have_any_name(name: str, tmp_path: Path) -> None:
    root = tmp_path / name
    root.mkdir()
    state = UnfinishedStage(str(root), "scaling", "abc")
    state.save(b"one")
    assert state.load() == b"one" and [each.name for each in (root / ".unfinished").iterdir()] == ["scaling-abc"]


@LOCAL_AND_MEMORY
@pytest.mark.parametrize("content", [b"", b"x", b"any bytes" * 1000, bytes(range(256))])
def test_any_content_comes_back(root: str, content: bytes, tmp_path: Path) -> None:
    state = stage(root, tmp_path)
    state.save(content)
    assert state.load() == content
    state.discard()


def test_a_save_that_fails_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the new file is whole on the disk, and before it has its name."""
    state = stage("local", tmp_path)
    state.save(b"one")

    def fail(*_: object) -> None:
        raise OSError("disk full")

    for function in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, function, fail)
            with pytest.raises(OSError, match="disk full"):
                state.save(b"two")
        assert state.load() == b"one"


def damages(written: bytes) -> dict[str, bytes]:
    return {
        "nothing": b"",
        "garbage": b"garbage",
        "NULs": b"\0" * len(written),
        "a hole": written[:40] + b"\0" * 8 + written[48:],
        "cut in the checksum": written[:20],
        "cut after the checksum": written[:32],
        "cut by one": written[:-1],
        "longer": written + b"\n",
        "doubled": written * 2,
        "a bit of the checksum": bytes([written[0] ^ 128]) + written[1:],
        "the last bit": written[:-1] + bytes([written[-1] ^ 1]),
        "without a checksum, as older versions wrote it": written[32:],
    }


@LOCAL_AND_MEMORY
@pytest.mark.parametrize("kind", damages(b"x" * 99))
def test_a_damaged_state_is_set_aside_with_one_line(
    root: str, kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    state = stage(root, tmp_path)
    state.save(bytes(range(200)))
    filesystem, path = state._place()
    damaged = damages(filesystem.cat_file(path))[kind]
    filesystem.pipe_file(path, damaged)
    with caplog.at_level(logging.WARNING):
        assert state.load() is None
    (line,) = caplog.messages
    assert line.startswith("scaling: the saved state ") and f"{path}.damaged is damaged" in line and "\n" not in line
    assert filesystem.cat_file(f"{path}.damaged") == damaged and not filesystem.exists(path)
    caplog.clear()
    assert state.load() is None and caplog.messages == [], "it is told once"
    state.save(b"anew")
    assert state.load() == b"anew"
    state.discard()
    assert not filesystem.exists(f"{path}.damaged")


def test_a_second_damaged_state_takes_the_place_of_the_first(tmp_path: Path) -> None:
    file = tmp_path / ".unfinished" / "scaling-abc"
    file.parent.mkdir()
    for content in (b"first", b"second"):
        file.write_bytes(content)
        assert stage("local", tmp_path).load() is None
    assert [each.name for each in file.parent.iterdir()] == ["scaling-abc.damaged"]
    assert file.with_name("scaling-abc.damaged").read_bytes() == b"second"


def test_abandoned_states_are_removed_after_a_week(tmp_path: Path) -> None:
    assert ABANDONED_SECONDS == 7 * 24 * 3600
    mine = stage("local", tmp_path)
    ages = {"abc": 30, "old": 8, "recent": 6}
    for key in ages:
        stage("local", tmp_path, key).save(b"state")
    folder = tmp_path / ".unfinished"
    (folder / "scaling-gone.damaged").write_bytes(b"x")
    (folder / "scaling-gone.77.part").write_bytes(b"x")
    (folder / "a folder of somebody").mkdir()
    days = {folder / f"scaling-{key}": age for key, age in ages.items()}
    days |= {folder / name: 9 for name in ("scaling-gone.damaged", "scaling-gone.77.part", "a folder of somebody")}
    for file, age in days.items():
        os.utime(file, (time.time() - age * 24 * 3600,) * 2)
    assert mine.load() == b"state", "one's own is not abandoned, however old"
    assert sorted(each.name for each in folder.iterdir()) == ["a folder of somebody", "scaling-abc", "scaling-recent"]


def test_a_state_that_another_process_removes_meanwhile_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage("local", tmp_path).save(b"state")
    gone = tmp_path / ".unfinished" / "scaling-gone"
    monkeypatch.setattr(Path, "glob", lambda self, pattern: iter([gone]))
    assert stage("local", tmp_path).load() == b"state"
