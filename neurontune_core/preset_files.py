"""Presets: the shipped TOML files and one's own, and how one extends another."""

import os
import tomllib
from importlib import resources
from itertools import takewhile
from pathlib import Path
from typing import Any

from neurontune_core.errors import InputError, nearest_first
from neurontune_core.section_methods import DEFAULTS, section_at, with_section, with_tables, without_foreign
from neurontune_core.shown_text import quoted

_LONGEST = 2**20
"""Bytes of a preset's file at most."""
_DEEPEST = 50
"""Presets that one may extend, one by the other."""


def preset_names() -> list[str]:
    """Return the names of the shipped presets."""
    folder = resources.files("neurontune_core") / "presets"
    return sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml"))


def preset_comment(name: str) -> str:
    """Return what a shipped preset's file says of it in the comment it starts with."""
    lines = _shipped_preset(name).splitlines()
    return " ".join(line.removeprefix("# ") for line in takewhile(lambda line: line.startswith("# "), lines))


def _shipped_preset(name: str) -> str:
    return (resources.files("neurontune_core") / "presets" / f"{name}.toml").read_text(encoding="utf-8")


def read_preset(preset: str, extended_by: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return the settings of a preset as a tree of tables, on top of those of the preset it `extends`.

    A file names a shipped preset there, or another file by its path from its own folder.

    Raises:
        InputError: no such preset, not TOML, or presets that extend one another in a circle or without measure.
    """
    if preset in extended_by:
        raise InputError(f"preset: {' extends '.join([*extended_by, preset])}, which is a circle; remove one `extends`")
    if len(extended_by) > _DEEPEST:
        raise InputError(
            f"preset: {extended_by[0]} is the first of more than {_DEEPEST} presets that extend one another; merge some"
        )
    tree = with_tables(_toml(preset))
    base = tree.pop("extends", None)
    if base is None:
        return tree
    if not isinstance(base, str):
        raise InputError(f"preset: {preset}: extends is {base!r}; give the name of one preset, or of a .toml file")
    if base.endswith(".toml"):
        base = str(Path(preset).parent / Path(base).expanduser())
    return _extended(read_preset(base, (*extended_by, preset)), tree)


def _extended(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Return a preset's settings with those of one that extends it; another method drops the settings of the old."""
    for section, default in DEFAULTS.items():
        given, known = section_at(changes, section), section_at(base, section)
        if isinstance(given, dict) and isinstance(known, dict):
            method = known.get("method", default)
            if given.get("method", method) != method:
                base = with_section(base, section, without_foreign(section, known, given["method"]))
    return _merged(base, changes)


def _merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Return a tree of tables with changes; a table is merged, every other value is replaced."""
    both = dict(base)
    for name, value in changes.items():
        known = base.get(name)
        both[name] = _merged(known, value) if isinstance(known, dict) and isinstance(value, dict) else value
    return both


def _toml(preset: str) -> dict[str, Any]:
    path = Path(preset).expanduser()
    if preset.endswith(".toml"):
        if os.path.exists(path) and not _is_file(path):
            raise InputError(
                f"preset: {quoted(preset, 200)} is not a file of at most {_LONGEST:,} bytes; give a TOML file of "
                f"settings"
            )
        if not _is_file(path):
            raise InputError(
                f"preset: no file {quoted(preset, 200)}; "
                f"give an existing TOML file or one of {', '.join(preset_names())}"
            )
        try:
            content = path.read_bytes()
        except OSError as error:
            raise InputError(f"preset: {preset} cannot be read ({error.strerror}); check the file") from error
    elif preset in preset_names():
        content = _shipped_preset(preset).encode()
    else:
        known = nearest_first(preset, preset_names())
        raise InputError(f"preset: unknown name {quoted(preset, 200)}; choose one of {known}, or give a .toml file")
    try:
        return tomllib.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"preset: {preset} is not valid TOML: {error}; correct the file") from error


def _is_file(path: Path) -> bool:
    try:
        return path.is_file() and path.stat().st_size <= _LONGEST
    except (OSError, ValueError):  # a name that no file can have
        return False
