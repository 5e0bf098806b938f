"""The files from which the pairs are read: their names in the settings, their existence, and their digests."""

from collections.abc import Iterator, Sequence
from typing import Literal

from neurontune_core import artifacts
from neurontune_core.data import corpus, specification
from neurontune_core.data.fetch import FetchedFile, fetch
from neurontune_core.data.settings import SourceConfig
from neurontune_core.data.specification import ROLE_OF, Dataset, RoleName, TextFile
from neurontune_core.data_names import check_distinct, check_entry, own_data, short_name
from neurontune_core.errors import InputError
from neurontune_core.pairs.settings import PairsConfig

Texts = Literal["attacks", "refusals"]
Kind = RoleName | Texts
TEXTS: tuple[Texts, ...] = ("attacks", "refusals")
SHIPPED_FILES: dict[Kind, str] = {
    "harmful": corpus.QUERIES["harmful"],
    "benign": corpus.QUERIES["benign"],
    "attacks": "attacks.jsonl",
    "refusals": "refusals.jsonl",
}


def check_names(config: PairsConfig) -> None:
    """Check the names of datasets, before anything is read.

    Raises:
        InputError: unknown or repeated dataset, one without queries of the role, or one path for two files.
    """
    known = [corpus.NAME, *specification.dataset_names()]
    used: dict[str, str] = {}
    for kind in (*ROLE_OF, *TEXTS):
        names = getattr(config, kind)
        if not names or len(set(names)) < len(names):
            raise InputError(
                f"pairs.{kind}: {list(names)} is empty or names a dataset twice; name one or more, each once"
            )
        for name in names:
            check_entry(f"pairs.{kind}", name, known if kind in ROLE_OF else known[:1], "dataset")
        check_distinct(f"pairs.{kind}", names)
        used |= {short_name(name): name for name in names}
        for name in names:
            if name != corpus.NAME:
                _described(name, kind)
    for name, source in config.sources.items():
        if name not in {*known, *used}:
            own = [each for each, text in used.items() if own_data(text)]
            raise InputError(f"pairs.sources.{name}: unknown dataset; choose among {', '.join([*known, *own])}")
        if name == corpus.NAME and (source.path or source.revision or source.columns):
            raise InputError(
                "pairs.sources.shipped: only `limit` and `system_prompt` can be set; the shipped corpus is part of "
                "the package"
            )
        specification.check_source(f"pairs.sources.{name}", used.get(name, name), source)


def files(config: PairsConfig) -> Iterator[tuple[str, Kind, FetchedFile]]:
    """Yield name, role and file of every dataset that is not shipped, downloaded where needed.

    Raises:
        InputError: a file is missing or cannot be downloaded; the message names the remedy.
    """
    for kind in (*ROLE_OF, *TEXTS):
        for name in getattr(config, kind):
            if name != corpus.NAME:
                about, found = _described(name, kind)
                yield name, kind, fetch(about, found, source_of(config, name))


def data_digests(config: PairsConfig, found: Sequence[tuple[str, Kind, FetchedFile]]) -> list[str]:
    """Return a digest of the contents (not the paths) of all files of the pairs, and of how their columns are read.

    `found` are the files of this configuration (`files`).
    """
    shipped = [
        corpus.shipped_digest(file) for kind, file in SHIPPED_FILES.items() if corpus.NAME in getattr(config, kind)
    ]
    others = [
        f"{short_name(name)}/{kind}/{_understanding(config, name)}/{artifacts.file_digest(fetched.path)}"
        for name, kind, fetched in found
    ]
    return [*shipped, *others]


def _understanding(config: PairsConfig, name: str) -> str:
    """Return a digest of how the rows of a dataset are read."""
    columns = sorted(source_of(config, name).columns.items())
    digest = specification.specification_digest(name)
    return artifacts.text_digest(f"{digest}{columns}") if columns else digest


def source_of(config: PairsConfig, name: str) -> SourceConfig:
    """Return the settings of a dataset."""
    return config.sources.get(short_name(name), SourceConfig())


def system_prompts(config: PairsConfig) -> dict[str, str]:
    """Return the system message of every dataset of queries that has one, by the dataset's short name."""
    names = sorted({name for role in ROLE_OF for name in getattr(config, role)})
    found = {name: source_of(config, name).system_prompt or "" for name in names if name == corpus.NAME}
    found |= {name: specification.system_prompt(name, source_of(config, name)) for name in names if name != corpus.NAME}
    return {short_name(name): text for name, text in found.items() if text}


def _described(name: str, kind: Kind) -> tuple[Dataset, TextFile]:
    """Return the description of a dataset, and of its file of one kind."""
    if kind == "harmful" or kind == "benign":
        return specification.dataset(name), specification.role_file(name, kind)
    return specification.dataset(name), specification.text_file(name, kind)
