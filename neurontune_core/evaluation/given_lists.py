"""Check the lists that a library function gets: prompts, answers and labels from files, data frames or arrays."""

from collections.abc import Iterable
from typing import Any

import pandas as pd

from neurontune_core.errors import InputError


def texts(name: str, values: Iterable[Any], missing: bool = False) -> list[Any]:
    """Return texts as a list, each missing one (None, or NaN as in a data frame) as None.

    Raises:
        InputError: one text instead of a list, an item that is no text, or a missing one unless `missing` allows it.
    """
    if isinstance(values, str):
        raise InputError(f"{name}: a single text was given; give a list of texts")
    given = [None if value is None or value is pd.NA or value != value else value for value in values]
    for number, value in enumerate(given):
        if not isinstance(value, str) and not (missing and value is None):
            remedy = "give text, or None where it is missing" if missing else "give text"
            raise InputError(f"{name}: item {number} is {value!r}; {remedy}")
    return given


def truths(name: str, values: Iterable[Any]) -> list[bool]:
    """Return truth values as a list; 0 and 1 count as such.

    Raises:
        InputError: an item that is no truth value, such as the word "safe".
    """
    given = list(values)
    for number, value in enumerate(given):
        if isinstance(value, str) or value is pd.NA or value not in (0, 1):
            raise InputError(f"{name}: item {number} is {value!r}; give True or False")
    return [bool(value) for value in given]
