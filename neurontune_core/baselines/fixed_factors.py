"""Attributed neurons with fixed factors: nothing is learned but which of a few pairs of factors validates best."""

from collections.abc import Sequence

import numpy as np

from neurontune_core.config import ScalingConfig
from neurontune_core.model.load import ChatModel
from neurontune_core.neurons import modulated
from neurontune_core.progress import Track, silent
from neurontune_core.records import NeuronSet, PromptPair, ScalingFactors
from neurontune_core.scaling.validation import RefusalJudge, validate, validation_prompts

SAFETY = (1.1, 1.5, 2.0, 3.0)
UTILITY = (0.5, 0.9)


def fixed_factors(neurons: NeuronSet, safety: float, utility: float) -> ScalingFactors:
    """Return one factor for all safety neurons and one for all utility neurons."""
    alpha = [safety] * len(neurons.safety) + [utility] * len(neurons.utility)
    return ScalingFactors(neurons, np.array(alpha, dtype=np.float32))


def choose_factors(
    pairs: Sequence[PromptPair],
    neurons: NeuronSet,
    config: ScalingConfig,
    chat: ChatModel,
    batch_tokens: int,
    refuses: RefusalJudge,
    track: Track = silent,
) -> tuple[ScalingFactors, dict[str, float]]:
    """Return the pair of factors of the grid `SAFETY` x `UTILITY` with the best safety-utility F1 in validation.

    Raises:
        InputError: the validation split lacks a role.
    """
    prompts = validation_prompts(pairs, config)
    grid = [(safety, utility) for safety in SAFETY for utility in UTILITY]
    scores = []
    for safety, utility in track(grid, "choosing factors", len(grid)):
        with modulated(chat.model, fixed_factors(neurons, safety, utility)):
            scores.append(validate(chat, prompts, refuses, config, batch_tokens).su_f1)
    best = int(np.argmax(scores))
    facts = {"safety_factor": grid[best][0], "utility_factor": grid[best][1], "validation_su_f1": scores[best]}
    return fixed_factors(neurons, *grid[best]), facts
