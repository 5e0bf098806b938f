"""Read the files of a model folder; an error says in one line what a file really is."""

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeGuard

from neurontune_core.errors import InputError

_LONGEST = 128 * 2**20
"""Most bytes of a text file; settings and even indexes of weights are far shorter."""
STAND_INS = (
    (b"version https://git-lfs", "a Git LFS pointer", "fetch the file itself with `git lfs pull`"),
    (b"<!doctype", "an HTML page", "download it again, logged in if it is gated"),
    (b"<html", "an HTML page", "download it again, logged in if it is gated"),
    (b"<?xml", "an XML page", "download it again, logged in if it is gated"),
)
"""Files that a failed download leaves instead of the real one: first bytes, what the file is, and the remedy."""
_SIGNS = (
    *STAND_INS,
    (b"pk\x03\x04", "a zip archive, as pickled weights are", "save the model with save_pretrained"),
    (b"\x80", "a pickle", "save the model with save_pretrained"),
    (b"gguf", "a GGUF file", "name it *.gguf and give its path as the model"),
)


def shown(text: object, limit: int = 160) -> str:
    """Return a text on one line, with control characters spelled out, cut to `limit` characters."""
    line = re.sub(r"\s+", " ", str(text)).strip()
    line = "".join(character if character.isprintable() else repr(character)[1:-1] for character in line)
    return line if len(line) <= limit else f"{line[: limit - 3]}..."


def reason(error: BaseException) -> str:
    """Return the message of a library's error in one line: the last of its lines, which has the reason."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    text = re.sub(r"^\s*\w*Error: ", "", lines[-1]) if lines else type(error).__name__
    return shown(f"no {text}" if isinstance(error, KeyError) else text)


def check_readable(file: Path) -> None:
    """Check that a file exists, is not empty, and can be read.

    Raises:
        InputError: one of these does not hold; the message starts with the file's name.
    """
    if not file.is_file():
        found = "is a folder" if file.is_dir() else "is missing"
        raise InputError(f"{shown(file.name, 80)}: {found}; download or save the model again")
    try:
        with file.open("rb") as stream:
            start = stream.read(64)
    except OSError as error:
        raise InputError(
            f"{shown(file.name, 80)}: cannot be read ({error.strerror}); allow your user to read it"
        ) from error
    if not start:
        raise InputError(f"{shown(file.name, 80)}: is empty; download or save the model again")
    if start[8:9] == b"{":
        return  # safetensors: the length of the header comes first, and may look like the sign of a pickle
    for sign, what, remedy in _SIGNS:
        if start.lstrip().lower().startswith(sign):
            raise InputError(f"{shown(file.name, 80)}: is {what}; {remedy}")


def read_text(file: Path) -> str:
    """Return a text file's content.

    Raises:
        InputError: the file is missing, far too long, or not UTF-8 text.
    """
    check_readable(file)
    if (size := file.stat().st_size) > _LONGEST:
        raise InputError(
            f"{file.name}: has {size:,} bytes, more than any such file has; download or save the model again"
        )
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{file.name}: is not UTF-8 text (byte {error.start}); download or save the model again"
        ) from error


def read_object(file: Path) -> dict[str, Any]:
    """Return the JSON object a file holds.

    Raises:
        InputError: the file is missing, is not a JSON object, or gives one key two values.
    """
    text = read_text(file)
    try:
        value = json.loads(text, object_pairs_hook=_unambiguous)
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{file.name}: is not readable JSON ({reason(error)}); download or save the model again"
        ) from error
    if not isinstance(value, dict):
        raise InputError(f"{file.name}: holds {shown(repr(value), 40)}, not a JSON object; save the model again")
    return value


def walk(value: dict[str, Any], path: str = "") -> Iterator[tuple[str, str, Any]]:
    """Yield path, key and value of everything in a JSON object that is not an object; items of lists by number."""
    for key, part in value.items():
        yield from _walk_value(f"{path}{key}", key, part)


def is_number(value: object) -> TypeGuard[int | float]:
    """Return whether a value is a finite number; true and false are not numbers."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _walk_value(path: str, key: str, value: Any) -> Iterator[tuple[str, str, Any]]:
    if isinstance(value, dict):
        yield from walk(value, f"{path}.")
    elif isinstance(value, list):
        for index, part in enumerate(value):
            yield from _walk_value(f"{path}[{index}]", key, part)
    else:
        yield path, key, value


def _unambiguous(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found and found[key] != value:
            raise ValueError(f"the key {key!r} occurs twice, with different values")
        found[key] = value
    return found
