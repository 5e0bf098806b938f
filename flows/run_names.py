"""Names of flow runs: a name that a person typed is kept, a name made up by Prefect is replaced by a telling one."""

import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import prefect
import prefect.runtime
from prefect.client.orchestration import get_client

from neurontune_core.config import PipelineConfig
from neurontune_core.run_name import run_name

GREEK = re.compile(
    "(alpha|beta|gamma|delta|epsilon|zeta|eta|theta|iota|kappa|lambda|mu|nu|xi|omicron|pi|rho|sigma|tau|upsilon|phi|chi"
    r"|psi|omega)\d{0,3}"
)
ADJECTIVES = (
    "Awesome", "Rustic", "Small", "Gorgeous", "Fantastic", "Sleek", "Intelligent", "Unbranded", "Refined", "Licensed",
    "Generic", "Practical", "Ergonomic", "Handcrafted", "Tasty", "Handmade", "Incredible",
)  # fmt: skip
"""The first words of the names that the form of Prefect's second UI fills in."""


def is_made_up(name: str) -> bool:
    """Tell whether Prefect made up a name: its server (`daffy-duck`) or the form of a UI."""
    words = name.split("-")
    return (
        _is_star(name)
        or _is_animal(name)
        or (len(words) == 2 and all(word in known for word, known in zip(words, _vocabulary(), strict=True)))
    )


def _is_star(name: str) -> bool:
    """Tell whether the form of Prefect's first UI made up a name, such as `gamma3-crucis-void`."""
    letter, _, rest = name.partition("-")
    star, _, end = rest.rpartition("-")
    if not GREEK.fullmatch(letter):
        return False
    stars, ends = (_listed(prefect.__ui_static_path__, word) for word in ("camelopardalis", "adjunct"))
    return rest in stars or (star in stars and end in ends)


def _is_animal(name: str) -> bool:
    """Tell whether the form of Prefect's second UI made up a name, such as `Licensed-Saiga`."""
    adjective, _, animal = name.partition("-")
    return adjective in ADJECTIVES and animal in _listed(prefect.__ui_v2_static_path__, "Aardwolf")


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
def _listed(ui: Path, word: str) -> frozenset[str]:
    """Return the list of words, of an installed UI's scripts, that has this word; empty if no script has it."""
    for script in ui.glob("assets/*.js"):
        text = script.read_text(encoding="utf-8")
        if (place := text.find(f".{word}.")) >= 0:
            return frozenset(text[text.rfind("`", 0, place) + 1 : text.find("`", place)].split(".")) - {""}
    return frozenset()


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
