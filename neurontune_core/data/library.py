"""The public sets and attacks an evaluation asks for, read where the pairs' own datasets are read."""

import logging

from neurontune_core import artifacts
from neurontune_core.config import SourceConfig
from neurontune_core.data import corpus, specification
from neurontune_core.data.corpus import Attack, Query
from neurontune_core.data.fetch import FetchedFile, fetch
from neurontune_core.data.queries import read_queries, with_system
from neurontune_core.data.rows import read_rows
from neurontune_core.data.specification import RoleName
from neurontune_core.errors import InputError
from neurontune_core.records import Role

SECTION = "evaluation"
ROLE_NAMES: dict[Role, RoleName] = {role: name for name, role in specification.ROLES.items()}

logger = logging.getLogger("neurontune")


class PublicLibrary:
    """Reads public sets from their local copy or the hub; what `neurontune_core.evaluation` calls a library."""

    def questions(self, dataset: str, role: Role, source: SourceConfig) -> list[Query]:
        """Return the harmful or the harmless queries of a dataset.

        Raises:
            InputError: the file is missing, unreadable or of unknown columns.
        """
        name = ROLE_NAMES[role]
        if _is_shipped(dataset, source):
            return with_system(corpus.queries(name), source.system_prompt or "")
        file = specification.role_file(dataset, name)
        read = read_queries(dataset, name, file, read_rows(self._file(dataset, role, source).path), SECTION)
        if read.rejected:
            first = read.rejected[0]
            logger.warning(
                "%s: %s: %d rows are not used, the first is row %d: %s",
                SECTION, dataset, len(read.rejected), first.row, first.reason,
            )  # fmt: skip
        return with_system(read.queries, specification.system_prompt(dataset, source))

    def attacks(self) -> list[Attack]:
        """Return the shipped attack prompts."""
        return corpus.attacks()

    def digest(self, dataset: str, role: Role, source: SourceConfig) -> str:
        """Return `<dataset>/<role>/<digest of how it is understood, and of the attacks around it>/<of the file>`.

        Raises:
            InputError: the file is missing.
        """
        name, attacks = ROLE_NAMES[role], corpus.digest("attacks.jsonl")
        if _is_shipped(dataset, source):
            return f"{dataset}/{name}/{attacks}/{corpus.digest(corpus.QUERIES[name])}"
        content = artifacts.file_digest(self._file(dataset, role, source).path)
        around = artifacts.text_digest(f"{specification.digest(dataset)}{attacks}")
        return f"{dataset}/{name}/{around}/{content}"

    def _file(self, dataset: str, role: Role, source: SourceConfig) -> FetchedFile:
        file = specification.role_file(dataset, ROLE_NAMES[role])
        return fetch(specification.dataset(dataset), file, source, SECTION)


def _is_shipped(dataset: str, source: SourceConfig) -> bool:
    if dataset == corpus.NAME and source.path is not None:
        raise InputError(
            f"{SECTION}.sources: the path {source.path} is given for the shipped corpus, which is part of the package; "
            f"leave it out"
        )
    return dataset == corpus.NAME
