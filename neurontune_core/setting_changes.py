"""Changes of settings, as `section.field=value`, put into the tables of a preset or of a recorded run."""

import tomllib
from collections.abc import Sequence
from typing import Any

from neurontune_core.errors import InputError
from neurontune_core.section_methods import METHODS, section_at, with_section, without_foreign
from neurontune_core.shown_text import quoted

LONGEST_VALUE = 120
"""Characters of a value that an error shows."""


def apply_settings(tree: dict[str, Any], settings: Sequence[str]) -> None:
    """Apply changes in order, but changes of a method first, because they remove the old method's settings."""
    sections = {f"{section}.method": section for section in METHODS}
    written = [_with_method(setting) for setting in settings]
    for setting in sorted(written, key=lambda each: each.partition("=")[0] not in sections):
        apply_setting(tree, setting)
        if section := sections.get(setting.partition("=")[0]):
            known = section_at(tree, section)
            tree |= with_section(tree, section, without_foreign(section, known, known["method"]))


def _with_method(setting: str) -> str:
    """Return `evaluation.judge=keyword`, which names a judge, as the setting of the judge's method that it means."""
    name, _, text = setting.partition("=")
    is_name = "." in name and name in METHODS and isinstance(set_value(text), str)
    return f"{name}.method={text}" if is_name else setting


def apply_setting(tree: dict[str, Any], setting: str) -> None:
    """Put one change into a tree of tables.

    Raises:
        InputError: it is not of the form `section.field=value`, or goes below a plain value.
    """
    name, equals, text = setting.partition("=")
    keys = name.split(".")
    if not equals or len(keys) < 2 or not all(keys):
        raise InputError(
            f"--set: {quoted(setting, LONGEST_VALUE)} is not of the form section.field=value, e.g. scaling.steps=20"
        )
    branch = tree
    for key in keys[:-1]:
        branch = branch.setdefault(key, {})
        if not isinstance(branch, dict):
            raise InputError(
                f"--set: {quoted(name, LONGEST_VALUE)} names a field below one that has a single value; see "
                f"`neurontune settings`"
            )
    branch[keys[-1]] = set_value(text)


def set_value(text: str) -> Any:
    """Return a value read as TOML, or the text itself if it is not TOML, so that quotes are optional."""
    try:
        read = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):  # not TOML, or a number or nesting that Python cannot read
        return text
    return read["value"] if len(read) == 1 else text
