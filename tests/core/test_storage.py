"""A place that cannot be written to is told with its cause and remedy."""

import errno
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from neurontune_core import artifacts
from neurontune_core.errors import InputError, StorageError
from neurontune_core.storage import check_file, check_folder, check_root, out_of_memory, problem


def test_a_root_that_can_be_written_to_is_left_as_it_is(tmp_path: Path) -> None:
    check_root(str(tmp_path / "new" / "root"))
    assert list((tmp_path / "new" / "root").iterdir()) == []
    check_root("memory://anything")


@pytest.mark.parametrize(
    ("root", "message"),
    [
        ("xyz://bucket/a", "runtime.root: 'xyz://bucket/a' cannot be used .Protocol not known: xyz.; give a folder"),
        ("{tmp}/file", "runtime.root: '.*file' cannot be written to .*: choose a folder"),
        ("{tmp}/file/below", "cannot be written to .Not a directory: choose a folder"),
        ("{tmp}/" + "x" * 300, "cannot be written to .File name too long: choose a shorter name"),
        ("{tmp}/" + "x/" * 9000, "cannot be written to"),
        ("{tmp}/a\0b", "cannot be written to .*null byte"),
        ("{tmp}/loop/root", "cannot be written to .Too many levels of symbolic links: choose a folder"),
        ("/proc/nothing", "cannot be written to .*: choose a place"),
    ],
)
def test_a_root_of_no_use_is_told(tmp_path: Path, root: str, message: str) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(InputError, match=message) as error:
        check_root(root.replace("{tmp}", str(tmp_path)))
    assert len(str(error.value)) < 400


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOSPC, "No space left on device: make room there"),
        (errno.EDQUOT, "make room there, your quota"),
        (errno.EROFS, "Read-only file system: choose a place that can be written to"),
        (errno.EACCES, "Permission denied: allow your user to write"),
    ],
)
def test_every_cause_has_its_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, remedy: str) -> None:
    def full(*_: Any, **__: Any) -> Any:
        raise OSError(number, os.strerror(number), "somewhere")

    with monkeypatch.context() as patched:
        patched.setattr(tempfile, "TemporaryFile", full)
        with pytest.raises(InputError, match=f"^runtime.root: .*{remedy}"):
            check_root(str(tmp_path))
    with pytest.raises(StorageError, match=f"^artifact stage/key: cannot be written to .*{remedy}.*run again"):
        artifacts.write(str(tmp_path), "stage", "key", full, {})
    assert artifacts.find(str(tmp_path), "stage", "key") is None
    made = artifacts.write(str(tmp_path), "stage", "key", lambda folder: {}, {})
    assert artifacts.find(str(tmp_path), "stage", "key") == made


def test_other_errors_stay_what_they_are(tmp_path: Path) -> None:
    def broken(folder: Path) -> dict[str, Any]:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        artifacts.write(str(tmp_path), "stage", "key", broken, {})


def test_the_errors_of_libraries_are_understood() -> None:
    weights = {"a": torch.ones(1 << 16)}
    with pytest.raises(Exception, match="os error") as error:
        save_file(weights, "/dev/full/x")
    assert problem(error.value).startswith("Not a directory: ")
    with pytest.raises(OSError, match="No space left") as full, open("/dev/full", "wb", buffering=0) as file:
        np.save(file, np.ones(1 << 12))
    assert problem(full.value).startswith("No space left on device")
    assert problem(ValueError("x")) == ""


def test_memory_that_is_not_there_is_understood() -> None:
    with pytest.raises(RuntimeError) as error:
        torch.empty(2**55)
    assert out_of_memory(error.value) and out_of_memory(MemoryError())
    assert out_of_memory(ImportError("libtorch_cpu.so: failed to map segment from shared object"))
    assert out_of_memory(RuntimeError("std::bad_alloc")) and out_of_memory(RuntimeError("could not create a primitive"))
    assert not out_of_memory(RuntimeError("shapes differ"))


def test_a_file_to_write_is_checked_before_it_is_time(tmp_path: Path) -> None:
    check_file("--json", str(tmp_path / "new.json"))
    assert list(tmp_path.iterdir()) == []
    for name, message in (
        ("missing/a.json", "--json: the folder of"), (".", "is a folder"), ("x" * 300, "File name too long"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=message):
            check_file("--json", str(tmp_path / name))
    with pytest.raises(InputError, match=r"^--to: "):
        check_folder("--to", "/dev/null/x")
