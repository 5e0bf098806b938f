"""Mask scores: two sparse masks a pair, one learned to take its response away, the other to keep it."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from neurontune_core.attribution.encode import EncodedPair
from neurontune_core.attribution.gradient import gradients_at
from neurontune_core.attribution.pair_scores import PairScores, checked_scores
from neurontune_core.model.load import ChatModel

STEPS = 10
"""Steps of gradient descent a mask."""
PASSES = 2 * STEPS - 1
"""Forward and backward passes a pair; both masks share the first."""
SHARE = 0.01
"""Share of the neurons that the first step of a mask begins to silence; it sets the price of a silenced neuron."""


def mask_scores(chat: ChatModel, layers: Mapping[int, int], pairs: Sequence[EncodedPair]) -> list[PairScores]:
    """Return the mask scores of pairs that are run as one batch, from -1 to 1.

        taking  = argmin over alpha in [0, 1] of  +log P(y | x; alpha) + price * sum_i (1 - alpha_i)
        keeping = argmin over alpha in [0, 1] of  -log P(y | x; alpha) + price * sum_i (1 - alpha_i)
        score_i = keeping_i - taking_i

    where alpha_i multiplies neuron i at all positions of the prompt x and of the model's response y to x. A neuron that
    carries the response is silent in `taking` and whole in `keeping`, so its score is 1. Each mask takes `STEPS` steps
    of projected gradient descent from alpha = 1. The price is the slope that `SHARE` of the neurons exceed at
    alpha = 1, and the step size 1 / (STEPS * price): a neuron of twice that slope is silent after all steps.

    Args:
        chat: the model, its weights without gradients.
        layers: the attributed layers, ascending, and the number of neurons of each.
        pairs: the pairs.

    Raises:
        NumericalError: a score is NaN or infinite; the message names the pair.
    """
    whole = torch.ones(len(pairs), sum(layers.values()))
    first = gradients_at(chat, layers, pairs, whole)
    below = max(1, int((1 - SHARE) * first.shape[1]))

    def learned(sign: float) -> Tensor:
        price = (sign * first).kthvalue(below, dim=1, keepdim=True).values.clamp(min=torch.finfo(first.dtype).tiny)
        alpha, gradient = whole, first
        for step in range(STEPS):
            if step:
                gradient = gradients_at(chat, layers, pairs, alpha)
            alpha = (alpha - (sign * gradient - price) / (STEPS * price)).clamp(0, 1)
        return alpha

    scores = (learned(-1.0) - learned(1.0)).double()
    return checked_scores(pairs, scores)
