"""Mask scores: against a plain loop, and that the masks do what they were learned for."""

import pytest
import torch
from attribution_cases import encoded_pairs, float64_throughout, relative_difference, tiny_chat

from neurontune_core.attribution.encode import EncodedPair
from neurontune_core.attribution.mask import PASSES, mask_scores
from neurontune_core.model.load import ChatModel
from neurontune_core.neurons import neuron_counts, scaled
from neurontune_core.records import NeuronId, NeuronSet


def every_neuron(chat: ChatModel) -> NeuronSet:
    widths = neuron_counts(chat.model)
    return NeuronSet(tuple(NeuronId(layer, index) for layer, width in enumerate(widths) for index in range(width)), ())


def log_probability(chat: ChatModel, pair: EncodedPair, alpha: torch.Tensor) -> torch.Tensor:
    ids = torch.tensor([[*pair.answered, *pair.response]])
    with scaled(chat.model, every_neuron(chat), alpha):
        logs = chat.model(input_ids=ids).logits[0, len(pair.answered) - 1 : -1].log_softmax(-1)
    return logs.gather(-1, torch.tensor(pair.response)[:, None]).sum()


def loop_mask(chat: ChatModel, pair: EncodedPair, sign: float, neurons: int) -> torch.Tensor:
    """Ten steps of projected gradient descent, as the docstring of `mask_scores` says them."""
    alpha, price = torch.ones(neurons), None
    for _ in range(10):
        alpha.requires_grad_()
        (slope,) = torch.autograd.grad(sign * log_probability(chat, pair, alpha), alpha)
        if price is None:
            price = slope.sort().values[int(0.99 * neurons) - 1]
        alpha = (alpha.detach() - (slope - price) / (10 * price)).clip(0, 1)
    return alpha


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma2"])
def test_masks_are_those_of_a_plain_loop(family: str) -> None:
    with float64_throughout():
        chat = tiny_chat(family)
        widths = dict(enumerate(neuron_counts(chat.model)))
        pairs = encoded_pairs()
        for pair, found in zip(pairs, mask_scores(chat, widths, pairs), strict=True):
            taking, keeping = (loop_mask(chat, pair, sign, sum(widths.values())) for sign in (1.0, -1.0))
            assert relative_difference(found.scores, keeping - taking) < 1e-6, pair.id
            assert found.scores.abs().max() <= 1


def test_what_one_mask_silences_takes_the_response_away_and_the_other_keeps_it() -> None:
    with float64_throughout():
        chat = tiny_chat("llama")
        widths = dict(enumerate(neuron_counts(chat.model)))
        pairs = encoded_pairs()
        for pair, found in zip(pairs, mask_scores(chat, widths, pairs), strict=True):
            whole, taken, kept = (
                log_probability(chat, pair, alpha).item()
                for alpha in (torch.ones_like(found.scores), (found.scores <= 0).double(), (found.scores >= 0).double())
            )
            assert taken < whole < kept, pair.id


def test_a_price_of_zero_gives_finite_scores() -> None:
    """A response that no neuron moves: all weights behind the neurons are zero."""
    chat = tiny_chat("llama", torch.float32)
    for layer in chat.model.model.layers:
        layer.mlp.down_proj.weight.zero_()
    (found,) = mask_scores(chat, dict(enumerate(neuron_counts(chat.model))), encoded_pairs()[:1])
    assert (found.scores == 0).all()


def test_passes_are_those_that_run() -> None:
    chat, calls = tiny_chat("llama", torch.float32), []
    chat.model.register_forward_hook(lambda *_: calls.append(1))
    chat.model.model.register_forward_hook(lambda *_: calls.append(1))
    mask_scores(chat, dict(enumerate(neuron_counts(chat.model))), encoded_pairs()[:1])
    assert len(calls) == PASSES
