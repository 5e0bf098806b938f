"""Cause and effect of a selection: whether the model still refuses once its safety neurons are silent."""

import random
from collections.abc import Mapping, Sequence

import numpy as np

from neurontune_core.model.generate import decode, generate
from neurontune_core.model.load import ChatModel
from neurontune_core.records import (
    LabelJudge,
    NeuronId,
    NeuronSet,
    PromptPair,
    ScalingFactors,
    neurons_at,
    places_of,
    refuses,
)
from neurontune_core.selection.controls import matched_random

TOKENS = 16
"""Most tokens of an answer; the first words show whether it refuses."""
DRAWS = 3
"""Random sets with which the safety set is compared."""


def silencing_statement(facts: Mapping[str, float]) -> str:
    """Return the effect of silencing the safety set, from a selection's facts, as text; "" if it was not measured."""
    if "knockout_base" not in facts:
        return ""
    base, safety, others = (facts[f"knockout_{name}"] for name in ("base", "safety", "random"))
    return f"silencing the safety set: plain refusals {base:.0%} -> {safety:.0%}, matched random neurons {others:.0%}"


def knockout_prompts(pairs: Sequence[PromptPair], count: int, seed: int) -> list[PromptPair]:
    """Return at most `count` plain harmful prompts of the validation split, which attribution never sees."""
    plain = [pair for pair in pairs if pair.role == "safety" and pair.split == "validation" and not pair.attack_name]
    return random.Random(f"{seed}/knockout").sample(plain, min(count, len(plain)))


def knock_out(
    chat: ChatModel,
    neurons: NeuronSet,
    neurons_per_layer: Sequence[int],
    prompts: Sequence[PromptPair],
    judge: LabelJudge,
    seed: int,
) -> dict[str, float]:
    """Return how refusals change if the safety set, or random sets with as many neurons of every layer, are silenced.

    Facts: `knockout_base`, `knockout_safety` and `knockout_random` (mean over three draws), shares of the prompts that
    are refused in full; `knockout_broken`, the share of broken answers with the safety set silent; `knockout_prompts`.
    None without prompts or safety neurons.
    """
    if not prompts or not neurons.safety:
        return {}
    places = places_of(neurons.safety, neurons_per_layer)
    nothing = np.array([], dtype=np.int64)
    draws = [matched_random((places, nothing), neurons_per_layer, [seed, draw])[0] for draw in range(DRAWS)]
    sets = [(), neurons.safety, *(neurons_at(draw, neurons_per_layer) for draw in draws)]
    labels = [_labels(chat, silent, prompts, judge) for silent in sets]
    base, safety, *others = (float(np.mean([refuses(label, "safety") for label in each])) for each in labels)
    return {
        "knockout_prompts": float(len(prompts)),
        "knockout_base": base,
        "knockout_safety": safety,
        "knockout_random": float(np.mean(others)),
        "knockout_broken": float(np.mean([label == "broken" for label in labels[1]])),
    }


def _labels(
    chat: ChatModel, silent: Sequence[NeuronId], prompts: Sequence[PromptPair], judge: LabelJudge
) -> Sequence[str]:
    encoded = [chat.prompt_tokens(pair.conversation) for pair in prompts]
    with ScalingFactors(NeuronSet(tuple(silent), ()), np.zeros(len(silent), dtype=np.float32)).applied(chat):
        answers = decode(chat, generate(chat, encoded, TOKENS))
    return judge([pair.prompt for pair in prompts], answers)
