"""Choose settings on validation data, by Optuna; test prompts are not used."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count

from flows.first_stages import scaling_only, selection_only
from neurontune_core import artifacts
from neurontune_core.config import PipelineConfig, change_sections
from neurontune_core.errors import InputError
from neurontune_core.search import Values, check_optuna, search
from neurontune_core.studies.catalogue import Searched
from neurontune_core.studies.search_space import search_space, settings_of_trial
from tasks.models import describe
from tasks.progress import of_variant

Row = Mapping[str, float]


@dataclass(frozen=True)
class Trial:
    """A trial's configuration, and the score of its factors on validation prompts."""

    config: PipelineConfig
    score: float


def run_trials(config: PipelineConfig, searched: Searched, trials: int) -> tuple[PipelineConfig, list[Row]]:
    """Return the configuration with the settings of the best validation score, and a row a trial.

    The configuration's own settings are the first trial. The search is seeded and each trial's result is an artifact,
    so an interrupted search resumes. A row has trial, what was searched, and validation_score: 0 where learning
    diverged.

    Raises:
        InputError: Optuna is not installed, or there is no validation.
        NumericalError: learning diverged in every trial.
    """
    check_optuna("trials", trials)
    if not getattr(config.scaling, "validations", 1):
        raise InputError("scaling.validations: is 0, but trials are compared on validation data; set it to 1 or more")
    space = search_space(config, describe(config.model).neurons_per_layer, searched)
    with of_variant("trials"):
        selection_only(config)  # an error before scaling is raised here; in a trial it would count as diverged learning
    numbers = count()

    def attempt(values: Values) -> Trial:
        changed = change_sections(config, settings_of_trial(config, values), ("selection", "scaling"))
        with of_variant(f"trial {next(numbers)}"):
            made = scaling_only(changed)
        return Trial(changed, float(artifacts.read_manifest(made["scaling"])["facts"]["best_score"]))

    best, rows = search(attempt, space, trials, config.scaling.seed)
    return best.config, [{name.rpartition(".")[2]: value for name, value in row.items()} for row in rows]
