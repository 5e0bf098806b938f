"""Activation scores: each neuron's activation at the last position of the plain query, from one forward pass."""

from collections.abc import Mapping, Sequence

import torch

from neurontune_core.attribution.encode import EncodedPair
from neurontune_core.attribution.pair_scores import PairScores, checked_scores
from neurontune_core.model import head
from neurontune_core.model.batches import padded
from neurontune_core.model.load import ChatModel
from neurontune_core.neurons import captured


def activation_scores(chat: ChatModel, layers: Mapping[int, int], pairs: Sequence[EncodedPair]) -> list[PairScores]:
    """Return the activations v_i at the last position of each pair's plain query; the pairs are run as one batch.

    Args:
        chat: the model.
        layers: the attributed layers, ascending, and the number of neurons of each.
        pairs: the pairs; their attacked prompts and responses are not read.

    Raises:
        NumericalError: an activation is NaN or infinite; the message names the pair.
    """
    ids, mask = padded([pair.query for pair in pairs], chat.end_tokens[0], chat.device)
    rows, ends = torch.arange(len(pairs), device=chat.device), mask.sum(1) - 1
    with torch.no_grad(), captured(chat.model, lambda values: values.to(rows.device)[rows, ends]) as activations:
        head.hidden_states(chat.model, ids, mask)
    scores = torch.cat([activations[layer] for layer, neurons in layers.items() if neurons], dim=1).cpu().double()
    return checked_scores(pairs, scores)
