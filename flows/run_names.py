"""Names of flow runs: one that a person typed stays, one that Prefect made up gives way to one that says something."""

import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

import prefect.runtime
from prefect.client.orchestration import get_client

from neurontune_core.config import PipelineConfig
from neurontune_core.run_name import run_name

STARS = re.compile(
    "(alpha|beta|gamma|delta|epsilon|zeta|eta|theta|iota|kappa|lambda|mu|nu|xi|omicron|pi|rho|sigma|tau|upsilon|phi|chi"
    r"|psi|omega)\d*(-[a-z]+)+"
)
"""What the form of Prefect's first UI fills in, as `gamma3-crucis-void`."""
CAPITALS = re.compile("[A-Z][a-z]+-[A-Z][a-z]+")
"""What the form of its second UI fills in, as `Licensed-Saiga`: adjectives and animals of lists that are not here."""


def is_made_up(name: str) -> bool:
    """Tell whether Prefect's server or the form of a UI made up a name, as `daffy-duck` or those above."""
    words = name.split("-")
    return bool(STARS.fullmatch(name) or CAPITALS.fullmatch(name)) or (
        len(words) == 2 and all(word in known for word, known in zip(words, _vocabulary(), strict=True))
    )


def typed_name() -> str:
    """Return the name a person gave the flow run that runs here, "" where nobody did."""
    name = str(prefect.runtime.flow_run.name or "")
    return "" if is_made_up(name) else name


def named(default: Callable[[dict[str, Any]], str]) -> Callable[[], str]:
    """Return what Prefect asks for a flow run's name: the typed one, else that made of the run's parameters."""

    def name() -> str:
        return typed_name() or default(dict(prefect.runtime.flow_run.parameters))

    return name


def of_config(parameters: dict[str, Any]) -> str:
    """Return what a run of the parameter `config` is called: the configuration, or its fields as Prefect gives them."""
    config = parameters["config"]
    return run_name(PipelineConfig.model_validate(config) if isinstance(config, Mapping) else config)


def rename(wanted: str, instead_of: str) -> str:
    """Rename the flow run, unless a person named it: to what is known only now, of a run that takes up another.

    Args:
        wanted: the name.
        instead_of: the name it was given when it started.

    Returns:
        The name it goes by.
    """
    name = typed_name()
    if name not in ("", instead_of):
        return name
    with get_client(sync_client=True) as client:
        client.update_flow_run(prefect.runtime.flow_run.id, name=wanted)
    return wanted


@cache
def _vocabulary() -> tuple[frozenset[str], frozenset[str]]:
    """The first and the last words of the names that Prefect's server makes up, of two words each."""
    from coolname import data

    config: dict[str, Any] = dict(data.config)

    def words(part: str) -> Iterator[str]:
        for inner in config[part].get("lists", ()):
            yield from words(inner)
        yield from config[part].get("words", ())

    first, last = config["an"]["lists"]
    return frozenset(words(first)), frozenset(words(last))
