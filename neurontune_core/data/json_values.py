"""What a JSON or JSON Lines file holds: a value a row, in one of the forms in which tables are written as JSON."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from neurontune_core.errors import InputError

Values = list[tuple[int, Any]]
"""The number of each row, and its value or the error it gives."""


class JsonObject(dict[str, Any]):
    """A JSON object that knows which key of it, or of an object in a list of it (messages), was there twice."""

    def __init__(self, pairs: list[tuple[str, Any]]):
        super().__init__(pairs)
        keys = [key for key, _ in pairs]
        self.doubled = "" if len(self) == len(keys) else next(key for key in keys if keys.count(key) > 1)
        listed = (each for value in self.values() if isinstance(value, list) for each in value)
        within = (each.doubled for each in listed if isinstance(each, JsonObject) and each.doubled)
        self.doubled = self.doubled or next(within, "")


def json_values(path: Path, text: str) -> tuple[Values, tuple[str, ...]]:
    """Return the rows of a file and, in words, where they were found if not in a list or in lines.

    A `.json` file may hold one object with the rows: a list of objects under one of its keys (`{"data": [...]}`), a
    list of values for each column, or for each column an object of numbered values, as pandas writes it.

    Raises:
        InputError: it holds one object without such rows.
    """
    if text.lstrip().startswith("[") and (whole := _list(text, path.suffix.lower() == ".json")) is not None:
        return list(enumerate(whole, start=1)), ()
    table = _object(text) if path.suffix.lower() == ".json" else None
    if table is not None and (rows := _rows_within(table)) is not None:
        found, note = rows
        return list(enumerate(found, start=1)), (note,)
    values = _json_lines(text)
    if len(values) > 1 and table is not None:
        keys = ", ".join(map(repr, list(table)[:5]))
        raise InputError(
            f"{path}: holds one object, with {keys}, of which not exactly one is a list of objects; give a list of "
            f"objects, or one object a line"
        )
    return values, ()


def _list(text: str, is_whole: bool) -> list[Any] | None:
    """Return the list a text holds; None if it holds none and need not, as it may hold a value a line."""
    try:
        found = json.loads(text, object_pairs_hook=JsonObject)
    except json.JSONDecodeError:
        if is_whole:
            raise
        return None
    return found if isinstance(found, list) else None


def _object(text: str) -> JsonObject | None:
    try:
        found = json.loads(text, object_pairs_hook=JsonObject)
    except ValueError:
        return None
    return found if isinstance(found, JsonObject) and not found.doubled else None


def _rows_within(table: Mapping[str, Any]) -> tuple[list[Any], str] | None:
    """Return the rows that an object holds, and in words where; None if it is itself a row, or holds none."""
    lists = [key for key, value in table.items() if _is_rows(value)]
    if len(lists) == 1:
        return table[lists[0]], f"its rows are the list {lists[0]!r}"
    if lists:
        return None
    columns = list(table.values())
    note = "it holds a list of values for each column"
    if columns and all(isinstance(column, Mapping) and column and all(map(str.isdigit, column)) for column in columns):
        numbers = dict.fromkeys(number for column in columns for number in column)
        columns = [[column.get(number) for number in numbers] for column in columns]
    if not columns or not all(isinstance(column, list) and column for column in columns):
        return None
    if len({len(column) for column in columns}) > 1 or any(_is_conversation(column) for column in columns):
        return None
    return [JsonObject(list(zip(table, row, strict=True))) for row in zip(*columns, strict=True)], note


def _is_rows(value: Any) -> bool:
    return (
        isinstance(value, list) and any(isinstance(each, JsonObject) for each in value) and not _is_conversation(value)
    )


def _is_conversation(value: list[Any]) -> bool:
    return any(isinstance(each, Mapping) and ("role" in each or "from" in each) for each in value)


def _json_lines(text: str) -> Values:
    """Return the number and the value of every line, or the error it gives."""
    values: Values = []
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                values.append((number, json.loads(line, object_pairs_hook=JsonObject)))
            except json.JSONDecodeError as error:
                values.append((number, error))
    return values
