"""Names of flow runs: a name that a person typed is kept, a name made up by Prefect is replaced by a telling one."""

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
"""Names that the form of Prefect's first UI fills in, such as `gamma3-crucis-void`."""
CAPITALS = re.compile("[A-Z][a-z]+-[A-Z][a-z]+")
"""Names that the form of its second UI fills in, such as `Licensed-Saiga`; its word lists are not in this package."""


def is_made_up(name: str) -> bool:
    """Tell whether Prefect made up a name: its server (`daffy-duck`) or the form of a UI."""
    words = name.split("-")
    return bool(STARS.fullmatch(name) or CAPITALS.fullmatch(name)) or (
        len(words) == 2 and all(word in known for word, known in zip(words, _vocabulary(), strict=True))
    )


def typed_name() -> str:
    """Return the name that a person gave the current flow run; "" if nobody did."""
    name = str(prefect.runtime.flow_run.name or "")
    return "" if is_made_up(name) else name


def named(default: Callable[[dict[str, Any]], str]) -> Callable[[], str]:
    """Return a function that names a flow run: the typed name, else `default` of the run's parameters."""

    def name() -> str:
        return typed_name() or default(dict(prefect.runtime.flow_run.parameters))

    return name


def of_config(parameters: dict[str, Any]) -> str:
    """Return the name of a run by its parameter `config`: a configuration, or its fields as Prefect passes them."""
    config = parameters["config"]
    return run_name(PipelineConfig.model_validate(config) if isinstance(config, Mapping) else config)


def rename(wanted: str, instead_of: str) -> str:
    """Rename the flow run, unless a person named it: some names are known only after the run has started.

    Args:
        wanted: the new name.
        instead_of: the name that the run got when it started.

    Returns:
        The run's name afterwards.
    """
    name = typed_name()
    if name not in ("", instead_of):
        return name
    with get_client(sync_client=True) as client:
        client.update_flow_run(prefect.runtime.flow_run.id, name=wanted)
    return wanted


@cache
def _vocabulary() -> tuple[frozenset[str], frozenset[str]]:
    """Return the first and the last words of the two-word names that Prefect's server makes up."""
    from coolname import data

    config: dict[str, Any] = dict(data.config)

    def words(part: str) -> Iterator[str]:
        for inner in config[part].get("lists", ()):
            yield from words(inner)
        yield from config[part].get("words", ())

    first, last = config["an"]["lists"]
    return frozenset(words(first)), frozenset(words(last))
