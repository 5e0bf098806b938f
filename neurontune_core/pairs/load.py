"""Load the configured queries, attacks and refusals: the shipped corpus, public datasets and the user's files."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from neurontune_core.data import corpus, specification
from neurontune_core.data.corpus import Attack, Query
from neurontune_core.data.fetch import FetchedFile
from neurontune_core.data.own_texts import read_attacks, read_refusals
from neurontune_core.data.queries import ReadQueries, Rejected, check_any, read_queries, with_system
from neurontune_core.data.rows import read_table
from neurontune_core.data.specification import ROLE_OF, RoleName
from neurontune_core.data_names import own_data, short_name
from neurontune_core.errors import InputError
from neurontune_core.pairs.data_files import (
    TEXTS,
    Kind,
    Texts,
    check_names,
    data_digests,
    files,
    source_of,
    system_prompts,
)
from neurontune_core.pairs.settings import PairsConfig


@dataclass(frozen=True)
class Source:
    """The use of a dataset in one role: its origin, and counts of its rows.

    Every row is a query, or repeats a query under another attack, or is rejected, or is left out by the limit, or has
    another role (`other_rows`). The user's attacks and refusals are separate sources. `columns` and `notes` say in
    words how the file was read.
    """

    name: str
    role: Kind
    title: str
    origin: str
    licence: str
    rows: int
    queries: int
    attacks: int
    rejected: int
    left_out_by_limit: int
    other_rows: int
    columns: str = ""
    notes: str = ""


@dataclass
class Loaded:
    """All queries, attacks and refusals of a configuration, the rows that were rejected, and the sources."""

    queries: list[Query] = field(default_factory=list)
    attacks: list[Attack] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    sources: list[Source] = field(default_factory=list)


@dataclass(frozen=True)
class ReadFile:
    """The rows of a dataset in one role, and data about their file.

    `entry` is the dataset's name in the settings, `name` its name in results.
    """

    entry: str
    name: str
    role: RoleName
    read: ReadQueries
    title: str
    origin: str
    licence: str
    rows: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class ReadData:
    """The data that are read from files for a configuration: attacks, refusals, queries, and digests of the contents.

    `settings` are the settings on which reading depends; configurations that share them read the files only once.
    """

    settings: dict[str, Any]
    texts: Loaded
    files: list[ReadFile]
    digests: list[str]


Unfit = Callable[[Query], str]
"""Returns the reason why a query does not fit the model, "" if it fits."""


def no_limit(query: Query) -> str:
    """Accept every query: used where no model is loaded yet."""
    return ""


def settings_of_reading(config: PairsConfig) -> dict[str, Any]:
    """Return the settings on which reading the files depends."""
    return config.model_dump(include={*ROLE_OF, *TEXTS, "sources"})


def read_data(config: PairsConfig) -> ReadData:
    """Read all files of a configuration; public datasets that are not on this machine are downloaded.

    Raises:
        InputError: unknown dataset, a gated dataset without a token, no network, a file that is missing, unreadable or
            has unknown columns, or one of one's own without a query.
    """
    check_names(config)
    found = list(files(config))
    fetched = {(name, kind): file for name, kind, file in found}
    texts = Loaded()
    for kind in TEXTS:
        for name in getattr(config, kind):
            _add_texts(texts, name, kind, fetched.get((name, kind)), config)
    texts.refusals = list(dict.fromkeys(texts.refusals))
    read = [_read(name, role, fetched.get((name, role)), config) for role in ROLE_OF for name in getattr(config, role)]
    return ReadData(settings_of_reading(config), texts, read, data_digests(config, found))


def load_queries(config: PairsConfig, unfit: Unfit = no_limit, data: ReadData | None = None) -> Loaded:
    """Return all queries, harmful ones first, and all attacks; of exact duplicates the first is kept.

    Queries that do not fit the model (`unfit`) are rejected. Without `data` the files are read (`read_data`).

    Raises:
        InputError: as `read_data` raises, or no query of a role can be used.
    """
    data = data or read_data(config)
    texts = data.texts
    loaded = Loaded([], [*texts.attacks], [*texts.refusals], [*texts.rejected], [*texts.sources])
    first: dict[str, Query] = {}
    for role in ROLE_OF:
        left_out: list[Rejected] = []
        for file in data.files:
            if file.role == role:
                left_out += _add(loaded, first, file, config, unfit)
        if left_out and not any(query.role == ROLE_OF[role] for query in loaded.queries):
            why = left_out[0]
            raise InputError(
                f"pairs.{role}: no query of {', '.join(getattr(config, role))} can be used; the first is "
                f"{why.source} row {why.row}: {why.reason}; correct the files, or name others"
            )
    return loaded


def _add_texts(loaded: Loaded, name: str, kind: Texts, file: FetchedFile | None, config: PairsConfig) -> None:
    """Add the attacks or the refusals of one file; without a file, the shipped ones."""
    if file is None:
        loaded.attacks += corpus.attacks() if kind == "attacks" else []
        loaded.refusals += corpus.refusals() if kind == "refusals" else []
        return
    about, described, table = specification.dataset(name), specification.text_file(name, kind), read_table(file.path)
    described = specification.with_columns(described, source_of(config, name))
    if kind == "attacks":
        read = read_attacks(about.name, described, table, loaded.attacks)
    else:
        read = read_refusals(about.name, described, table)
    loaded.attacks += read.attacks
    loaded.refusals += read.refusals
    loaded.rejected += read.rejected
    loaded.sources.append(
        Source(
            name=about.name,
            role=kind,
            title=about.title or about.name,
            origin=file.origin,
            licence=about.licence or "not stated",
            rows=len(table.rows),
            queries=0,
            attacks=len(read.attacks),
            rejected=len(read.rejected),
            left_out_by_limit=0,
            other_rows=0,
            columns=read.columns,
            notes="; ".join(read.notes),
        )
    )


def _read(name: str, role: RoleName, file: FetchedFile | None, config: PairsConfig) -> ReadFile:
    """Read the queries and attacks of a dataset in one role; without a file, those of the shipped corpus."""
    if file is None:
        queries = corpus.queries(role)
        return ReadFile(name, name, role, ReadQueries(queries), "shipped corpus", "package", "Apache-2.0", len(queries))
    about, table = specification.dataset(name), read_table(file.path)
    described = specification.with_columns(specification.role_file(name, role), source_of(config, name))
    read = read_queries(about.name, role, described, table.rows)
    if own_data(name):
        check_any(f"pairs.{role}", about.name, read)
    title, licence = about.title or about.name, about.licence or "not stated"
    return ReadFile(name, about.name, role, read, title, file.origin, licence, len(table.rows), table.notes)


def _add(loaded: Loaded, first: dict[str, Query], file: ReadFile, config: PairsConfig, unfit: Unfit) -> list[Rejected]:
    """Add the queries and attacks of one dataset, and return the queries that do not fit the model."""
    source, read, name, role = source_of(config, file.entry), file.read, file.name, file.role
    system = system_prompts(config).get(short_name(file.entry), "")
    rejected = [*read.rejected]
    new = [query for query in read.queries if _is_first(query, first, rejected)]
    limited = _limited(new, source.limit, f"{config.seed}/{name}/{role}")
    drawn = [(query, unfit(query)) for query in with_system(limited, system)]
    left_out = [Rejected(name, query.row, problem) for query, problem in drawn if problem]
    rejected += left_out
    taken = {query.id: query for query, problem in drawn if not problem}
    for query in new:
        if query.id not in taken:
            del first[_normalised(query)]
    loaded.queries += taken.values()
    loaded.attacks += read.attacks
    loaded.rejected += sorted(rejected, key=lambda each: each.row)
    loaded.sources.append(
        Source(
            name=name,
            role=role,
            title=file.title,
            origin=file.origin,
            licence=file.licence,
            rows=file.rows,
            queries=len(taken),
            attacks=len(read.attacks),
            rejected=len(rejected),
            left_out_by_limit=len(new) - len(drawn),
            other_rows=read.others,
            columns=read.columns,
            notes="; ".join(file.notes),
        )
    )
    return left_out


def _is_first(query: Query, first: dict[str, Query], rejected: list[Rejected]) -> bool:
    """Tell whether a query is new, and list it as rejected if not; case and blanks make no difference."""
    kept = first.setdefault(_normalised(query), query)
    if kept is not query:
        rejected.append(Rejected(query.source, query.row, f"duplicate of {kept.id}"))
    return kept is query


def _normalised(query: Query) -> str:
    said = [query.system, *(message.content for message in query.history), query.text]
    return "\n".join(" ".join(text.casefold().split()) for text in said)


def _limited(queries: Sequence[Query], limit: int | None, seed: str) -> Sequence[Query]:
    if limit is None or limit >= len(queries):
        return queries
    chosen = sorted(random.Random(seed).sample(range(len(queries)), limit))
    return [queries[i] for i in chosen]
