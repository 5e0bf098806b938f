"""The folder of an export: it appears complete or not at all, and never replaces existing files."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from neurontune_core.errors import InputError
from neurontune_core.storage import check_folder

_PREFIX = ".neurontune-export-"
_LOCK = "lock"


def check_target(folder: Path) -> None:
    """Check that a folder can be written.

    Raises:
        InputError: there is something at this place, a file stands where a folder above it would be, or nothing can be
            written there.
    """
    if os.path.islink(folder) or (os.path.exists(folder) and not os.path.isdir(folder)):
        raise InputError(f"--to: {folder} is a file or a link; name a new folder")
    if os.path.isdir(folder) and any(folder.iterdir()):
        raise InputError(f"--to: {folder} is not empty; name a new folder, or empty this one first")
    for parent in folder.absolute().parents:
        if os.path.exists(parent):
            if not os.path.isdir(parent):
                raise InputError(f"--to: {parent} is a file; name a folder that can be created")
            check_folder("--to", str(parent))
            return


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `folder`, renamed to it when the body ends without an error.

    Raises:
        InputError: there is something at this place.
    """
    check_target(folder)
    parent = folder.absolute().parent
    parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(parent)
    with tempfile.TemporaryDirectory(prefix=_PREFIX, dir=parent) as temporary, FileLock(Path(temporary) / _LOCK):
        content = Path(temporary) / "content"
        content.mkdir()
        yield content
        _open_to_readers(content)
        check_target(folder)
        content.rename(folder)  # takes the place of an empty folder, and fails on one that has been filled meanwhile


def _remove_leftovers(parent: Path) -> None:
    """Delete what killed exports left in a folder: the system has freed their locks."""
    for lock in parent.glob(f"{_PREFIX}*/{_LOCK}"):
        with suppress(Timeout, OSError), FileLock(lock).acquire(timeout=0):
            shutil.rmtree(lock.parent, ignore_errors=True)


def _open_to_readers(folder: Path) -> None:
    """Give every file the permissions new files have here: safetensors makes them readable only to their owner."""
    mask = os.umask(0)
    os.umask(mask)
    for file in folder.rglob("*"):
        if file.is_file():  # a folder, as for several chat templates, has them already
            file.chmod(0o666 & ~mask)
