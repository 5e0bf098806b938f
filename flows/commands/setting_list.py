"""`neurontune settings`: every setting with its value in a preset, its default, type and meaning."""

import json
import types
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from operator import attrgetter
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from rich.padding import Padding

from flows.commands.console import TextConsole, echo, json_text
from neurontune_core.config import DEFAULT_PRESET, PipelineConfig, load_config
from neurontune_core.errors import InputError, nearest_first
from neurontune_core.section_methods import METHODS

PLAIN = {str: "text", int: "whole number", float: "number", bool: "true or false", type(None): "none"}


@dataclass(frozen=True)
class Setting:
    """A setting: its value in the preset, its value in a run without options, its type and meaning in words."""

    name: str
    value: Any
    default: Any
    kind: str
    meaning: str


def show_settings(words: Sequence[str], preset: str | None, as_json: bool) -> None:
    """Print the settings whose names have all of the words, with their values under a preset.

    Raises:
        InputError: no such preset, or no setting with these words.
    """
    values = load_config(preset)
    found = list(_of_section(PipelineConfig, values, load_config(), ""))
    for section in METHODS:
        found += _of_other_methods(section, attrgetter(section)(values).method)
    shown = [setting for setting in found if all(word in setting.name for word in words)]
    if not shown:
        nearest = nearest_first(words[0], [setting.name for setting in found]).split(", ")[:3]
        raise InputError(
            f"settings: no setting has {' and '.join(words)} in its name; the nearest are {', '.join(nearest)}"
        )
    if as_json:
        echo(json_text([asdict(setting) for setting in shown]))
        return
    console = TextConsole()
    console.print(
        f"Values of preset {preset or DEFAULT_PRESET}. Change one with --set NAME=VALUE; write a list as a,b.\n"
    )
    if preset not in (None, DEFAULT_PRESET):
        console.print(f"In brackets: the value in a run without options (preset {DEFAULT_PRESET}), if it differs.\n")
    for setting in shown:
        changed = "" if setting.value == setting.default else f" (default {_written(setting.default)})"
        console.print(f"{setting.name} = {_written(setting.value)}{changed}", soft_wrap=True)
        console.print(Padding(f"{setting.kind}. {setting.meaning}", (0, 0, 0, 4)))


def _of_section(section: type[BaseModel], values: BaseModel, defaults: BaseModel, prefix: str) -> Iterator[Setting]:
    for name, field in section.model_fields.items():
        value = getattr(values, name)
        default = getattr(defaults, name, value)  # the default method does not have this method's settings
        if isinstance(value, BaseModel):
            yield from _of_section(type(value), value, default, f"{prefix}{name}.")
        else:
            methods = METHODS.get(prefix.rstrip("."), {}) if name == "method" else {}
            kind = f"one of {', '.join(methods)}" if methods else _kind(field)
            yield Setting(f"{prefix}{name}", _plain(value), _plain(default), kind, field.description or "")


def _of_other_methods(section: str, chosen: str) -> Iterator[Setting]:
    """Yield the settings of a section that only its other methods have, with their defaults."""
    methods = METHODS[section]
    owners: dict[str, list[str]] = {}
    for method, form in methods.items():
        for name in form.model_fields.keys() - methods[chosen].model_fields.keys():
            owners.setdefault(name, []).append(method)
    for method, form in methods.items():
        for name, field in form.model_fields.items():
            if name in owners and owners[name][0] == method:
                meaning = f"With {section}.method={' or '.join(owners[name])}. {field.description}"
                yield Setting(f"{section}.{name}", _plain(field.default), _plain(field.default), _kind(field), meaning)


def _kind(field: FieldInfo) -> str:
    """Return the type of a field in words, with its bounds: `whole number, at least 1`."""
    return ", ".join([type_in_words(field.annotation), *_bounds(field.metadata)])


def type_in_words(kind: Any) -> str:
    """Return a type in words that tell a person how to type a value."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return ", ".join([type_in_words(parts[0]), *_bounds(parts[1:])])
    if origin is Literal:
        return f"one of {', '.join(map(str, parts))}"
    if origin in (Union, types.UnionType):
        inner = [part for part in parts if part is not type(None)]
        if set(inner) == {int, float}:
            return "number"
        return " or ".join([*map(type_in_words, inner), *(["none"] if type(None) in parts else [])])
    if origin is tuple:
        return f"list, as a,b, of: {type_in_words(parts[0])}"
    if origin is dict:
        value = parts[1]
        if isinstance(value, type) and issubclass(value, BaseModel):
            return f"map, set as NAME.FIELD=VALUE with the fields {', '.join(value.model_fields)}"
        return f"map, set as NAME=VALUE, of: {type_in_words(value)}"
    return PLAIN.get(kind, getattr(kind, "__name__", "value"))


def _bounds(metadata: Sequence[Any]) -> list[str]:
    words = {Ge: ("at least", "ge"), Gt: ("more than", "gt"), Le: ("at most", "le"), Lt: ("less than", "lt")}
    known = [(one, words[type(one)]) for one in metadata if type(one) in words]
    return [f"{said} {getattr(one, field):g}" for one, (said, field) in known]


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    return list(value) if isinstance(value, tuple) else value


def _written(value: Any) -> str:
    """Return a value in the syntax of `--set NAME=VALUE`."""
    if isinstance(value, list):
        return ",".join(map(_written, value)) or "[] (empty)"
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False) if value else "{} (empty)"
    if value is None or value == "":
        return "none" if value is None else '"" (empty)'
    return value if isinstance(value, str) else json.dumps(value)
