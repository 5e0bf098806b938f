"""Fit the baseline that a configuration names, on the data and with the budget of the scaling factors."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from neurontune_core.baselines.lora import learn_lora
from neurontune_core.baselines.settings import BaselineConfig, LoraSettings, SteeringSettings, SystemPromptSettings
from neurontune_core.baselines.steering import Steering, refusal_directions
from neurontune_core.baselines.system_prompt import SELF_REMINDER, SystemPrompt
from neurontune_core.errors import InputError
from neurontune_core.interventions import Intervention, applied
from neurontune_core.model.load import ChatModel
from neurontune_core.progress import Track, silent
from neurontune_core.records import Conversation, LabelJudge, NeuronSet, PromptPair, Role
from neurontune_core.scaling.settings import ChoosingSettings, ScalingConfig, TrainingSettings
from neurontune_core.scaling.validation import draw_prompts, validate, with_base_answers

VERSION = 3
DEPTHS = (0.35, 0.5, 0.65)
STRENGTHS = (0.5, 1.0, 2.0)
DIRECTION_PROMPTS = 128


@dataclass(frozen=True)
class FittedBaseline:
    """What a baseline does to the model, and facts about how it was chosen or learned."""

    change: Intervention
    facts: dict[str, float]


def fit_baseline(
    pairs: Sequence[PromptPair],
    neurons: NeuronSet,
    config: BaselineConfig,
    scaling: ScalingConfig,
    chat: ChatModel,
    batch_tokens: int,
    labels: LabelJudge,
    track: Track = silent,
) -> FittedBaseline:
    """Fit a baseline: what it learns from is the training split, what chooses is the validation split.

    Args:
        pairs: all pairs.
        neurons: the selected neurons: their number is the number of parameters of `lora`.
        config: which baseline.
        scaling: the budget: steps, batches, losses, validation.
        chat: the base model.
        batch_tokens: tokens a batch holds at most.
        labels: judge of answers for validation.
        track: progress.

    Raises:
        InputError: no baseline is named, one needs a package that is not there or a budget, or a split lacks a role.
    """
    change: Intervention
    facts: dict[str, float] = {}
    if isinstance(config, SystemPromptSettings):
        change = SystemPrompt(SELF_REMINDER)
    elif isinstance(config, SteeringSettings):
        change, facts = _choose_steering(pairs, scaling, chat, batch_tokens, labels, track)
    elif not isinstance(config, LoraSettings):
        raise InputError("baseline.method: none names no baseline to fit; choose system_prompt, steering or lora")
    else:
        if not isinstance(scaling, TrainingSettings):
            raise InputError(
                f"baseline.method: lora trains with the batches and steps of scaling, and scaling.method "
                f"{scaling.method!r} has none; use maml or margin_fit"
            )
        rate = config.lora_learning_rate
        change, facts = learn_lora(pairs, len(neurons.all), scaling, rate, chat, batch_tokens, labels, track)
    return FittedBaseline(change, facts | {"parameters": float(change.parameters)})


def _choose_steering(
    pairs: Sequence[PromptPair],
    settings: ChoosingSettings,
    chat: ChatModel,
    batch_tokens: int,
    labels: LabelJudge,
    track: Track,
) -> tuple[Steering, dict[str, float]]:
    """Return the layer and strength, of a few, that validate best."""
    harmful, harmless = (_sample(pairs, role, settings.seed) for role in ("safety", "utility"))
    directions = refusal_directions(chat, harmful, harmless, batch_tokens)
    layers = sorted({round(depth * (len(directions) - 1)) for depth in DEPTHS})
    grid = [(layer, strength) for layer in layers for strength in STRENGTHS]
    prompts, _ = draw_prompts(pairs, settings)
    choosing = with_base_answers(chat, prompts, labels, settings, batch_tokens)
    found: list[tuple[float, Steering, float]] = []
    for layer, strength in track(grid, "choosing layer and strength", len(grid)):
        steering = Steering(layer, (strength * directions[layer]).astype(np.float32))
        with applied(steering, chat) as steered:
            found.append((validate(steered, choosing, labels, settings, batch_tokens).value, steering, strength))
    score, best, strength = max(found, key=lambda each: each[0])
    return best, {"layer": float(best.layer), "strength": strength, "validation_score": score}


def _sample(pairs: Sequence[PromptPair], role: Role, seed: int) -> list[Conversation]:
    prompts = [pair.conversation for pair in pairs if pair.role == role and pair.split == "train"]
    return random.Random(f"{seed}/steering/{role}").sample(prompts, min(DIRECTION_PROMPTS, len(prompts)))
