"""Descriptions of datasets: of public ones, a TOML file each in `neurontune_core/data/datasets`, and of the user's."""

import json
import tomllib
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import Field, ValidationError

from neurontune_core import artifacts
from neurontune_core.data.rows import check_is_itself
from neurontune_core.data.settings import ColumnUse, SourceConfig
from neurontune_core.data_names import HUB, OwnData, own_data
from neurontune_core.errors import InputError
from neurontune_core.records import Role
from neurontune_core.section import Section

RoleName = Literal["harmful", "benign"]
ROLE_OF: dict[RoleName, Role] = {"harmful": "safety", "benign": "utility"}
"""The role of each kind of queries: harmful ones serve for safety neurons, harmless ones for utility neurons."""


class AttackColumns(Section):
    """Columns of a dataset that has its own attack prompts."""

    prompt: str = Field(description="The query wrapped by the attack.")
    category: str = Field(description="Attack categories, separated by commas.")
    name: str = Field(description="Name of the attack.")


class Layout(Section):
    """Names of the columns of a dataset's file; the first layout whose columns all exist is used."""

    query: str = Field(description="The query: text, or a list of messages, of which the user's last is the query.")
    history: str = Field(default="", description="Messages before the query, as a list; it may be empty.")
    context: str = Field(default="", description="Additional text of the query, put below it.")
    category: str = Field(default="", description="Unsafety category or topic.")
    response: str = Field(default="", description="Safe response to the query.")
    where: dict[str, tuple[str | bool, ...]] = Field(
        default_factory=dict, description="For each column the values of the rows to use; other rows are left out."
    )
    attack: AttackColumns | None = Field(default=None, description="Columns of the attack prompt, if rows have one.")
    optional: tuple[str, ...] = Field(default=(), description="Columns of the layout that may be empty in a row.")

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns the layout needs."""
        attack = (self.attack.prompt, self.attack.category, self.attack.name) if self.attack else ()
        names = (self.query, self.history, self.context, self.category, self.response, *self.where, *attack)
        return tuple(dict.fromkeys(name for name in names if name))


class TextFile(Section):
    """A file with a dataset's attacks or refusals."""

    file: str = Field(default="", description="Path of the file in the hub repository, or in the folder `path`.")
    columns: dict[ColumnUse, str] = Field(default_factory=dict, description="Columns that are not recognised.")


class RoleFile(TextFile):
    """The file with a dataset's queries of one role."""

    layouts: tuple[Layout, ...] = Field(
        default=(), description="Layouts, tried in order; without a layout, columns are recognised by their names."
    )
    kind: Literal["ordinary", "borderline", ""] = Field(
        default="", description="Kind of the harmless queries of this file."
    )
    categories: dict[str, str] = Field(
        default_factory=dict, description="The file's unsafety categories, mapped to ours."
    )


Described = TypeVar("Described", bound=TextFile)


class Dataset(Section):
    """A dataset: its place, its licence, and how its rows become queries."""

    name: str
    title: str = ""
    url: str = ""
    licence: str = ""
    hub: str = Field(default="", description="Repository id on the Hugging Face hub.")
    path: str | None = Field(
        default=None, description="Local file, or folder of the files, relative to the folder of the description."
    )
    revision: str | None = Field(None, description="Pinned commit; without it the newest commit is used.")
    gated: bool = Field(default=False, description="Whether the hub requires a token with accepted terms.")
    system_prompt: str = Field(default="", description="System message before queries that have none.")
    harmful: RoleFile | None = None
    benign: RoleFile | None = None
    attacks: TextFile | None = None
    refusals: TextFile | None = None


def dataset_names() -> list[str]:
    """Return the names of all public datasets."""
    folder = resources.files("neurontune_core") / "data" / "datasets"
    return sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml"))


def dataset(name: str) -> Dataset:
    """Return the specification of a public dataset, one of `dataset_names`, or of a user's file.

    Raises:
        InputError: the description of a user's dataset is missing or wrong.
    """
    own = own_data(name)
    return _public(name) if own is None else _own(own)


@lru_cache
def _public(name: str) -> Dataset:
    return Dataset.model_validate({"name": name, **tomllib.loads(_text(name))})


