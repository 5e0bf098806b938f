"""Check that a place can be written to before anything is computed, and explain a failed write in one line."""

import errno
import os
import re
import tempfile
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
    errno.EACCES: "give yourself the right to write there, or choose another place",
    errno.EPERM: "give yourself the right to write there, or choose another place",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ENOENT: "choose a place where folders can be made",
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
    """Tell whether artifacts can be kept under a root; of a local folder by writing a small file there.

    Raises:
        InputError: no such protocol, a package for it is missing, or the folder cannot be made or written to.
    """
    check_protocol(root)
    filesystem, base = fsspec.url_to_fs(root)
    if isinstance(filesystem, LocalFileSystem):
        check_folder("runtime.root", str(base))


def check_protocol(root: str) -> None:
    """Tell whether there is a file system for a root.

    Raises:
        InputError: its protocol is unknown, or a package for it is missing.
    """
    try:
        fsspec.url_to_fs(root)
    except ImportError as error:
        raise InputError(f"runtime.root: {quoted(str(root))} needs a package that is not there: {error}") from error
    except ValueError as error:
        raise InputError(
            f"runtime.root: {quoted(str(root))} cannot be used ({error}); give a folder, or a URL that fsspec knows"
        ) from error


def check_folder(field: str, folder: str) -> None:
    """Make a folder unless it is there, and tell whether files can be written to it.

    Raises:
        InputError: they cannot; the message names the field, the folder, the cause and the remedy.
    """
    try:
        os.makedirs(folder, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(_PROBE_BYTES))
            file.flush()
            os.fsync(file.fileno())
    except (OSError, ValueError, RecursionError) as error:  # a path of thousands of folders is made by recursion
        raise InputError(f"{field}: {quoted(str(folder))} cannot be written to ({problem(error) or error})") from error


def check_file(field: str, file: str) -> None:
    """Tell whether a file can be written, before it is time to.

    Raises:
        InputError: its folder is not there or cannot be written to, or it is a folder itself.
    """
    path = Path(file).absolute()
    if not os.path.isdir(path.parent):
        raise InputError(f"{field}: there is no folder for {quoted(str(file))}; make it first")
    if os.path.isdir(path):
        raise InputError(f"{field}: {quoted(str(file))} is a folder; give the name of a file")
    check_folder(field, str(path.parent))
    try:
        os.lstat(path)
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:
        raise InputError(f"{field}: {quoted(str(file))} cannot be written ({problem(error) or error})") from error


def problem(error: BaseException | None) -> str:
    """Return cause and remedy where an error comes of a full disk, a missing right and the like, else ""."""
    while error is not None:
        number = error.errno if isinstance(error, OSError) else None
        if number is None and (found := _IN_WORDS.search(str(error))):  # of safetensors and pyarrow
            number = int(found[1] or found[2])
        if number in _REMEDIES:
            return f"{os.strerror(number)}: {_REMEDIES[number]}"
        error = error.__cause__ or error.__context__
    return ""


def out_of_memory(error: BaseException | None) -> bool:
    """Return whether an error comes of memory that was not there; torch's allocator of the processor has no type."""
    while error is not None:
        if isinstance(error, MemoryError) or any(sign in str(error) for sign in _NO_MEMORY):
            return True
        error = error.__cause__ or error.__context__
    return False
