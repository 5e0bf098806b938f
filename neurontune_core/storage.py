"""Check that a place can be written to before anything is computed, and explain a failed write in one line."""

import errno
import os
import re
import tempfile
from collections.abc import Iterable
from pathlib import Path

import fsspec
from fsspec.implementations.local import LocalFileSystem

from neurontune_core.errors import InputError
from neurontune_core.shown_text import quoted

_PROBE_BYTES = 1 << 16
_REMEDIES = {
    errno.ENOSPC: "make room there",
    errno.EDQUOT: "make room there, your quota is used up",
    errno.EROFS: "choose a place that can be written to",
    errno.EACCES: "allow your user to write there, or choose another place",
    errno.EPERM: "allow your user to write there, or choose another place",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ENOENT: "choose a place where folders can be created",
    errno.ENOTDIR: "choose a folder, not something below a file",
    errno.EEXIST: "choose a folder, not a file",
    errno.ELOOP: "choose a folder, not a link to itself",
    errno.EFBIG: "choose a place where files may be larger",
    errno.EMFILE: "allow more open files (ulimit -n)",
    errno.ENFILE: "allow more open files",
}
_NO_MEMORY = ("llocate memory", "start new thread", "failed to map segment", "bad_alloc", "create a primitive")
"""Of torch, threads, the loader of shared libraries, C++, and oneDNN."""
_IN_WORDS = re.compile(r"os error (\d+)|\[Errno (\d+)\]")


def check_root(root: str) -> None:
    """Check that artifacts can be stored under a root; in a local folder by writing a small file.

    Raises:
        InputError: the protocol is unknown, its package is missing, or the folder cannot be created or written to.
    """
    check_protocol(root)
    filesystem, base = fsspec.url_to_fs(root)
    if isinstance(filesystem, LocalFileSystem):
        check_folder("runtime.root", str(base))


def check_protocol(root: str) -> None:
    """Check that the file system of a root is known.

    Raises:
        InputError: its protocol is unknown, or a package for it is missing.
    """
    try:
        fsspec.url_to_fs(root)
    except ImportError as error:
        raise InputError(f"runtime.root: {quoted(str(root))} needs a package that is not installed: {error}") from error
    except ValueError as error:
        raise InputError(
            f"runtime.root: {quoted(str(root))} cannot be used ({error}); give a folder, or a URL that fsspec knows"
        ) from error


def check_folder(field: str, folder: str) -> None:
    """Create a folder unless it exists, and check that files can be written to it.

    Raises:
        InputError: files cannot be written; the message names the field, the folder, the cause and the remedy.
    """
    try:
        os.makedirs(folder, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(_PROBE_BYTES))
            file.flush()
            os.fsync(file.fileno())
    except (OSError, ValueError, RecursionError) as error:  # a path of thousands of folders is made by recursion
        raise InputError(f"{field}: {quoted(str(folder))} cannot be written to ({problem(error) or error})") from error


def check_file(field: str, file: str, read: Iterable[str | Path] = ()) -> None:
    """Check, before anything is computed, that a file can be written, and is none of the files that are `read`.

    Raises:
        InputError: its folder does not exist or cannot be written to, it is a folder itself, or it is read.
    """
    path = Path(file).absolute()
    if not os.path.isdir(path.parent):
        raise InputError(f"{field}: the folder of {quoted(str(file))} does not exist; create it first")
    if os.path.isdir(path):
        raise InputError(f"{field}: {quoted(str(file))} is a folder; give the name of a file")
    if any(os.path.exists(path) and os.path.exists(other) and os.path.samefile(path, other) for other in read):
        raise InputError(f"{field}: {quoted(str(file))} is read by this command and would be lost; name another file")
    check_folder(field, str(path.parent))
    try:
        os.lstat(path)
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:
        raise InputError(f"{field}: {quoted(str(file))} cannot be written ({problem(error) or error})") from error


def no_file(path: str | Path) -> str:
    """Return in words why a path is not a file that can be read more than once."""
    if os.path.isdir(path):
        return "is a folder, not a file"
    return "is a pipe or a device, not a file" if os.path.exists(path) else "does not exist"


def problem(error: BaseException | None) -> str:
    """Return cause and remedy of an error such as a full disk or a missing permission; "" for other errors."""
    while error is not None:
        number = error.errno if isinstance(error, OSError) else None
        if number is None and (found := _IN_WORDS.search(str(error))):  # of safetensors and pyarrow
            number = int(found[1] or found[2])
        if number in _REMEDIES:
            return f"{os.strerror(number)}: {_REMEDIES[number]}"
        error = error.__cause__ or error.__context__
    return ""


def out_of_memory(error: BaseException | None) -> bool:
    """Return whether an error means that memory ran out; torch's allocator for processors has no own type of error."""
    while error is not None:
        if isinstance(error, MemoryError) or any(sign in str(error) for sign in _NO_MEMORY):
            return True
        error = error.__cause__ or error.__context__
    return False
