"""Turn the rows of a dataset into queries and attacks; every row that is not used gets a reason."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from neurontune_core.data.attack_templates import WrappedQuery, find_attacks, slug
from neurontune_core.data.categories import UNCATEGORISED
from neurontune_core.data.columns import HARMFUL, QUERY, columns_in_words, recognise
from neurontune_core.data.conversations import BadConversation, Turns, is_conversation, read_conversation, read_history
from neurontune_core.data.corpus import Attack, Query
from neurontune_core.data.near_copies import words
from neurontune_core.data.rows import Row
from neurontune_core.data.specification import ROLE_OF, Layout, RoleFile, RoleName
from neurontune_core.errors import InputError

MAX_CHARACTERS = 4000
"""Most characters of a query; a longer text is a document and would fill the context of a small model."""


@dataclass(frozen=True)
class Rejected:
    """A row that was not used, or not fully, with the reason; rows are counted from 1 without the header."""

    source: str
    row: int
    reason: str


@dataclass
class ReadQueries:
    """The result of reading one file; `others` counts rows of another role or of another part of the dataset.

    `columns` says in words which column was taken for which use.
    """

    queries: list[Query] = field(default_factory=list)
    attacks: list[Attack] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    others: int = 0
    columns: str = ""


def read_queries(name: str, role: RoleName, file: RoleFile, rows: Sequence[Row], section: str = "pairs") -> ReadQueries:
    """Return the queries and attacks in the rows of a dataset's file.

    Every row becomes a query, or is listed as rejected with its reason, or belongs to another role (`others`). If rows
    repeat a query under several attacks, as in SafeEdit, only the first becomes a query. Errors name `section`, the
    section of the configuration.

    Raises:
        InputError: the file has none of the layouts of its dataset.
    """
    layout = _layout(f"{section}.sources.{name}", name, role, file, rows)
    categories = {slug(theirs): ours for theirs, ours in file.categories.items()}
    is_own = bool(file.columns or not file.layouts)
    others = [name for name in _columns(rows) if name not in layout.where] if is_own else []
    read = ReadQueries(columns=columns_in_words(layout.model_dump(include=set(HARMFUL)), others))
    wrapped: list[WrappedQuery] = []
    seen: set[str] = set()
    for row in rows:
        if not row.problem and not _is_meant(row.values, layout):
            read.others += 1
            continue
        turns, problem = _turns(row.values, layout)
        text = query_text(row.values | {layout.query: turns.query}, layout)
        if problem := row.problem or problem or _problem(row.values, layout, text):
            read.rejected.append(Rejected(name, row.number, problem))
            continue
        if layout.attack is not None:
            of = layout.attack
            prompt, patterns, attack = (str(row.values[column]) for column in (of.prompt, of.category, of.name))
            wrapped.append(WrappedQuery(row.number, text, prompt, patterns, attack))
            if text in seen:
                continue
            seen.add(text)
        theirs = slug(_optional_text(row.values, layout.category))
        # without a mapping to our categories, a dataset's own categories are kept
        ours = categories.get(theirs, UNCATEGORISED) if categories else theirs or UNCATEGORISED
        category = f"{file.kind}/{theirs or name}" if file.kind else ours
        response = _optional_text(row.values, layout.response) or turns.response
        query_id = f"{name}-{role}-{row.number:05d}"
        read.queries.append(
            Query(query_id, ROLE_OF[role], text, category, name, row.number, response, turns.history, turns.system)
        )
    read.attacks, problems = find_attacks(name, wrapped)
    read.rejected += [Rejected(name, number, f"its attack is not used: {reason}") for number, reason in problems]
    return read


def with_system(queries: Sequence[Query], system: str) -> list[Query]:
    """Return the queries with their dataset's system message; a query with its own keeps it."""
    return [query if query.system else replace(query, system=system) for query in queries]


def check_any(field: str, name: str, read: ReadQueries) -> None:
    """Check that a user's file has a query.

    Raises:
        InputError: it has none; the message gives the error of the first row.
    """
    if not read.queries:
        first = f"row {read.rejected[0].row}: {read.rejected[0].reason}" if read.rejected else "none is of this role"
        raise InputError(f"{field}: no row of {name!r} can be used ({first}); correct the file")


