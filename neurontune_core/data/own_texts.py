"""Turn the rows of a user's file into attacks or refusals; every row that is not used gets a reason."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from neurontune_core.data.attack_templates import known_categories, slug
from neurontune_core.data.categories import ATTACK_TYPES
from neurontune_core.data.columns import ATTACK, REFUSAL, columns_in_words, recognise
from neurontune_core.data.corpus import PLACEHOLDER, Attack
from neurontune_core.data.near_copies import words
from neurontune_core.data.queries import MAX_CHARACTERS, Rejected
from neurontune_core.data.rows import Table
from neurontune_core.data.specification import TextFile
from neurontune_core.errors import InputError

OWN = "own"
"""Category and type of an attack whose file gives none."""
MAX_ATTACK_CHARACTERS = 4 * MAX_CHARACTERS
_BRACKETED = re.compile(r"\{\{?\s*\w+\s*\}\}?|\[\[?[A-Z _]+\]\]?", re.IGNORECASE)
"""What looks like a placeholder."""
_QUERY = r"(?:query|prompt|goal|question|request|instruction|behavior|behaviour)"
_OTHER_PLACEHOLDER = re.compile(
    rf"\{{\{{?\s*(?:(?:user[_ ]?)?(?:{_QUERY}|input|text)|0)?\s*\}}\}}?"
    rf"|\[\[?\s*(?:(?:insert|your|the|user)[_ ])*(?:{_QUERY}|input|text|replace)(?:[_ ]here)?\s*\]\]?"
    rf"|<\s*{_QUERY}\s*>|%s",
    re.IGNORECASE,
)
"""Placeholders that other collections use for the query: `{{prompt}}`, `{0}`, `{}`, `[INSERT PROMPT HERE]`."""
_LONGEST_NAME = 200


@dataclass
class ReadTexts:
    """The result of reading one file; `columns` and `notes` say in words how the rows were read."""

    attacks: list[Attack] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    columns: str = ""
    notes: tuple[str, ...] = ()


def read_attacks(
    name: str, file: TextFile, table: Table, before: Sequence[Attack] = (), section: str = "pairs"
) -> ReadTexts:
    """Return the attacks in the rows of a file.

    Another placeholder that can only mean the query is read as `{query}`, with a note. A row without a placeholder is
    rejected, and so is a row whose attack occurs in an earlier row or in `before`. If
    the category is one of the ten, in any spelling, the attack has this category's type unless the row gives a type. An
    attack without a category gets the category `own`; if it has no type either, it gets the type `own`.

    Raises:
        InputError: no column of the file is known to hold attacks, or no row can be used.
    """
    found = recognise(f"{section}.sources.{name}", table.columns, ATTACK, file.columns)
    read = ReadTexts(columns=columns_in_words(found, table.columns), notes=table.notes)
    templates = {attack.template: attack.name for attack in before}
    names = set(templates.values())
    others: dict[str, None] = {}
    for row in table.rows:
        values = {use: row.values.get(column) for use, column in found.items()}
        problem = row.problem or _problem(values, "template", MAX_ATTACK_CHARACTERS)
        template = "" if problem else str(values["template"]).strip()
        template, other = _with_placeholder(template)
        problem = problem or _template_problem(template)
        attack = _attack(name, row.number, template, values)
        if not problem and template in templates:
            problem = f"duplicate of {templates[template]}"
        if not problem and attack.name in names:
            problem = f"another attack is called {attack.name}"
        if problem:
            read.rejected.append(Rejected(name, row.number, problem))
            continue
        others |= {other: None} if other else {}
        templates[template] = attack.name
        names.add(attack.name)
        read.attacks.append(attack)
    _check_any(f"{section}.attacks", name, read.attacks, read, len(table.rows))
    if others:
        read.notes += (f"{', '.join(map(repr, others))} is read as {PLACEHOLDER}",)
    new = sorted({attack.category for attack in read.attacks} - {*ATTACK_TYPES, OWN})
    if new:
        read.notes += (f"attack categories of its own: {', '.join(new)}",)
    return read


def read_refusals(name: str, file: TextFile, table: Table, section: str = "pairs") -> ReadTexts:
    """Return the refusals in the rows of a file, each text once.

    Raises:
        InputError: no column of the file is known to hold refusals, or no row can be used.
    """
    found = recognise(f"{section}.sources.{name}", table.columns, REFUSAL, file.columns)
    read = ReadTexts(columns=columns_in_words(found, table.columns), notes=table.notes)
    for row in table.rows:
        values = {use: row.values.get(column) for use, column in found.items()}
        problem = row.problem or _problem(values, "text", MAX_CHARACTERS)
        text = "" if problem else str(values["text"]).strip()
        if not problem and text in read.refusals:
            problem = "duplicate of a refusal above"
        if problem:
            read.rejected.append(Rejected(name, row.number, problem))
        else:
            read.refusals.append(text)
    _check_any(f"{section}.refusals", name, read.refusals, read, len(table.rows))
    return read


def _attack(source: str, number: int, template: str, values: Mapping[str, Any]) -> Attack:
    given = {use: _word(values.get(use)) for use in ("name", "type", "category")}
    category, *also = known_categories(given["category"]) or [slug(given["category"]) or OWN]
    kind = slug(given["type"]) or ATTACK_TYPES.get(category, OWN)
    name = slug(given["name"]) or f"{number:03d}"
    return Attack(f"{source}_{name}", kind, category, template, tuple(also))


def _word(value: Any) -> str:
    return str(value) if isinstance(value, str | int) else ""


def _problem(values: Mapping[str, Any], main: str, longest: int) -> str:
    text = values[main]
    if text is None or text == "":
        return f"no {main}"
    if not isinstance(text, str):
        return f"the {main} is not text but {type(text).__name__}"
    if not words(text):
        return f"the {main} holds no word"
    if len(text) > longest:
        return f"{len(text)} characters, more than {longest}"
    if long := [use for use, value in values.items() if use != main and len(_word(value)) > _LONGEST_NAME]:
        return f"the {long[0]} has more than {_LONGEST_NAME} characters"
    try:
        "".join(str(value) for value in values.values()).encode()
    except UnicodeEncodeError:
        return "not valid Unicode"
    return ""


def _with_placeholder(template: str) -> tuple[str, str]:
    """Return a template with `{query}` in the place of the only other placeholder that it has, and this placeholder."""
    if PLACEHOLDER in template.replace(f"{{{PLACEHOLDER}}}", ""):
        return template, ""
    found = {match[0] for match in _OTHER_PLACEHOLDER.finditer(template)}
    if len(found) != 1:
        return template, ""
    (other,) = found
    return template.replace(other, PLACEHOLDER), other


def _template_problem(template: str) -> str:
    nearly = _BRACKETED.search(template.replace(PLACEHOLDER, "") if "{{" not in template else template)
    if PLACEHOLDER not in template or (nearly and nearly[0] == f"{{{PLACEHOLDER}}}"):
        instead = f" but {nearly[0]!r}" if nearly else ""
        return f"the template has no {PLACEHOLDER}{instead}; write {PLACEHOLDER} where the query goes"
    if not words(template.replace(PLACEHOLDER, " ")):
        return f"there is no text around {PLACEHOLDER}"
    return ""


def _check_any(field: str, name: str, used: Sequence[Any], read: ReadTexts, rows: int) -> None:
    if not used:
        why = f"row {read.rejected[0].row}: {read.rejected[0].reason}" if read.rejected else "it has no row"
        raise InputError(f"{field}: none of the {rows} rows of {name!r} can be used ({why}); correct the file")
