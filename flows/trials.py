"""Choose the numbers of neurons on validation data, by Optuna; test prompts are not used."""

from flows.pipeline import scaling_only
from neurontune_core import artifacts
from neurontune_core.attribution.settings import first_layer
from neurontune_core.config import PipelineConfig
from neurontune_core.errors import InputError
from neurontune_core.selection.select import resolve_count
from tasks.models import describe

COUNTS = ("safety_neurons", "utility_neurons")
FEWEST_SHARE = 200
"""The smallest number tried for a role is one neuron of so many; the largest is a third of the selectable neurons."""


def run_trials(config: PipelineConfig, trials: int) -> tuple[PipelineConfig, list[dict[str, float]]]:
    """Return the configuration with the numbers of neurons of the best validation score, and a row a trial.

    The configuration's own numbers are the first trial. The search is seeded and each trial's result is an artifact, so
    an interrupted search resumes. A row has trial, safety_neurons, utility_neurons and validation_score.

    Raises:
        InputError: Optuna is not installed, or there is no validation.
    """
    try:
        import optuna
    except ImportError as error:
        raise InputError("study: automatic-count needs Optuna; pip install 'neurontune[studies]'") from error
    if not getattr(config.scaling, "validations", 1):
        raise InputError("scaling.validations: 0, but automatic-count chooses on validation data; set it above 0")
    optuna.logging.set_verbosity(optuna.logging.WARNING)

    def objective(trial: "optuna.Trial") -> float:
        counts = (trial.suggest_int(name, fewest, most, log=True) for name in COUNTS)
        made = scaling_only(_with_counts(config, *counts))
        return float(artifacts.read_manifest(made["scaling"])["facts"]["best_score"])

    layers = describe(config.model).neurons_per_layer
    total, eligible = sum(layers), sum(layers[first_layer(config.attribution, len(layers)) :])
    fewest, most = max(1, eligible // FEWEST_SHARE), eligible // 3
    search = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=config.scaling.seed))
    given = (config.selection.safety_neurons, config.selection.utility_neurons)
    search.enqueue_trial(dict(zip(COUNTS, (resolve_count(count, total) for count in given), strict=True)))
    search.optimize(objective, n_trials=trials, catch=())
    rows = [{"trial": each.number, **each.params, "validation_score": each.value} for each in search.trials]
    return _with_counts(config, *(search.best_params[name] for name in COUNTS)), rows


def _with_counts(config: PipelineConfig, safety: int, utility: int) -> PipelineConfig:
    counts = dict(zip(COUNTS, (safety, utility), strict=True))
    return config.model_copy(update={"selection": config.selection.model_copy(update=counts)})
