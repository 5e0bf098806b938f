"""Artifacts: atomic, verified, the same from every writer."""

import hashlib
import multiprocessing
import os
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import fsspec
import pytest
from written_artifact import BYTES, KEY, NUMBERS, STAGE, fill, write

from neurontune_core import artifacts
from neurontune_core.errors import ArtifactError, NumericalError
from neurontune_core.records import Artifact
from neurontune_core.scaling.settings import MamlSettings


@pytest.fixture
def memory_root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    yield "memory://store/artifacts"
    fsspec.filesystem("memory").rm("/store", recursive=True)


def test_a_written_artifact_is_found_and_opened(tmp_path: Path) -> None:
    assert artifacts.find(str(tmp_path), STAGE, KEY) is None
    written = write(tmp_path)
    assert written.stage == STAGE and written.key == KEY
    assert artifacts.find(str(tmp_path), STAGE, KEY) == written
    folder = artifacts.open_folder(written)
    assert folder == tmp_path / STAGE / KEY
    assert (folder / "numbers.txt").read_text() == NUMBERS
    assert (folder / "part" / "more.bin").read_bytes() == BYTES
    assert artifacts.find(str(tmp_path), STAGE, "another") is None


def test_manifest_says_what_was_made(tmp_path: Path) -> None:
    written = write(tmp_path)
    manifest = artifacts.read_manifest(written)
    digests = {"numbers.txt": hashlib.sha256(NUMBERS.encode()), "part/more.bin": hashlib.sha256(BYTES)}
    assert manifest["files"] == {
        "numbers.txt": {"sha256": digests["numbers.txt"].hexdigest(), "bytes": 600},
        "part/more.bin": {"sha256": digests["part/more.bin"].hexdigest(), "bytes": 10240},
    }
    listing = "".join(f"{name}\0{digest.hexdigest()}\n" for name, digest in digests.items())
    assert written.digest == manifest["digest"] == hashlib.sha256(listing.encode()).hexdigest()
    assert manifest["facts"] == {"rows": 3, "gap": 0.25}
    assert manifest["settings"] == {"field": [1, 2]}
    assert manifest["stage"] == STAGE and manifest["key"] == KEY
    assert set(manifest["versions"]) == {"neurontune", "torch", "transformers"}
    assert manifest["seconds"] >= 0


def test_digest_depends_on_files_alone(tmp_path: Path) -> None:
    def other_facts(folder: Path) -> dict[str, Any]:
        fill(folder)
        return {"seconds": 17.0}

    one = artifacts.write(str(tmp_path / "one"), STAGE, "a", fill, {})
    other = artifacts.write(str(tmp_path / "other"), STAGE, "b", other_facts, MamlSettings())
    assert one.digest == other.digest


def test_settings_of_a_section_are_kept_resolved(tmp_path: Path) -> None:
    written = artifacts.write(str(tmp_path), STAGE, KEY, fill, MamlSettings(steps=7))
    settings = artifacts.read_manifest(written)["settings"]
    assert settings["steps"] == 7 and settings["order"] == "first"


def test_a_fill_that_raises_leaves_nothing(tmp_path: Path) -> None:
    def stop(folder: Path) -> dict[str, Any]:
        fill(folder)
        raise RuntimeError("out of luck")

    with pytest.raises(RuntimeError, match="out of luck"):
        artifacts.write(str(tmp_path), STAGE, KEY, stop, {})
    assert artifacts.find(str(tmp_path), STAGE, KEY) is None
    assert {path.suffix for path in tmp_path.rglob("*") if path.is_file()} <= {".lock"}
    assert not (tmp_path / STAGE).exists()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_fact_that_is_not_finite_is_named_and_nothing_kept(tmp_path: Path, value: float) -> None:
    with pytest.raises(NumericalError, match=f"scores: loss_last is {value}"):
        artifacts.write(str(tmp_path), STAGE, KEY, lambda folder: fill(folder) | {"loss_last": value}, {})
    assert {path.suffix for path in tmp_path.rglob("*") if path.is_file()} <= {".lock"}


def test_success_leaves_no_temporary_files(tmp_path: Path) -> None:
    write(tmp_path)
    left = {path.suffix for path in (tmp_path / ".partial").iterdir()}
    assert left <= {".lock"}


def test_a_finished_artifact_is_kept(tmp_path: Path) -> None:
    first = write(tmp_path)

    def different(folder: Path) -> dict[str, Any]:
        (folder / "numbers.txt").write_text("other")
        return {}

    assert artifacts.write(str(tmp_path), STAGE, KEY, different, {}) == first
    assert (artifacts.open_folder(first) / "numbers.txt").read_text() == NUMBERS


def test_threads_that_write_one_key_at_once_compute_it_once(tmp_path: Path) -> None:
    count = 8
    barrier = threading.Barrier(count)
    filled: list[int] = []
    made: list[Artifact] = []

    def work(number: int) -> None:
        def own(folder: Path) -> dict[str, Any]:
            filled.append(number)
            time.sleep(0.2)  # so that all have come before the first is done
            (folder / "numbers.txt").write_text(f"writer {number}")
            return {}

        barrier.wait(timeout=60)
        made.append(artifacts.write(str(tmp_path), STAGE, KEY, own, {}))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert len(made) == count and len(set(made)) == 1 and len(filled) == 1
    assert (artifacts.open_folder(made[0]) / "numbers.txt").read_text() == f"writer {filled[0]}"


def _write_in_process(root: str, number: int, barrier: Barrier, answers: Any) -> None:
    def own(folder: Path) -> dict[str, Any]:
        (folder / "numbers.txt").write_text(f"writer {number}")
        time.sleep(0.5)
        return {}

    barrier.wait(timeout=120)
    answers.put(artifacts.write(root, STAGE, KEY, own, {}).digest)


