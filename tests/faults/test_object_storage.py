"""Object storage with faults: requests that fail, listings that are old, two machines that do not see each other."""

import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import fsspec
import pytest

from neurontune_core import artifacts
from neurontune_core.records import Artifact
from tasks.retries import is_transient

ROOT = "memory://store/faults"
STAGE, KEY = "scores", "0123456789abcdef"
REQUESTS = ("put_file", "pipe_file", "cat_file", "get_file", "open")
MOST_ATTEMPTS = 20


def fill(folder: Path) -> dict[str, Any]:
    for number in range(2):
        (folder / f"part-{number}.bin").write_bytes(bytes([number]) * 1000)
    return {"rows": 2}


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
    requests = 5  # so that the first attempt fails, in the midst of it

    def failing(method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **named: Any) -> Any:
            nonlocal requests
            requests += 1
            if requests % 10 == 0:
                raise ConnectionError("the storage answers 503")
            return method(*args, **named)

        return call

    for name in REQUESTS:
        monkeypatch.setattr(store, name, failing(getattr(store, name)))
    attempts = 0
    while True:  # as a stage's task does
        attempts += 1
        try:
            made = artifacts.write(ROOT, STAGE, KEY, fill, {})
            break
        except ConnectionError as error:
            assert is_transient(error) and attempts < MOST_ATTEMPTS
    assert attempts > 1, "it did fail"
    monkeypatch.undo()
    assert made.digest == undisturbed(tmp_path)
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
