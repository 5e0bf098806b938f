"""The sets and attacks that an evaluation needs, read in the same way as the pairs' datasets."""

import logging
from collections.abc import Sequence
from functools import cached_property

from neurontune_core import artifacts
from neurontune_core.data import corpus, specification
from neurontune_core.data.corpus import Attack, Query
from neurontune_core.data.fetch import FetchedFile, fetch
from neurontune_core.data.own_texts import read_attacks
from neurontune_core.data.queries import ReadQueries, Rejected, check_any, read_queries, with_system
from neurontune_core.data.rows import read_table
from neurontune_core.data.settings import SourceConfig
from neurontune_core.data.specification import RoleFile, RoleName
from neurontune_core.data_names import check_distinct, check_entry, own_data, short_name
from neurontune_core.errors import InputError
from neurontune_core.evaluation.settings import EvaluationConfig
from neurontune_core.records import Role

SECTION = "evaluation"
ROLE_NAMES: dict[Role, RoleName] = {role: name for name, role in specification.ROLE_OF.items()}

logger = logging.getLogger("neurontune")


class PublicLibrary:
    """Reads public sets and the user's files; it implements the `library` of `neurontune_core.evaluation`."""

    def __init__(self, config: EvaluationConfig | None = None):
        config = config or EvaluationConfig()
        self._attacks, self._sources = config.attacks, config.sources

    def questions(self, dataset: str, role: Role, source: SourceConfig) -> list[Query]:
        """Return the harmful or the harmless queries of a dataset.

        Raises:
            InputError: the file is missing, unreadable or of unknown columns.
        """
        if _is_shipped(dataset, source):
            return with_system(corpus.queries(ROLE_NAMES[role]), source.system_prompt or "")
        read = _read(dataset, role, source)
        _warn(short_name(dataset), read.rejected)
        return with_system(read.queries, specification.system_prompt(dataset, source))

    def attacks(self) -> list[Attack]:
        """Return the attack prompts to wrap queries in, the shipped ones by default.

        Raises:
            InputError: a file is missing, unreadable or of unknown columns.
        """
        return list(self._read_attacks)

    @cached_property
    def _read_attacks(self) -> list[Attack]:
        found: list[Attack] = []
        for name in self._attacks:
            if name == corpus.NAME:
                found += corpus.attacks()
                continue
            source = self._source(name)
            file = specification.with_columns(specification.text_file(name, "attacks"), source)
            table = read_table(self._attack_file(name).path)
            read = read_attacks(short_name(name), file, table, found, SECTION)
            _warn(short_name(name), read.rejected)
            found += read.attacks
        return found

    def digest(self, dataset: str, role: Role, source: SourceConfig) -> str:
        """Return `<dataset>/<role>/<digest of how it is understood, and of the attacks around it>/<of the file>`.

        Raises:
            InputError: the file is missing, unreadable or of unknown columns.
        """
        name, attacks = ROLE_NAMES[role], self._attacks_digest()
        if _is_shipped(dataset, source):
            return f"{dataset}/{name}/{attacks}/{corpus.shipped_digest(corpus.QUERIES[name])}"
        _read(dataset, role, source)  # read now, so that errors in it are reported before anything is computed
        content = artifacts.file_digest(_file(dataset, role, source).path)
        columns = sorted(source.columns.items()) or ""
        around = artifacts.text_digest(f"{specification.specification_digest(dataset)}{columns}{attacks}")
        return f"{short_name(dataset)}/{name}/{around}/{content}"

    def _attacks_digest(self) -> str:
        check_distinct(f"{SECTION}.attacks", self._attacks)
        digests = []
        for name in self._attacks:
            check_entry(f"{SECTION}.attacks", name, [corpus.NAME], "attacks")
            if name == corpus.NAME:
                digests.append(corpus.shipped_digest("attacks.jsonl"))
                continue
            columns = sorted(self._source(name).columns.items())
            content = artifacts.file_digest(self._attack_file(name).path)
            digests.append(f"{short_name(name)}{specification.specification_digest(name)}{columns}{content}")
        return digests[0] if list(self._attacks) == [corpus.NAME] else artifacts.text_digest(" ".join(digests))

    def _attack_file(self, name: str) -> FetchedFile:
        file = specification.text_file(name, "attacks")
        return fetch(specification.dataset(name), file, self._source(name), SECTION)

    def _source(self, name: str) -> SourceConfig:
        return self._sources.get(short_name(name), SourceConfig())


def _role_file(dataset: str, role: Role, source: SourceConfig) -> RoleFile:
    return specification.with_columns(specification.role_file(dataset, ROLE_NAMES[role], SECTION), source)


def _file(dataset: str, role: Role, source: SourceConfig) -> FetchedFile:
    specification.check_source(f"{SECTION}.sources.{short_name(dataset)}", dataset, source)
    return fetch(specification.dataset(dataset), _role_file(dataset, role, source), source, SECTION)


def _read(dataset: str, role: Role, source: SourceConfig) -> ReadQueries:
    name, file = short_name(dataset), _role_file(dataset, role, source)
    rows = read_table(_file(dataset, role, source).path).rows
    read = read_queries(name, ROLE_NAMES[role], file, rows, SECTION)
    if own_data(dataset):
        check_any(f"{SECTION}.benchmarks", name, read)
    return read


def _warn(name: str, rejected: Sequence[Rejected]) -> None:
    if rejected:
        logger.warning(
            "%s: %s: %d rows are not used, the first is row %d: %s",
            SECTION, name, len(rejected), rejected[0].row, rejected[0].reason,
        )  # fmt: skip


def _is_shipped(dataset: str, source: SourceConfig) -> bool:
    if dataset == corpus.NAME and source.path is not None:
        raise InputError(
            f"{SECTION}.sources: the path {source.path} is given for the shipped corpus, which is part of the package; "
            f"leave the path out"
        )
    return dataset == corpus.NAME