def test_processes_that_write_one_key_at_once_agree(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    barrier, answers = context.Barrier(2), context.Queue()
    processes = [
        context.Process(target=_write_in_process, args=(str(tmp_path), number, barrier, answers)) for number in range(2)
    ]
    for process in processes:
        process.start()
    digests = {answers.get(timeout=120) for _ in processes}
    for process in processes:
        process.join()
    found = artifacts.find(str(tmp_path), STAGE, KEY)
    assert found is not None and digests == {found.digest}


@pytest.mark.parametrize("name", ["with space", "per%20cent", "hash#mark", "ünïcode"])
def test_roots_with_unusual_names(tmp_path: Path, name: str) -> None:
    written = write(tmp_path / name)
    assert (artifacts.open_folder(written) / "numbers.txt").read_text() == NUMBERS


def test_a_relative_root_is_the_same_from_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    written = write("out")
    monkeypatch.chdir("/")
    assert artifacts.open_folder(written) == tmp_path / "out" / STAGE / KEY


def test_remote_root_works_like_a_local_one(memory_root: str, tmp_path: Path) -> None:
    assert artifacts.find(memory_root, STAGE, KEY) is None
    written = write(memory_root)
    assert written.uri.startswith("memory://")
    assert artifacts.find(memory_root, STAGE, KEY) == written
    assert written.digest == write(tmp_path / "local").digest
    folder = artifacts.open_folder(written)
    assert (folder / "part" / "more.bin").read_bytes() == BYTES
    assert artifacts.open_folder(written) == folder


def test_remote_damage_is_noticed_and_replaced(memory_root: str) -> None:
    written = write(memory_root)
    store, target = fsspec.url_to_fs(written.uri)
    store.pipe_file(f"{target}/numbers.txt", NUMBERS.encode()[:-1])
    assert artifacts.find(memory_root, STAGE, KEY) is None
    with pytest.raises(ArtifactError, match=r"numbers\.txt has changed.*run the pipeline again"):
        artifacts.open_folder(written)
    assert write(memory_root) == written
    assert (artifacts.open_folder(written) / "numbers.txt").read_text() == NUMBERS


def test_an_interrupted_upload_does_not_count(memory_root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = fsspec.filesystem("memory")
    put_file = type(store).put_file

    def fail_later(self: Any, source: str, target: str, **settings: Any) -> None:
        if "more.bin" in target:
            raise ConnectionError("gone")
        put_file(self, source, target, **settings)

    with monkeypatch.context() as patch:
        patch.setattr(type(store), "put_file", fail_later)
        with pytest.raises(ConnectionError):
            write(memory_root)
    assert store.exists(f"/store/artifacts/{STAGE}/{KEY}/numbers.txt")
    assert artifacts.find(memory_root, STAGE, KEY) is None
    assert artifacts.find(memory_root, STAGE, KEY) != write(memory_root)


def test_a_damaged_download_is_fetched_again(memory_root: str) -> None:
    written = write(memory_root)
    folder = artifacts.open_folder(written)
    (folder / "numbers.txt").write_text("spoilt")
    assert (artifacts.open_folder(written) / "numbers.txt").read_text() == NUMBERS


def test_what_a_killed_process_left_goes_with_the_next_attempt(tmp_path: Path) -> None:
    left, another = (tmp_path / ".partial" / f"{STAGE}-{key}-abc" / "content" for key in (KEY, "another"))
    left.mkdir(parents=True)
    another.mkdir(parents=True)
    write(tmp_path)
    assert not left.exists() and another.exists(), "somebody may be at work on the other"


def test_leftovers_of_any_key_are_removed_and_what_is_at_work_stays(tmp_path: Path) -> None:
    left, busy = (tmp_path / ".partial" / f"scaling-{key}-abc_d12" for key in ("one", "two"))
    for folder in (left, busy):
        (folder / "content").mkdir(parents=True)
    artifacts.remove_leftovers(str(tmp_path / "nowhere"))
    with artifacts.working_lock(str(tmp_path), "scaling", "two"):
        artifacts.remove_leftovers(str(tmp_path))
    assert not left.exists() and (busy / "content").exists()
    artifacts.remove_leftovers(str(tmp_path))
    assert not busy.exists()


def killed_at_work(root: str) -> None:
    with artifacts.temporary_folder(root, "vllm") as folder:
        (folder / "model.safetensors").write_bytes(BYTES)
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("away", [False, True])
def test_a_temporary_folder_of_a_killed_process_goes_with_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, away: bool
) -> None:
    """Also where the artifacts are in object storage, and the folder is on this machine."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    root = "memory://store/artifacts" if away else str(tmp_path / "root")
    killed = multiprocessing.get_context("fork").Process(target=killed_at_work, args=(root,))
    killed.start()
    killed.join()
    assert len(list(tmp_path.rglob("model.safetensors"))) == 1
    with artifacts.temporary_folder(root, "vllm") as busy:
        artifacts.remove_leftovers(root)
        assert busy.is_dir() and not list(tmp_path.rglob("model.safetensors"))
    assert not busy.exists()


def killed_while_filling(root: str) -> None:
    def half(folder: Path) -> dict[str, Any]:
        fill(folder)
        os.kill(os.getpid(), signal.SIGKILL)
        return {}

    artifacts.write(root, STAGE, KEY, half, {})


def test_a_half_made_artifact_of_object_storage_goes_with_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    killed = multiprocessing.get_context("fork").Process(target=killed_while_filling, args=("memory://store/a",))
    killed.start()
    killed.join()
    assert list(tmp_path.rglob("numbers.txt"))
    artifacts.remove_leftovers("memory://store/a")
    assert not list(tmp_path.rglob("numbers.txt"))
