"""Check the lists that a library function gets: prompts, answers and labels from files, data frames or arrays."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from neurontune_core.errors import InputError
from neurontune_core.records import Message
from neurontune_core.tables import messages


def texts(name: str, values: Iterable[Any], missing: bool = False) -> list[Any]:
    """Return texts as a list, each missing one (None, or NaN as in a data frame) as None.

    Raises:
        InputError: something else than a list, an item that is no text, or a missing one unless `missing` allows it.
    """
    remedy = "give text, or None where it is missing" if missing else "give text"
    found: list[str | None] = []
    for number, value in enumerate(_items(name, values, "texts")):
        none = value is None or value is pd.NA or (isinstance(value, float) and value != value)
        if not isinstance(value, str) and not (missing and none):
            raise InputError(f"{name}: item {number} is {value!r}; {remedy}")
        if not none and any("\ud800" <= character <= "\udfff" for character in value):
            raise InputError(f"{name}: item {number} has half of a character (a lone surrogate); leave it out")
        found.append(None if none else str(value))
    return found


def truths(name: str, values: Iterable[Any]) -> list[bool]:
    """Return truth values as a list; 0 and 1 count as such.

    Raises:
        InputError: something else than a list, or an item that is no truth value, such as the word "safe".
    """
    given = list(_items(name, values, "True and False"))
    for number, value in enumerate(given):
        if isinstance(value, str) or value is pd.NA or np.ndim(value) or value not in (0, 1):
            raise InputError(f"{name}: item {number} is {value!r}; give True or False")
    return [bool(value) for value in given]


def turns(name: str, values: Iterable[Any]) -> list[tuple[Message, ...]]:
    """Return the messages before each prompt; None counts as no message.

    Raises:
        InputError: something else than a list, or an item that is no list of messages with `role` and `content`.
    """
    found = []
    for number, history in enumerate(_items(name, values, "lists of messages")):
        rows = [] if history is None else history
        if not isinstance(rows, (Sequence, np.ndarray)) or not all(map(_is_message, rows)):
            raise InputError(
                f"{name}: item {number} is {history!r}; give a list of messages, each with role (user or assistant) "
                "and content (text)"
            )
        found.append(messages(rows))
    return found


def _is_message(row: Any) -> bool:
    told = isinstance(row, Mapping) and set(row) == {"role", "content"}
    return told and row["role"] in ("user", "assistant") and isinstance(row["content"], str)


def _items(name: str, values: Any, what: str) -> Iterable[Any]:
    if isinstance(values, (str, bytes)):
        raise InputError(f"{name}: a single text was given; give a list of {what}")
    if isinstance(values, (Mapping, pd.DataFrame)):
        raise InputError(
            f"{name}: a {type(values).__name__} was given; give a list of {what}, such as one column of it"
        )
    if not isinstance(values, Iterable):
        raise InputError(f"{name}: {values!r} was given; give a list of {what}")
    return values
