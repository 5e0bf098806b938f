"""The public datasets that can be read, one declarative TOML file each in `neurontune_core/data/datasets`."""

import tomllib
from functools import lru_cache
from importlib import resources
from typing import Literal

from pydantic import Field

from neurontune_core import artifacts
from neurontune_core.config import Section, SourceConfig
from neurontune_core.errors import InputError
from neurontune_core.records import Role

RoleName = Literal["harmful", "benign"]
ROLES: dict[RoleName, Role] = {"harmful": "safety", "benign": "utility"}


class AttackColumns(Section):
    """Columns of a dataset that brings its own attack prompts."""

    prompt: str = Field(description="The query wrapped by the attack.")
    category: str = Field(description="Attack categories, separated by commas.")
    name: str = Field(description="Name of the attack.")


class Layout(Section):
    """One way the columns of a dataset's file are called; the first layout whose columns are all there is used."""

    query: str = Field(description="The query: text, or a list of messages whose last one of the user it is.")
    history: str = Field(default="", description="Messages before the query, as a list; it may be empty.")
    context: str = Field(default="", description="Text that belongs to the query and is put below it.")
    category: str = Field(default="", description="Unsafety category or topic.")
    response: str = Field(default="", description="Safe response to the query.")
    where: dict[str, tuple[str | bool, ...]] = Field(
        default_factory=dict, description="Per column: the values of the rows that are meant; all others are left out."
    )
    attack: AttackColumns | None = Field(default=None, description="Columns of the attack prompt, if rows have one.")

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns the layout needs."""
        attack = (self.attack.prompt, self.attack.category, self.attack.name) if self.attack else ()
        names = (self.query, self.history, self.context, self.category, self.response, *self.where, *attack)
        return tuple(dict.fromkeys(name for name in names if name))


class RoleFile(Section):
    """The file with a dataset's queries of one role."""

    file: str = Field(description="Path of the file in the hub repository.")
    layouts: tuple[Layout, ...] = Field(min_length=1, description="Ways its columns are called, tried in order.")
    kind: Literal["ordinary", "borderline", ""] = Field(
        default="", description="What harmless queries of this file are."
    )
    categories: dict[str, str] = Field(default_factory=dict, description="Its unsafety categories, in our terms.")


class Dataset(Section):
    """A public dataset: where it is, under which licence, and how its rows become queries."""

    name: str
    title: str
    url: str
    licence: str
    hub: str = Field(description="Repository id on the Hugging Face hub.")
    revision: str | None = Field(None, description="Pinned commit; without one the newest is looked up.")
    gated: bool = Field(default=False, description="Whether the hub asks for an accepted token.")
    system_prompt: str = Field(default="", description="System message before queries that bring none of their own.")
    harmful: RoleFile | None = None
    benign: RoleFile | None = None


def dataset_names() -> list[str]:
    """Return the names of all public datasets."""
    folder = resources.files("neurontune_core") / "data" / "datasets"
    return sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml"))


@lru_cache
def dataset(name: str) -> Dataset:
    """Return the specification of a public dataset, which must be one of `dataset_names`."""
    return Dataset.model_validate({"name": name, **tomllib.loads(_text(name))})


def digest(name: str) -> str:
    """Return the SHA-256 of a dataset's specification: a change of it changes the queries."""
    return artifacts.text_digest(_text(name))


def role_file(name: str, role: RoleName) -> RoleFile:
    """Return the file with a dataset's queries of a role.

    Raises:
        InputError: the dataset has no queries of this role.
    """
    found: RoleFile | None = getattr(dataset(name), role)
    if found is None:
        raise InputError(
            f"pairs.{role}: {name!r} has no {role} queries; choose among {', '.join(names_with(role))}, or name it in "
            f"pairs.{'benign' if role == 'harmful' else 'harmful'}"
        )
    return found


def system_prompt(name: str, source: SourceConfig) -> str:
    """Return the system message of a dataset: that of the configuration, or its specification's; "" if none."""
    return dataset(name).system_prompt if source.system_prompt is None else source.system_prompt


def names_with(role: RoleName) -> list[str]:
    """Return the names of the datasets that have queries of a role."""
    return [name for name in dataset_names() if getattr(dataset(name), role) is not None]


def _text(name: str) -> str:
    return (resources.files("neurontune_core") / "data" / "datasets" / f"{name}.toml").read_text(encoding="utf-8")
