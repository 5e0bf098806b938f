"""Errors in settings, as one line: the field, the reason, the given value, and the existing fields."""

import re

from pydantic import BaseModel, ValidationError

from neurontune_core.data.settings import SourceConfig
from neurontune_core.errors import nearest_first
from neurontune_core.section import UNKNOWN_METHOD
from neurontune_core.section_methods import METHODS
from neurontune_core.setting_changes import LONGEST_VALUE
from neurontune_core.shown_text import quoted

_MOST_ERRORS = 5
_IN_PLAIN_WORDS = {
    "a valid integer(, .*)?$": "a whole number",
    "a valid number(, .*)?$": "a number",
    "a valid boolean(, .*)?$": "true or false",
    "a valid string": "text",
    "a valid dictionary": "a section of fields",
    "a valid tuple": "a list",
    "greater than or equal to": "at least",
    "less than or equal to": "at most",
    "greater than": "more than",
}
"""What pydantic says, as a pattern, and the words for it."""


def explain_settings(error: ValidationError, whole: type[BaseModel]) -> str:
    """Return the errors in settings as one line; `whole` is the class of all settings."""
    lines: dict[str, str] = {}
    for item in error.errors():
        location = _without_method(item["loc"])
        # if a field accepts two types, pydantic reports one error for each type and adds the type to the place
        place = ".".join(_plain(part) for part in location if part not in ("int", "float"))
        if item["type"] == "extra_forbidden":
            listed = nearest_first(str(item["loc"][-1]), _fields_at(item["loc"][:-1], whole))
            owners = ", ".join(_owners(item["loc"]))
            belongs = f"; it belongs to {owners}" if owners else ""
            lines[place] = f"{place}: unknown field; the fields there are {listed or 'none'}{belongs}"
        else:
            value = item["input"]
            if item["type"] == UNKNOWN_METHOD:
                place, value = f"{place}.method", value["method"] if isinstance(value, dict) else value
            given = re.sub(r"//[^/]*@", "//***@", quoted(value, LONGEST_VALUE))
            syntax = "; write a list as a,b" if item["type"] in ("tuple_type", "list_type") else ""
            if item["type"] == "string_type" and isinstance(value, int | float):
                syntax = f"; write it between quotes: '\"{value}\"'"
            lines[place] = f"{place}: {_reason(item['msg'])} (got {given}){syntax}"
    shown = list(lines.values())[:_MOST_ERRORS]
    return "; ".join(shown + ([f"and {len(lines) - len(shown)} more"] if len(lines) > len(shown) else []))


def _reason(message: str) -> str:
    """Return pydantic's reason in the words of `neurontune settings`, for a person who writes settings."""
    said = message.removeprefix("Value error, ").replace("Input should be", "must be")
    for pattern, words in _IN_PLAIN_WORDS.items():
        said = re.sub(pattern, words, said)
    return said


def _plain(part: int | str) -> str:
    """Return a key unchanged, or in quotes with its control characters escaped."""
    return str(part) if str(part).isprintable() and 0 < len(str(part)) <= LONGEST_VALUE else quoted(part, LONGEST_VALUE)


def _without_method(location: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """Return the place of an error without the method, which pydantic adds: `scaling`, `maml`, `steps`."""
    section, method = _method_at(location)
    return (*location[:section], *location[section + 1 :]) if method else location


def _method_at(location: tuple[int | str, ...]) -> tuple[int, str]:
    """Return how many parts of an error's place name its section, and the method after them ("" without one)."""
    for section, methods in METHODS.items():
        parts = section.split(".")
        count = len(parts)
        if len(location) > count and list(location[:count]) == parts and location[count] in methods:
            return count, str(location[count])
    return len(location), ""


def _owners(location: tuple[int | str, ...]) -> list[str]:
    """Return the methods that have this field, if it is unknown in a method without its own settings."""
    count, method = _method_at(location)
    methods = METHODS.get(".".join(map(str, location[:count])), {})
    if not method or list(methods[method].model_fields) != ["method"]:
        return []
    return [name for name, form in methods.items() if location[-1] in form.model_fields]


def _fields_at(location: tuple[int | str, ...], section: type[BaseModel]) -> list[str]:
    count, method = _method_at(location)
    if method:
        section, location = METHODS[".".join(map(str, location[:count]))][method], location[count + 1 :]
    for part in location:
        field = section.model_fields.get(str(part))
        annotation = field.annotation if field else SourceConfig
        section = annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else SourceConfig
    return list(section.model_fields)
