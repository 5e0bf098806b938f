"""Load the configured queries and attacks: the shipped corpus and public datasets, without duplicates."""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from neurontune_core import artifacts
from neurontune_core.config import PairsConfig, SourceConfig
from neurontune_core.data import corpus, specification
from neurontune_core.data.corpus import Attack, Query
from neurontune_core.data.fetch import FetchedFile, fetch
from neurontune_core.data.queries import ReadQueries, Rejected, read_queries, with_system
from neurontune_core.data.rows import read_rows
from neurontune_core.data.specification import ROLES, RoleName
from neurontune_core.errors import InputError


@dataclass(frozen=True)
class Source:
    """A dataset as it was used in one role: where it came from, and what became of its rows.

    Every row is a query, or the repetition of one under another attack, or rejected, or left out by the limit, or of
    another role than was asked for (`other_rows`).
    """

    name: str
    role: RoleName
    title: str
    origin: str
    licence: str
    rows: int
    queries: int
    attacks: int
    rejected: int
    left_out_by_limit: int
    other_rows: int


@dataclass
class Loaded:
    """All queries and attacks of a configuration, the rows that were rejected, and the sources."""

    queries: list[Query] = field(default_factory=list)
    attacks: list[Attack] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    sources: list[Source] = field(default_factory=list)


def check_names(config: PairsConfig) -> None:
    """Check the names of datasets, before anything is read.

    Raises:
        InputError: unknown or repeated dataset, one without queries of the role, or one path for two files.
    """
    known = [corpus.NAME, *specification.dataset_names()]
    for role in ROLES:
        names = getattr(config, role)
        if not names or len(set(names)) < len(names):
            raise InputError(f"pairs.{role}: {list(names)} must name at least one dataset, and none twice")
        if unknown := [name for name in names if name not in known]:
            raise InputError(f"pairs.{role}: unknown dataset {unknown[0]!r}; choose among {', '.join(known)}")
        for name in names:
            if name != corpus.NAME:
                specification.role_file(name, role)
    for name, source in config.sources.items():
        if name not in known:
            raise InputError(f"pairs.sources.{name}: unknown dataset; choose among {', '.join(known)}")
        if name == corpus.NAME and (source.path or source.revision):
            raise InputError(
                "pairs.sources.shipped: only `limit` and `system_prompt` can be set; the shipped corpus is part of the "
                "package"
            )


def files(config: PairsConfig) -> Iterator[tuple[str, RoleName, FetchedFile]]:
    """Yield name, role and file of every public dataset, downloaded where needed.

    Raises:
        InputError: a file is missing or cannot be downloaded; the message names the remedy.
    """
    for role in ROLES:
        for name in getattr(config, role):
            if name != corpus.NAME:
                found = specification.role_file(name, role)
                yield name, role, fetch(specification.dataset(name), found, _source(config, name))


def digests(config: PairsConfig) -> list[str]:
    """Return a digest of everything the queries are read from: contents, not paths, and how columns are understood."""
    unused = {corpus.QUERIES[role] for role in ROLES if corpus.NAME not in getattr(config, role)}
    shipped = [corpus.digest(file) for file in corpus.FILES if file not in unused]
    public = [
        f"{name}/{role}/{specification.digest(name)}/{artifacts.file_digest(fetched.path)}"
        for name, role, fetched in files(config)
    ]
    return [*shipped, *public]


def all_fit(query: Query) -> str:
    """Say of any query that the model can take it: what is to be assumed where there is no model."""
    return ""


def system_prompts(config: PairsConfig) -> dict[str, str]:
    """Return the system message of every dataset that has one."""
    names = sorted({name for role in ROLES for name in getattr(config, role)})
    found = {name: _source(config, name).system_prompt or "" for name in names if name == corpus.NAME}
    found |= {name: specification.system_prompt(name, _source(config, name)) for name in names if name != corpus.NAME}
    return {name: text for name, text in found.items() if text}


def load(config: PairsConfig, unfit: Callable[[Query], str] = all_fit) -> Loaded:
    """Return all queries, harmful ones first, and all attacks; of exact duplicates the first is kept.

    `unfit` says why the model cannot take a query, "" if it can; those it cannot take are rejected.

    Raises:
        InputError: unknown dataset, a file that is missing, unreadable or has unknown columns, or no query of a role.
    """
    check_names(config)
    fetched = {(name, role): file for name, role, file in files(config)}
    loaded = Loaded(attacks=corpus.attacks())
    first: dict[str, Query] = {}
    for role in ROLES:
        before = len(loaded.rejected)
        for name in getattr(config, role):
            _add(loaded, first, name, role, fetched.get((name, role)), config, unfit)
        if len(loaded.rejected) > before and not any(query.role == ROLES[role] for query in loaded.queries):
            why = loaded.rejected[before]
            raise InputError(
                f"pairs.{role}: no query of {', '.join(getattr(config, role))} can be used; the first is "
                f"{why.source} row {why.row}: {why.reason}; give queries that fit"
            )
    return loaded


def _add(
    loaded: Loaded,
    first: dict[str, Query],
    name: str,
    role: RoleName,
    file: FetchedFile | None,
    config: PairsConfig,
    unfit: Callable[[Query], str],
) -> None:
    """Add the queries and attacks of one dataset; without a file it is the shipped corpus."""
    if file is None:
        read = ReadQueries(corpus.queries(role))
        title, origin, licence, rows = "shipped corpus", "package", "Apache-2.0", len(read.queries)
    else:
        about, table = specification.dataset(name), read_rows(file.path)
        read = read_queries(name, role, specification.role_file(name, role), table)
        title, origin, licence, rows = about.title, file.origin, about.licence, len(table)
    new = [query for query in read.queries if _is_first(query, first, read.rejected)]
    limited = _limited(new, _source(config, name).limit, f"{config.seed}/{name}/{role}")
    drawn = [(query, unfit(query)) for query in with_system(limited, system_prompts(config).get(name, ""))]
    read.rejected += [Rejected(name, query.row, problem) for query, problem in drawn if problem]
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
        )
    )


def _source(config: PairsConfig, name: str) -> SourceConfig:
    return config.sources.get(name, SourceConfig())


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