def query_text(values: Mapping[str, Any], layout: Layout) -> str:
    """Return the query of a row, with its additional text below it; "" if the query is missing or not text."""
    parts = [values.get(column) for column in (layout.query, layout.context) if column]
    if not isinstance(parts[0], str):
        return ""
    return "\n\n".join(part.strip() for part in parts if isinstance(part, str) and part.strip())


def _layout(field: str, name: str, role: RoleName, file: RoleFile, rows: Sequence[Row]) -> Layout:
    if file.columns or not file.layouts:
        return _recognised(field, role, file, rows)
    columns = {column for row in rows[:100] for column in row.values}
    for layout in file.layouts:
        if columns.issuperset(layout.columns):
            return layout
    if not columns:
        raise InputError(f"{field}: the file has no row that can be read; give the file as it was published")
    known = " or ".join(", ".join(layout.columns) for layout in file.layouts)
    raise InputError(
        f"{field}: the file has columns {', '.join(sorted(columns))}, but {name} has {known}; give the file as it was "
        f"published"
    )


def _columns(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(column for row in rows for column in row.values))


def _recognised(field: str, role: RoleName, file: RoleFile, rows: Sequence[Row]) -> Layout:
    found = recognise(field, _columns(rows), HARMFUL if role == "harmful" else QUERY, file.columns)
    optional = tuple(column for use, column in found.items() if use != "query")
    return Layout.model_validate({**found, "optional": optional})


def _optional_text(values: Mapping[str, Any], column: str) -> str:
    """Return the text of a column, "" if there is none; in a data frame a missing value is NaN."""
    value = values.get(column)
    return "" if value is None or value != value else str(value).strip()


def _is_meant(values: Mapping[str, Any], layout: Layout) -> bool:
    """Tell whether a row has the wanted values; a row without a value is kept here, and rejected later."""
    for column, allowed in layout.where.items():
        value = values.get(column)
        if value is not None and str(value).lower() not in {str(each).lower() for each in allowed}:
            return False
    return True


def _turns(values: Mapping[str, Any], layout: Layout) -> tuple[Turns, str]:
    """Return the conversation of a row, and the error in it ("" if there is none)."""
    value, column = values.get(layout.query), layout.query
    turns = Turns(value if isinstance(value, str) else "")
    try:
        if is_conversation(value):
            turns = read_conversation(value)
        if layout.history:
            column = layout.history
            earlier = read_history(values.get(column), turns.query)
            repeated = earlier.history == turns.history
            turns = Turns(
                turns.query,
                turns.history if repeated else earlier.history + turns.history,
                earlier.system or turns.system,
                turns.response or earlier.response,
            )
    except BadConversation as error:
        return turns, f"column {column!r}: {error}"
    return turns, ""


def _problem(values: Mapping[str, Any], layout: Layout, text: str) -> str:
    for column in layout.columns:
        if values.get(column) is None and column not in (layout.history, *layout.optional):
            return f"column {column!r} is missing or empty"
    for column in layout.optional:
        value = "" if column == layout.history else _optional_text(values, column)
        if value and not isinstance(values[column], str if column == layout.response else str | int | float):
            return f"column {column!r} is not text but {type(values[column]).__name__}"
        if len(value) > MAX_CHARACTERS:
            return f"column {column!r}: {len(value)} characters, more than {MAX_CHARACTERS}"
    if not isinstance(values[layout.query], str) and not is_conversation(values[layout.query]):
        return f"column {layout.query!r} is not text but {type(values[layout.query]).__name__}"
    if not words(text):
        return f"column {layout.query!r} holds no word"
    if len(text) > MAX_CHARACTERS:
        return f"{len(text)} characters, more than {MAX_CHARACTERS}"
    try:
        "".join(str(values.get(column)) for column in layout.columns).encode()
    except UnicodeEncodeError:
        return "not valid Unicode"
    return ""
