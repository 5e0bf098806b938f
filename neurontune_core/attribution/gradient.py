"""Gradient scores: how log P(response) changes with a factor on each neuron, by one backward pass."""

from collections.abc import Mapping, Sequence
from functools import partial

import torch
from torch import Tensor

from neurontune_core.attribution.encode import EncodedPair
from neurontune_core.attribution.pair_scores import PairScores, checked_scores
from neurontune_core.attribution.precision import at_least_float32
from neurontune_core.experts import Routing
from neurontune_core.model import head
from neurontune_core.model.batches import padded
from neurontune_core.model.load import ChatModel
from neurontune_core.neurons import banks, edited_banks


def gradient_scores(chat: ChatModel, layers: Mapping[int, int], pairs: Sequence[EncodedPair]) -> list[PairScores]:
    """Return the gradient scores of pairs that are run as one batch, in nats.

        score_i = d log P(y | x) / d alpha_i at alpha = 1 = sum over positions of v_i * d log P(y | x) / d v_i

    where alpha_i multiplies activation v_i at all positions of the prompt x and of the model's response y to x.

    Args:
        chat: the model, its weights without gradients.
        layers: the attributed layers, ascending, and the number of neurons of each.
        pairs: the pairs.

    Raises:
        NumericalError: a score is NaN or infinite; the message names the pair.
    """
    scores = gradients_at(chat, layers, pairs, torch.ones(len(pairs), sum(layers.values()))).double()
    return checked_scores(pairs, scores)


def gradients_at(chat: ChatModel, layers: Mapping[int, int], pairs: Sequence[EncodedPair], factors: Tensor) -> Tensor:
    """Return d log P(y | x) / d alpha at given factors, `[pair, neuron]`, on the processor; see `gradient_scores`.

    Args:
        chat: the model, its weights without gradients.
        layers: the attributed layers, ascending, and the number of neurons of each.
        pairs: the pairs.
        factors: the factor alpha of each neuron in each pair's text, `[pair, neuron]`.
    """
    precise = at_least_float32(chat.model.dtype)
    parts = zip(layers, factors.split(list(layers.values()), dim=1), strict=True)
    # every pair has its own factors, so that one backward pass gives each pair's gradient
    alpha = {layer: part.to(chat.device, precise, copy=True).requires_grad_() for layer, part in parts if layers[layer]}
    # the model predicts the last response token, but never reads it
    ids, mask = padded([(*pair.answered, *pair.response[:-1]) for pair in pairs], chat.end_tokens[0], chat.device)
    rows = [row for row, pair in enumerate(pairs) for _ in pair.response]
    places = [len(pair.answered) - 1 + place for pair in pairs for place in range(len(pair.response))]
    tokens = torch.tensor([token for pair in pairs for token in pair.response], device=chat.device)
    found = banks(chat.model)
    edits = {bank: partial(_scaled, alpha[layer][:, bank.places]) for layer in alpha for bank in found[layer]}
    with torch.enable_grad():
        with edited_banks(chat.model, edits):
            hidden = head.hidden_states(chat.model, ids, mask)[rows, places]
        logs = torch.log_softmax(head.logits(chat.model, hidden), dim=-1).gather(-1, tokens[:, None])
        gradients = torch.autograd.grad(logs.sum(), list(alpha.values()))
    return torch.cat(gradients, dim=1).cpu()


def _scaled(factors: Tensor, values: Tensor, routing: Routing) -> Tensor:
    """Multiply values `[pair, position, channel]` by factors `[pair, neuron]`, in the wider format of the two."""
    factors = factors.to(values.device)
    return (values.to(factors.dtype) * routing.take(factors)).to(values.dtype)
