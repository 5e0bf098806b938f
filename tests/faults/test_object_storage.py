"""Object storage with faults: requests that fail, listings that are old, two machines that do not see each other."""

import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import fsspec
import pytest

from neurontune_core import artifacts, transient
from neurontune_core.records import Artifact

ROOT = "memory://store/faults"
STAGE, KEY = "scores", "0123456789abcdef"
REQUESTS = ("put_file", "pipe_file", "cat_file", "get_file", "open")
MANY = 30


def fill(folder: Path) -> dict[str, Any]:
    for number in range(2):
        (folder / f"part-{number}.bin").write_bytes(bytes([number]) * 1000)
    return {"rows": 2}


def fill_many(folder: Path) -> dict[str, Any]:
    for number in range(MANY):
        (folder / f"part-{number}.bin").write_bytes(bytes([number]) * 1000)
    return {"rows": MANY}


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[type]:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    yield type(fsspec.filesystem("memory"))
    fsspec.filesystem("memory").rm("/store", recursive=True)


def undisturbed(tmp_path: Path) -> str:
    return artifacts.write(str(tmp_path / "local"), STAGE, KEY, fill, {}).digest


def test_storage_that_fails_now_and_then_gives_the_same_artifact(
    store: type, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    requests = failed = 0
    monkeypatch.setattr(transient, "FIRST_DELAY_SECONDS", 0)

    def failing(method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **named: Any) -> Any:
            nonlocal requests, failed
            requests += 1
            if requests % 10 == 0:
                failed += 1
                raise ConnectionError("the storage answers 503")
            return method(*args, **named)

        return call

    for name in REQUESTS:
        monkeypatch.setattr(store, name, failing(getattr(store, name)))
    made = artifacts.write(ROOT, STAGE, KEY, fill_many, {})  # in one attempt: no stage has to be computed again
    assert failed >= 2 * MANY // 10
    assert len(list(artifacts.open_folder(made).glob("part-*"))) == MANY
    monkeypatch.undo()
    assert made.digest == artifacts.write(str(tmp_path / "local"), STAGE, KEY, fill_many, {}).digest
    assert artifacts.find(ROOT, STAGE, KEY) == made


def test_old_listings_hide_no_artifact(store: type, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(store, "ls", lambda *_, **__: [])
    for name in ("glob", "find", "walk"):
        monkeypatch.setattr(store, name, lambda *_, **__: [])
    made = artifacts.write(ROOT, STAGE, KEY, fill, {})
    assert artifacts.find(ROOT, STAGE, KEY) == made and made.digest == undisturbed(tmp_path)
    assert len(list(artifacts.open_folder(made).glob("part-*"))) == 2


def test_two_machines_that_race_for_one_key_agree(store: type, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each machine has a lock folder of its own, so that neither waits for the other."""
    both = Barrier(2)
    number = iter(range(1000))
    monkeypatch.setattr(artifacts, "_own_folder", lambda name: _made(tmp_path / f"machine-{next(number)}" / name))

    def work(_: int) -> Artifact:
        def together(folder: Path) -> dict[str, Any]:
            both.wait(timeout=60)
            return fill(folder)

        return artifacts.write(ROOT, STAGE, KEY, together, {})

    with ThreadPoolExecutor(2) as machines:
        one, other = machines.map(work, range(2))
    assert one == other == artifacts.find(ROOT, STAGE, KEY)
    assert one.digest == undisturbed(tmp_path)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder
