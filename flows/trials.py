"""Choose settings on validation data, by Optuna; test prompts are not used."""

import logging
from collections.abc import Mapping, Sequence

from flows.pipeline import scaling_only, selection_only
from neurontune_core import artifacts
from neurontune_core.config import PipelineConfig, change_runtime
from neurontune_core.errors import InputError, NumericalError
from neurontune_core.studies.catalogue import Searched
from neurontune_core.studies.search_space import search_space, settings_of_trial
from tasks.models import describe

logger = logging.getLogger("neurontune")

Row = Mapping[str, float]


def run_trials(config: PipelineConfig, searched: Searched, trials: int) -> tuple[PipelineConfig, list[Row]]:
    """Return the configuration with the settings of the best validation score, and a row a trial.

    The configuration's own settings are the first trial. The search is seeded and each trial's result is an artifact,
    so an interrupted search resumes. A row has trial, what was searched, and validation_score: 0 where learning
    diverged.

    Raises:
        InputError: Optuna is not installed, or there is no validation.
    """
    try:
        import optuna
    except ImportError as error:
        raise InputError("study: trials need Optuna; pip install 'neurontune[studies]'") from error
    if not getattr(config.scaling, "validations", 1):
        raise InputError("scaling.validations: is 0, but trials are compared on validation data; set it to 1 or more")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    space = search_space(config, describe(config.model).neurons_per_layer, searched)
    selection_only(config)  # an error before scaling is raised here; inside a trial it would count as diverged learning

    def objective(trial: "optuna.Trial") -> float:
        values = {
            setting.name: trial.suggest_int(setting.name, int(setting.low), int(setting.high), log=True)
            if setting.whole
            else trial.suggest_float(setting.name, setting.low, setting.high, log=True)
            for setting in space
        }
        try:
            made = scaling_only(_changed(config, settings_of_trial(config, values)))
        except NumericalError as error:
            logger.warning("trial %d counts as 0: %s", trial.number, error)
            return 0.0
        return float(artifacts.read_manifest(made["scaling"])["facts"]["best_score"])

    search = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=config.scaling.seed))
    search.enqueue_trial({setting.name: setting.first for setting in space})
    search.optimize(objective, n_trials=trials, catch=())
    rows: list[Row] = [
        {"trial": each.number, **_short(each.params), "validation_score": each.value or 0.0} for each in search.trials
    ]
    return _changed(config, settings_of_trial(config, search.best_params)), rows


def _short(values: Mapping[str, float]) -> dict[str, float]:
    return {name.partition(".")[2]: value for name, value in values.items()}


def _changed(config: PipelineConfig, settings: Sequence[str]) -> PipelineConfig:
    return change_runtime(config, settings, ("selection", "scaling"))