def _own(own: OwnData) -> Dataset:
    if own.is_on_hub:
        owner, repository, file = own.place.removeprefix(HUB).split("/", 2)
        return _recognised(own, file).model_copy(update={"hub": f"{owner}/{repository}"})
    if not own.place.lower().endswith(".toml"):
        return _recognised(own, "").model_copy(update={"path": own.place})
    try:
        check_is_itself(Path(own.place).expanduser())
        tree = tomllib.loads(Path(own.place).expanduser().read_text(encoding="utf-8-sig"))
        described = Dataset.model_validate({**tree, "name": own.name})
    except OSError as error:
        raise InputError(f"{own.place}: cannot be read ({error.strerror}); give an existing file") from error
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise InputError(f"{own.place}: {field}: {first['msg']}; see docs/datasets.md") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{own.place}: not valid TOML: {error}; correct the file") from error
    if "name" in tree:
        raise InputError(
            f"{own.place}: name: the name of a dataset is that of its file, here {own.name!r}; leave `name` out"
        )
    if bool(described.hub) == bool(described.path):
        raise InputError(f"{own.place}: give either path, the file relative to this one, or hub, a repository id")
    if described.path:
        place = Path(own.place).expanduser().parent / Path(described.path).expanduser()
        described = described.model_copy(update={"path": str(place)})
    return described


def _recognised(own: OwnData, file: str) -> Dataset:
    """Return the description of a file without a known layout; its columns are recognised by their names."""
    text, queries = TextFile(file=file), RoleFile(file=file)
    benign = RoleFile(file=file, kind="ordinary")
    return Dataset(name=own.name, harmful=queries, benign=benign, attacks=text, refusals=text)


def specification_digest(name: str) -> str:
    """Return the SHA-256 of a dataset's specification: a change of it changes the queries."""
    if own_data(name) is None:
        return artifacts.text_digest(_text(name))
    # the place of the data is left out: their content has its own digest
    about = dataset(name).model_dump(mode="json", exclude={"path", "hub", "revision", "gated"})
    return artifacts.text_digest(json.dumps(about, sort_keys=True))


def role_file(name: str, role: RoleName, section: str = "pairs") -> RoleFile:
    """Return the file with a dataset's queries of a role.

    Raises:
        InputError: the dataset has no queries of this role.
    """
    found: RoleFile | None = getattr(dataset(name), role)
    other = "benign" if role == "harmful" else "harmful"
    if found is None and own_data(name) is not None:
        there = f"pairs.{other}" if section == "pairs" else f"{section}.benchmarks as {other}:{name}"
        raise InputError(f"{name}: has no {role} queries; add a section [{role}], or name it in {there}")
    if found is None:
        raise InputError(
            f"pairs.{role}: {name!r} has no {role} queries; choose among {', '.join(names_with(role))}, or name it in "
            f"pairs.{other}"
        )
    return found


def system_prompt(name: str, source: SourceConfig) -> str:
    """Return the system message of a dataset: that of the configuration, or its specification's; "" if none."""
    return dataset(name).system_prompt if source.system_prompt is None else source.system_prompt


def text_file(name: str, kind: Literal["attacks", "refusals"]) -> TextFile:
    """Return the file with the attacks or the refusals of a user's dataset.

    Raises:
        InputError: its description has none.
    """
    found: TextFile | None = getattr(dataset(name), kind)
    if found is None:
        raise InputError(f"{name}: has no {kind}; add a section [{kind}]")
    return found


def with_columns(file: Described, source: SourceConfig) -> Described:
    """Return the description of a file with the columns that the settings name."""
    return file.model_copy(update={"columns": file.columns | source.columns})


def check_source(field: str, name: str, source: SourceConfig) -> None:
    """Check that the settings of a user's file apply to a file.

    Raises:
        InputError: a path or a commit is set for a file that is named by its path.
    """
    own = own_data(name)
    if own is not None and not own.is_on_hub and (source.path or source.revision):
        wrong = "path" if source.path else "revision"
        raise InputError(
            f"{field}.{wrong}: {name} is itself a file, so it has no other {wrong}; leave this setting out"
        )


def names_with(role: RoleName) -> list[str]:
    """Return the names of the datasets that have queries of a role."""
    return [name for name in dataset_names() if getattr(dataset(name), role) is not None]


def _text(name: str) -> str:
    return (resources.files("neurontune_core") / "data" / "datasets" / f"{name}.toml").read_text(encoding="utf-8")
