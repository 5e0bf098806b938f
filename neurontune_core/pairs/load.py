"""Load the configured queries, attacks and refusals: the shipped corpus, public datasets and files of one's own."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from neurontune_core.data import corpus, specification
from neurontune_core.data.corpus import Attack, Query
from neurontune_core.data.fetch import FetchedFile
from neurontune_core.data.own_texts import read_attacks, read_refusals
from neurontune_core.data.queries import ReadQueries, Rejected, check_any, read_queries, with_system
from neurontune_core.data.rows import read_table
from neurontune_core.data.specification import ROLE_OF, RoleName
from neurontune_core.data_names import own_data, short_name
from neurontune_core.errors import InputError
from neurontune_core.pairs.data_files import TEXTS, Kind, Texts, check_names, files, source_of, system_prompts
from neurontune_core.pairs.settings import PairsConfig


@dataclass(frozen=True)
class Source:
    """A dataset as it was used in one role: where it came from, and what became of its rows.

    Every row is a query, or the repetition of one under another attack, or rejected, or left out by the limit, or of
    another role than was asked for (`other_rows`). Attacks and refusals of one's own are a source each. `columns` and
    `notes` say in words how the file was understood.
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


Unfit = Callable[[Query], str]
"""Returns why the model cannot take a query, "" if it can."""


def all_fit(refusals: Sequence[str]) -> Unfit:
    """Accept every query: used where no model is loaded yet."""
    return lambda query: ""


def load_queries(config: PairsConfig, fit: Callable[[Sequence[str]], Unfit] = all_fit) -> Loaded:
    """Return all queries, harmful ones first, and all attacks; of exact duplicates the first is kept.

    `fit` is given the refusals and tells why the model cannot take a query; those it cannot take are rejected.

    Raises:
        InputError: unknown dataset, a file that is missing, unreadable or has unknown columns, or no query of a role.
    """
    check_names(config)
    fetched = {(name, kind): file for name, kind, file in files(config)}
    loaded = Loaded()
    for kind in TEXTS:
        for name in getattr(config, kind):
            _add_texts(loaded, name, kind, fetched.get((name, kind)), config)
    loaded.refusals = list(dict.fromkeys(loaded.refusals))
    unfit = fit(loaded.refusals)
    first: dict[str, Query] = {}
    for role in ROLE_OF:
        left_out: list[Rejected] = []
        for name in getattr(config, role):
            left_out += _add(loaded, first, name, role, fetched.get((name, role)), config, unfit)
        if left_out and not any(query.role == ROLE_OF[role] for query in loaded.queries):
            why = left_out[0]
            raise InputError(
                f"pairs.{role}: no query of {', '.join(getattr(config, role))} can be used; the first is "
                f"{why.source} row {why.row}: {why.reason}; give queries that fit"
            )
    return loaded


def _add_texts(loaded: Loaded, name: str, kind: Texts, file: FetchedFile | None, config: PairsConfig) -> None:
    """Add the attacks or the refusals of one file; without one they are the shipped ones."""
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


def _add(
    loaded: Loaded,
    first: dict[str, Query],
    name: str,
    role: RoleName,
    file: FetchedFile | None,
    config: PairsConfig,
    unfit: Unfit,
) -> list[Rejected]:
    """Add the queries and attacks of one dataset, and return those the model cannot take.

    Without a file it is the shipped corpus.
    """
    source = source_of(config, name)
    system = system_prompts(config).get(short_name(name), "")
    notes: tuple[str, ...] = ()
    if file is None:
        read = ReadQueries(corpus.queries(role))
        title, origin, licence, rows = "shipped corpus", "package", "Apache-2.0", len(read.queries)
    else:
        about, table = specification.dataset(name), read_table(file.path)
        described = specification.with_columns(specification.role_file(name, role), source)
        read = read_queries(about.name, role, described, table.rows)
        if own_data(name):
            check_any(f"pairs.{role}", about.name, read)
        title, origin, licence = about.title or about.name, file.origin, about.licence or "not stated"
        name, rows, notes = about.name, len(table.rows), table.notes
    new = [query for query in read.queries if _is_first(query, first, read.rejected)]
    limited = _limited(new, source.limit, f"{config.seed}/{name}/{role}")
    drawn = [(query, unfit(query)) for query in with_system(limited, system)]
    left_out = [Rejected(name, query.row, problem) for query, problem in drawn if problem]
    read.rejected += left_out
    taken = {query.id: query for query, problem in drawn if not problem}
    for query in new:
        if query.id not in taken:
            del first[_normalised(query)]
    loaded.queries += taken.values()
    loaded.attacks += read.attacks
    loaded.rejected += sorted(read.rejected, key=lambda each: each.row)
    loaded.sources.append(
        Source(
            name=name,
            role=role,
            title=title,
            origin=origin,
            licence=licence,
            rows=rows,
            queries=len(taken),
            attacks=len(read.attacks),
            rejected=len(read.rejected),
            left_out_by_limit=len(new) - len(drawn),
            other_rows=read.others,
            columns=read.columns,
            notes="; ".join(notes),
        )
    )
    return left_out


def _is_first(query: Query, first: dict[str, Query], rejected: list[Rejected]) -> bool:
    """Tell whether a query is new, noting it as rejected otherwise; case and blanks make no difference."""
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
