"""Recognise the columns of a user's file by their names."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from neurontune_core.errors import InputError

LONGEST_NAME = 4
"""Most words of a column's name; what has more is a text, and the file has no header."""
QUERY = {
    "query": (
        "query", "prompt", "goal", "question", "instruction", "behavior", "behaviour", "forbidden_prompt", "request",
        "text", "input", "user_prompt", "prompt_text", "messages", "conversation", "conversations", "history",
    ),
    "context": ("input",),
    "category": (
        "category", "unsafety_category", "harm_category", "risk_category", "semantic_category", "topic",
        "type",
    ),
    "history": ("history", "messages", "conversation", "conversations"),
}  # fmt: skip
"""For each use, the names of its column, in the order of search; case, blanks, - and _ do not matter."""
HARMFUL = QUERY | {
    "response": ("response", "refusal", "safe_response", "safe_generation", "target_refusal"),
}
ATTACK = {
    "template": (
        "template", "attack", "attack_template", "attack_prompt", "jailbreak", "jailbreak_prompt", "prompt", "text",
    ),
    "name": ("name", "attack_name", "title", "id"),
    "type": ("type", "attack_type"),
    "category": ("category", "attack_category"),
}  # fmt: skip
REFUSAL = {"text": ("text", "refusal", "response", "safe_response", "answer")}


def recognise(
    field: str, columns: Sequence[str], known: Mapping[str, Sequence[str]], named: Mapping[Any, str]
) -> dict[str, str]:
    """Return the column of every use for which the file has one.

    Args:
        field: the setting that says where the file is, for errors.
        columns: the columns of the file; a single column is taken for the first use.
        known: for each use the names of its column; the file must have a column for the first use.
        named: columns named by hand.

    Raises:
        InputError: no column for the first use, two columns of the same name, a column without a name, or a column
            named by hand that does not exist.
    """
    if not columns:
        raise InputError(f"{field}: the file has no row that can be read; give a file with at least one")
    if wrong := [use for use in named if use not in known]:
        raise InputError(
            f"{field}.columns.{wrong[0]}: not a use of a column of this file; choose among {', '.join(known)}"
        )
    if missing := [column for column in named.values() if column not in columns]:
        raise InputError(
            f"{field}.columns: no column {missing[0]!r}; the file has {_listed(columns)}: name one of these"
        )
    main = next(iter(known))
    found = dict(named)
    if len(columns) == 1 and not named:
        found[main] = columns[0]
    plain = {column: _plain(column) for column in columns}
    for use, names in known.items():
        for name in names if use not in found else ():
            alike = [column for column in columns if plain[column] == _plain(name) and column not in found.values()]
            if len(alike) > 1:
                raise InputError(
                    f"{field}: {_listed(alike)} could each be the {use}; name it with --set "
                    f"{field}.columns.{use}=COLUMN"
                )
            if alike:
                found[use] = alike[0]
                break
    if main not in found:
        if any(len(column.split()) > LONGEST_NAME for column in columns):
            raise InputError(
                f"{field}: the first row of the file has no names of columns ({_listed(columns)[:80]}); write a row of "
                f"names above it, with {known[main][0]!r} for the column of the {main}"
            )
        raise InputError(
            f"{field}: no {main} among the columns {_listed(columns)}; name it with --set "
            f"{field}.columns.{main}=COLUMN, or call it {', '.join(known[main])}"
        )
    if not found[main].strip():
        raise InputError(f"{field}: the column of the {main} has no name; call it {', '.join(known[main])}")
    if "context" not in named and _plain(found.get("query", "")) != "instruction":
        found.pop("context", None)  # the input of an instruction; in other files this column may be anything
    return {use: found[use] for use in known if use in found}


def columns_in_words(found: Mapping[str, str], columns: Sequence[str] = ()) -> str:
    """Return in words which column was taken for which use, and which of all `columns` was taken for none."""
    used = ", ".join(f"{use} = {column!r}" for use, column in found.items() if column)
    unused = [column for column in columns if column not in found.values()]
    return f"{used}; not used: {_listed(unused)}" if unused else used


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]", "", name).casefold()


def _listed(columns: Sequence[str]) -> str:
    return ", ".join(map(repr, columns))
