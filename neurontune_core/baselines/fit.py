"""Fit the baseline that a configuration names, on the data and with the budget of the scaling factors."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

import numpy as np

from neurontune_core.baselines.adapters import paths
from neurontune_core.baselines.dpo import left_out, preferences
from neurontune_core.baselines.ia3 import Ia3
from neurontune_core.baselines.lora import Lora, targets_for
from neurontune_core.baselines.null_space import collect_states, harmful_direction, moved
from neurontune_core.baselines.settings import (
    AdapterSettings,
    AlphaSteerSettings,
    BaselineConfig,
    DpoSettings,
    Ia3Settings,
    NoBaseline,
    SearchedSettings,
    SystemPromptSettings,
)
from neurontune_core.baselines.steering import Steering, refusal_directions
from neurontune_core.baselines.system_prompt import SELF_REMINDER, SystemPrompt
from neurontune_core.baselines.training import Batches, Objective, different_pairs, draw_batches, imitation, learn
from neurontune_core.errors import InputError
from neurontune_core.interventions import Intervention
from neurontune_core.model.load import ChatModel
from neurontune_core.progress import Track, silent
from neurontune_core.records import LabelJudge, NeuronSet, PromptPair
from neurontune_core.scaling.examples import encode_examples
from neurontune_core.scaling.settings import ChoosingSettings, ScalingConfig, TrainingSettings
from neurontune_core.scaling.validation import (
    Score,
    ValidationPrompts,
    draw_prompts,
    validate,
    validated_steps,
    with_base_answers,
)
from neurontune_core.search import SCORE, Choice, Range, Space, Trials, Values, around, best_of, check_optuna, search

VERSION = 6
DEPTHS = (0.35, 0.5, 0.65)
STRENGTHS = (0.5, 1.0, 2.0)
"""Without a search, steering tries each of these depths with each of these strengths."""
STRENGTH_RANGE = (0.25, 4.0)
RESPONSE_TOKENS = 32


@dataclass(frozen=True)
class FittedBaseline:
    """The change a baseline makes to the model, facts about how it was learned, and a row for each trial."""

    change: Intervention
    facts: dict[str, float]
    trials: Trials = field(default_factory=list)

    @property
    def score(self) -> float:
        """The score on validation prompts, 0 where none was measured."""
        return self.facts.get(SCORE, 0.0)


@dataclass(frozen=True)
class _Fit:
    """The data for fitting a baseline; `batches` are the training pairs, in one batch for methods without steps."""

    config: SearchedSettings
    settings: ChoosingSettings
    chat: ChatModel
    labels: LabelJudge
    batches: Batches
    choosing: ValidationPrompts
    track: Track

    def score(self, chat: ChatModel) -> Score:
        return validate(chat, self.choosing, self.labels, self.settings)


def check_baseline(config: BaselineConfig, scaling: ScalingConfig) -> None:
    """Check that the settings of scaling give a baseline its budget, before anything is computed.

    Raises:
        InputError: they give no budget or no validation.
    """
    if not isinstance(config, SearchedSettings):
        return
    method = config.method
    if isinstance(scaling, TrainingSettings) and not scaling.steps:
        raise InputError(
            f"scaling.steps: is 0, but baseline.method {method} learns from the batches of these steps; set it to 1 or "
            f"more"
        )
    if isinstance(config, AdapterSettings):
        if not isinstance(scaling, TrainingSettings):
            raise InputError(
                f"baseline.method: {method} trains with the batches and steps of scaling, and scaling.method "
                f"{scaling.method!r} has none; use maml or margin_fit"
            )
        if config.trials and not scaling.validations:
            raise InputError(
                "scaling.validations: is 0, but baseline.trials compares its trials on validation data; set it to 1 "
                "or more, or baseline.trials to 0"
            )


def is_validated(config: BaselineConfig, scaling: ScalingConfig) -> bool:
    """Return whether what these settings find is chosen or measured on validation prompts."""
    if isinstance(config, NoBaseline):
        return bool(validated_steps(getattr(scaling, "steps", 1), scaling))
    return isinstance(config, SearchedSettings)


def check_packages(config: BaselineConfig) -> None:
    """Check that the packages with which a baseline is fitted are installed.

    Raises:
        InputError: peft or Optuna is not.
    """
    check_peft(config)
    if isinstance(config, SearchedSettings):
        check_optuna("baseline.trials", config.trials)


def check_peft(config: BaselineConfig) -> None:
    """Check that peft is installed if it puts the baseline into the model, to fit it and to let the model answer.

    Raises:
        InputError: it is not.
    """
    if isinstance(config, AdapterSettings) and find_spec("peft") is None:
        raise InputError(f"baseline.method: {config.method} needs peft; pip install 'neurontune[studies]'")


def attempts(config: SearchedSettings) -> int:
    """Return how many settings are tried, at most: the trials of a search, or what is tried without one."""
    return config.trials or (1 if isinstance(config, AdapterSettings) else len(DEPTHS) * len(STRENGTHS))


def fit_baseline(
    pairs: Sequence[PromptPair],
    neurons: NeuronSet,
    config: BaselineConfig,
    scaling: ScalingConfig,
    chat: ChatModel,
    labels: LabelJudge,
    track: Track = silent,
) -> FittedBaseline:
    """Fit a baseline on the training split; the validation split chooses its step size, or its layer and strength.

    Args:
        pairs: all pairs.
        neurons: the selected neurons: their number is the number of parameters of `lora` and `dpo`.
        config: which baseline.
        scaling: the budget: steps, batches, losses, validation.
        chat: the base model.
        labels: judge of answers for validation.
        track: progress.

    Raises:
        InputError: a package or a budget is missing, or a split lacks a role.
        NumericalError: learning diverges with every step size that is tried.
    """
    check_baseline(config, scaling)
    check_packages(config)
    if isinstance(config, SystemPromptSettings):
        prompt = SystemPrompt(SELF_REMINDER)
        return FittedBaseline(prompt, {"parameters": float(prompt.parameters), "examples": 0.0})
    if not isinstance(config, SearchedSettings):
        raise InputError("baseline.method: 'none' is not a method to fit; choose another, for example lora")
    batches = draw_batches(pairs, scaling, labels)
    prompts, _ = draw_prompts(pairs, scaling)
    choosing = with_base_answers(chat, prompts, labels, scaling)
    fit = _Fit(config, scaling, chat, labels, batches, choosing, track)
    if isinstance(config, AdapterSettings) and isinstance(scaling, TrainingSettings):
        best, trials = _train(fit, config, scaling, len(neurons.all))
    else:
        best, trials = _steer(fit)
    facts = {"parameters": float(best.change.parameters), "examples": float(len(different_pairs(batches)))}
    return FittedBaseline(best.change, best.facts | facts | {"trials": float(len(trials))}, trials)


def _train(
    fit: _Fit, config: AdapterSettings, budget: TrainingSettings, parameters: int
) -> tuple[FittedBaseline, Trials]:
    """Return the adapter learned with the step size of the settings, or with the best one of a search."""
    chat = fit.chat
    new = Ia3(paths(chat), {}) if isinstance(config, Ia3Settings) else Lora(targets_for(chat, parameters), {})
    objective: Objective
    lost: dict[str, float] = {}
    if isinstance(config, DpoSettings):
        preferred = preferences(chat, fit.batches, fit.labels, budget)
        objective, lost = preferred, left_out(different_pairs(fit.batches), preferred.pairs)
    else:
        objective = imitation(chat, fit.batches, budget)

    def attempt(values: Values) -> FittedBaseline:
        rate = values["learning_rate"]
        made, facts = learn(new, objective, fit.batches, rate, budget, fit.score, fit.track)
        return FittedBaseline(made, facts | lost | {"learning_rate": rate})

    if not config.trials:
        return best_of(attempt, [{"learning_rate": config.learning_rate}], 1)
    return search(attempt, {"learning_rate": around(config.learning_rate)}, config.trials, budget.seed, fit.track)


def _steer(fit: _Fit) -> tuple[FittedBaseline, Trials]:
    """Return the layer and strength that validate best, on a fixed grid or among Optuna's suggestions."""
    chat, config, pairs = fit.chat, fit.config, different_pairs(fit.batches)
    harmful, harmless = ([pair for pair in pairs if pair.role == role] for role in ("safety", "utility"))
    asked = [[pair.conversation for pair in own] for own in (harmful, harmless)]
    directions = refusal_directions(chat, asked[0], asked[1])
    layers = sorted({round(depth * (len(directions) - 1)) for depth in DEPTHS})
    readings: dict[int, Any] = {}
    facts: dict[int, dict[str, float]] = {layer: {} for layer in layers}
    if isinstance(config, AlphaSteerSettings):
        tokens = getattr(fit.settings, "response_tokens", RESPONSE_TOKENS)
        known = [example.sequence for example in encode_examples(chat, harmless, tokens)]
        last = [chat.prompt_tokens(pair.conversation) for pair in harmful]
        for layer, states in collect_states(chat, last, known, layers).items():
            readings[layer] = harmful_direction(states)
            facts[layer] = moved(states, readings[layer])

    def attempt(values: Values) -> FittedBaseline:
        layer = int(values["layer"])
        direction = (values["strength"] * directions[layer]).astype(np.float32)
        steering = Steering(layer, direction, readings.get(layer))
        with steering.applied(chat) as steered:
            return FittedBaseline(steering, facts[layer] | dict(values) | fit.score(steered).columns)

    if not config.trials:
        grid = [{"layer": float(layer), "strength": strength} for layer in layers for strength in STRENGTHS]
        return best_of(attempt, grid, len(grid), fit.track)
    # Optuna draws in this order, so another order gives other trials
    space: Space = {
        "strength": Range(*STRENGTH_RANGE, first=1.0),
        "layer": Choice(tuple(map(float, layers)), float(layers[len(layers) // 2])),
    }
    return search(attempt, space, config.trials, fit.settings.seed, fit.track)
