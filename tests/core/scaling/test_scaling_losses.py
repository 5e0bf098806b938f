"""Losses against a plain loop: one sequence at a time, all logits, hooks of its own, float64."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from neurontune_core.model import tiny
from neurontune_core.model.batches import shared_length
from neurontune_core.model.load import ChatModel
from neurontune_core.neurons import scaled
from neurontune_core.records import NeuronId, NeuronSet, PromptPair
from neurontune_core.scaling.examples import encode_examples
from neurontune_core.scaling.losses import (
    Example,
    PositionWeights,
    base_states,
    micro_batches,
    response_losses,
)

EARLY = PositionWeights(2, 5.0)


@contextmanager
def scaled_plainly(chat: ChatModel, neurons: NeuronSet, alpha: Tensor) -> Iterator[None]:
    """Multiply each selected input channel of the down projections, written out."""
    handles = []
    for number, layer in enumerate(chat.model.model.layers):

        def hook(module: Any, inputs: tuple[Tensor, ...], number: int = number) -> tuple[Tensor]:
            values = inputs[0].clone()
            for place, neuron in enumerate(neurons.all):
                if neuron.layer == number:
                    values[..., neuron.index] = values[..., neuron.index] * alpha[place]
            return (values,)

        handles.append(layer.mlp.down_proj.register_forward_pre_hook(hook))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def plain_loss(
    chat: ChatModel, neurons: NeuronSet, alpha: Tensor, example: Example, weights: PositionWeights
) -> Tensor:
    """The loss of one example, position by position."""
    ids = torch.tensor([example.sequence.tokens])
    with scaled_plainly(chat, neurons, alpha):
        tuned = chat.model(input_ids=ids).logits[0].log_softmax(-1)
    asked = example.reference or example.sequence
    base = chat.model(input_ids=torch.tensor([asked.tokens])).logits[0].log_softmax(-1)
    total, sum_of_weights = torch.zeros((), dtype=torch.float64), 0.0
    for place, token in enumerate(example.sequence.response):
        at = len(example.sequence.prompt) - 1 + place
        if example.role == "utility":
            usual = base[len(asked.prompt) - 1 + place]
            loss = sum((usual[t].exp() * (usual[t] - tuned[at, t]) for t in range(264)), torch.zeros(()))
        else:
            loss = -tuned[at, token]
        weight = weights.early if place < weights.positions else 1.0
        total, sum_of_weights = total + weight * loss, sum_of_weights + weight
    return total / sum_of_weights


def losses_of(
    chat: ChatModel, neurons: NeuronSet, alpha: Tensor, examples: list[Example], weights: PositionWeights
) -> dict[Any, Tensor]:
    base = base_states(chat, examples)
    with scaled(chat.model, neurons, alpha):
        return response_losses(chat, examples, base, weights)


@pytest.fixture
def examples(chat: ChatModel, corpus: list[PromptPair]) -> list[Example]:
    """Four prompts of each role, of different lengths, each compared with the base model on the same prompt."""
    return [replace(example, reference=None) for example in encode_examples(chat, [*corpus[::5], *corpus[1:3]], 99)]


def test_position_weights_by_hand() -> None:
    places = torch.tensor([0, 1, 2, 3, 0, 1])
    assert EARLY.at(places).tolist() == [5, 5, 1, 1, 5, 5]
    assert PositionWeights().at(places).tolist() == [1] * 6


def test_losses_equal_the_plain_loop(
    chat: ChatModel, neurons: NeuronSet, alpha: Tensor, examples: list[Example]
) -> None:
    losses = losses_of(chat, neurons, alpha, examples, EARLY)
    for role in ("safety", "utility"):
        expected = sum(float(plain_loss(chat, neurons, alpha, e, EARLY)) for e in examples if e.role == role)
        assert float(losses[role]) == pytest.approx(expected, rel=1e-11) and expected > 0.1


def test_a_wrapped_harmless_prompt_is_compared_with_the_base_model_on_the_plain_one(
    chat: ChatModel, neurons: NeuronSet, alpha: Tensor, corpus: list[PromptPair]
) -> None:
    harmless = encode_examples(chat, [pair for pair in corpus if pair.role == "utility"], 99)
    assert {bool(example.reference) for example in harmless} == {True, False}
    base = base_states(chat, harmless)
    for example in harmless[:4]:
        with scaled(chat.model, neurons, alpha):
            found = response_losses(chat, [example], base, EARLY)["utility"]
        assert float(found) == pytest.approx(float(plain_loss(chat, neurons, alpha, example, EARLY)), rel=1e-11)
        if example.reference:
            own = float(plain_loss(chat, neurons, alpha, replace(example, reference=None), EARLY))
            assert float(found) != pytest.approx(own, rel=1e-3)
            with scaled(chat.model, neurons, torch.ones_like(alpha)):
                at_one = response_losses(chat, [example], base, EARLY)["utility"]
            assert float(at_one) > 1e-3, "a wrapper changes what the base model says"


def test_the_end_token_is_part_of_the_safety_loss(
    chat: ChatModel, neurons: NeuronSet, alpha: Tensor, examples: list[Example]
) -> None:
    refusal = next(example for example in examples if example.role == "safety")
    logits = chat.model(input_ids=torch.tensor([refusal.sequence.tokens])).logits[0].log_softmax(-1)
    count, first = len(refusal.sequence.response), len(refusal.sequence.prompt) - 1
    each = [-float(logits[first + j, token]) for j, token in enumerate(refusal.sequence.response)]
    ones = torch.ones_like(alpha)
    loss = float(losses_of(chat, neurons, ones, [refusal], PositionWeights())["safety"])
    assert loss == pytest.approx(sum(each) / count, rel=1e-11)
    assert loss != pytest.approx(sum(each[:-1]) / (count - 1), rel=1e-3)


def test_kl_is_zero_at_alpha_one_and_positive_elsewhere(
    chat: ChatModel, neurons: NeuronSet, alpha: Tensor, examples: list[Example]
) -> None:
    at_one = losses_of(chat, neurons, torch.ones_like(alpha), examples, EARLY)
    assert abs(float(at_one["utility"])) < 1e-12 < 0.1 < float(at_one["safety"])
    for shift in (0.01, -0.01, 0.5):
        moved = losses_of(chat, neurons, torch.ones_like(alpha) + shift, examples, EARLY)
        assert float(moved["utility"]) > 1e-6


def test_kl_has_no_slope_at_alpha_one(
    chat: ChatModel, neurons: NeuronSet, alpha: Tensor, examples: list[Example]
) -> None:
    ones = torch.ones_like(alpha).requires_grad_()
    (slope,) = torch.autograd.grad(losses_of(chat, neurons, ones, examples, EARLY)["utility"], ones)
    assert slope.abs().max() < 1e-12


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_factors_are_applied_in_full_precision(dtype: torch.dtype) -> None:
    model: Any = tiny.model("llama")
    model.to(dtype)
    seen: list[Tensor] = []
    projection = model.model.layers[0].mlp.down_proj
    one = NeuronSet((NeuronId(0, 7),), ())
    for factor in (1.0, 1.003):
        with scaled(model, one, torch.tensor([factor])), torch.no_grad():
            handle = projection.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0][0, :, 7]))
            model(input_ids=torch.arange(200)[None])
            handle.remove()
    plain, changed = seen
    wide = torch.promote_types(dtype, torch.float32)
    assert plain.dtype == dtype and torch.equal(changed, (plain.to(wide) * torch.tensor(1.003)).to(dtype))
    assert not torch.equal(changed, plain)


def test_only_roles_of_the_batch_are_returned(
    chat: ChatModel, neurons: NeuronSet, alpha: Tensor, examples: list[Example]
) -> None:
    harmful = [example for example in examples if example.role == "safety"]
    assert set(losses_of(chat, neurons, alpha, harmful, EARLY)) == {"safety"}


@pytest.mark.parametrize("batch_tokens", [1, 64, 10_000])
def test_base_states_are_the_unscaled_models_own(
    chat: ChatModel, neurons: NeuronSet, alpha: Tensor, examples: list[Example], batch_tokens: int
) -> None:
    states = base_states(replace(chat, batch_tokens=batch_tokens), examples)
    assert set(states) == {example.id for example in examples}
    for example in examples:
        hidden = chat.model.base_model(input_ids=torch.tensor([example.sequence.tokens])).last_hidden_state[0]
        first = len(example.sequence.prompt) - 1
        expected = hidden[first : first + len(example.sequence.response)]
        torch.testing.assert_close(states[example.id], expected, rtol=1e-11, atol=1e-11)
        assert not states[example.id].requires_grad


def test_micro_batches_hold_every_example_within_the_bound(examples: list[Example]) -> None:
    for bound in (1, 80, 150, 10_000):
        groups = micro_batches(examples, bound)
        assert sorted(e.id for group in groups for e in group) == sorted(e.id for e in examples)
        shared = shared_length([e.sequence.prompt for e in examples])
        assert all(len(g) == 1 or len(g) * max(len(e.sequence.tokens) - shared for e in g) <= bound for g in groups)
