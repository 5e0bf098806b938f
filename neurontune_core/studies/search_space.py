"""The settings that the trials of a study search: the numbers of neurons, or the settings of MAML."""

from collections.abc import Mapping, Sequence

from neurontune_core.attribution.settings import first_layer
from neurontune_core.config import PipelineConfig
from neurontune_core.errors import InputError
from neurontune_core.scaling.settings import MamlSettings
from neurontune_core.search import Range, around
from neurontune_core.selection.select import resolve_count
from neurontune_core.studies.catalogue import Searched

FEWEST_SHARE = 200
"""The smallest number tried for a role is one of this many neurons; the largest is a third of those selectable."""
STEPS = "scaling.steps"


def search_space(config: PipelineConfig, neurons_per_layer: Sequence[int], searched: Searched) -> dict[str, Range]:
    """Return the ranges of the settings that are searched, by name; the configured values are tried first.

    `counts`: the numbers of neurons of both roles. `maml`: the step sizes of both loops, lambda, the support batch, and
    the number of steps; with more steps the batches are smaller (`settings_of_trial`).

    Raises:
        InputError: `maml`, and another method finds the factors.
    """
    if searched == "counts":
        total = sum(neurons_per_layer)
        eligible = sum(neurons_per_layer[first_layer(config.attribution, len(neurons_per_layer)) :])
        fewest, most = max(1, eligible // FEWEST_SHARE), eligible // 3
        given = {
            role: resolve_count(getattr(config.selection, f"{role}_neurons"), total) for role in ("safety", "utility")
        }
        return {
            f"selection.{role}_neurons": Range(fewest, max(most, count), count, whole=True)
            for role, count in given.items()
        }
    scaling = config.scaling
    if not isinstance(scaling, MamlSettings):
        raise InputError(
            f"scaling.method: {scaling.method}, but the trials search the settings of maml; set it to maml"
        )
    spans = {
        f"scaling.{name}": around(value)
        for name in ("inner_learning_rate", "outer_learning_rate", "utility_weight")
        if (value := getattr(scaling, name))  # a lambda of 0 stays 0
    }
    batch, steps = scaling.support_batch, scaling.steps
    return spans | {
        "scaling.support_batch": Range(2, max(2, 2 * batch), batch, whole=True),
        STEPS: Range(max(1, steps // 2), max(1, 2 * steps), max(1, steps), whole=True),
    }


def settings_of_trial(config: PipelineConfig, values: Mapping[str, float]) -> list[str]:
    """Return values as settings; the batches change with the steps, so that as many training prompts are drawn."""
    settings = [f"{name}={value}" for name, value in values.items()]
    scaling = config.scaling
    if STEPS in values and isinstance(scaling, MamlSettings):
        share = max(1, scaling.steps) / values[STEPS]
        sizes = {name: getattr(scaling, name) for name in ("harmful_batch", "harmless_batch")}
        settings += [f"scaling.{name}={max(1, round(size * share))}" for name, size in sizes.items()]
    return settings
