"""Gradients of the weighted losses against finite differences, whatever the size of the parts."""

from contextlib import AbstractContextManager
from dataclasses import replace

import pytest
import torch
from central_differences import slopes
from torch import Tensor

from neurontune_core.model import tiny
from neurontune_core.model.load import ChatModel
from neurontune_core.neurons import scaled
from neurontune_core.records import NeuronSet, PromptPair, Role
from neurontune_core.scaling import gradient as room
from neurontune_core.scaling.examples import encode_examples
from neurontune_core.scaling.gradient import Sums, gradients
from neurontune_core.scaling.losses import Example, JointLoss, PositionWeights, base_states, response_losses

MANY = 10_000
EARLY = PositionWeights(2, 5.0)
WEIGHTS: dict[Role, float] = {"safety": 1.0, "utility": 0.6}


@pytest.fixture
def chat() -> ChatModel:
    """GPT-2: in float64 from end to end, where Llama's norms always go through float32."""
    return ChatModel(tiny.model("gpt2").double().requires_grad_(False), tiny.tokenizer(), torch.device("cpu"))


@pytest.fixture
def examples(chat: ChatModel, corpus: list[PromptPair]) -> list[Example]:
    return encode_examples(chat, corpus[::3], 99)


def joint_loss(chat: ChatModel, neurons: NeuronSet, alpha: Tensor, examples: list[Example]) -> Tensor:
    """L_safety + lambda L_utility, each a mean over its examples, in one batch and by definition."""
    base = base_states(chat, [e for e in examples if e.role == "utility"])
    with scaled(chat.model, neurons, alpha):
        losses = response_losses(chat, examples, base, EARLY)
    counts = {role: sum(example.role == role for example in examples) for role in losses}
    return torch.stack([WEIGHTS[role] * loss / counts[role] for role, loss in losses.items()]).sum()


def gradient_of(
    chat: ChatModel, neurons: NeuronSet, alpha: Tensor, examples: list[Example], batch_tokens: int = MANY
) -> tuple[Tensor, dict[Role, float]]:
    place = alpha.clone().requires_grad_()
    base = base_states(replace(chat, batch_tokens=batch_tokens), [e for e in examples if e.role == "utility"])

    def change() -> AbstractContextManager[None]:
        return scaled(chat.model, neurons, place)

    (found,), losses = gradients(
        replace(chat, batch_tokens=batch_tokens), change, [place], examples, JointLoss(base, WEIGHTS, EARLY)
    )
    return found, losses


def test_joint_gradient_equals_finite_differences(
    chat: ChatModel, neurons: NeuronSet, alpha: Tensor, examples: list[Example]
) -> None:
    gradient, losses = gradient_of(chat, neurons, alpha, examples)
    assert gradient.dtype == torch.float64
    expected = slopes(lambda at: joint_loss(chat, neurons, at, examples), alpha)
    torch.testing.assert_close(gradient, expected, rtol=1e-6, atol=1e-8)
    value = losses["safety"] + 0.6 * losses["utility"]
    assert value == pytest.approx(float(joint_loss(chat, neurons, alpha, examples)), rel=1e-12)


@pytest.mark.parametrize("batch_tokens", [1, 60, 100])
def test_the_size_of_the_parts_changes_nothing(
    chat: ChatModel, neurons: NeuronSet, alpha: Tensor, examples: list[Example], batch_tokens: int
) -> None:
    whole, losses = gradient_of(chat, neurons, alpha, examples)
    parts, same = gradient_of(chat, neurons, alpha, examples, batch_tokens)
    torch.testing.assert_close(parts, whole, rtol=1e-10, atol=1e-12)
    assert same == pytest.approx(losses, rel=1e-11)


def test_a_batch_is_gone_on_with_after_any_part(
    chat: ChatModel, neurons: NeuronSet, alpha: Tensor, examples: list[Example], monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the same bits, and no part is run twice."""
    small, place = replace(chat, batch_tokens=60), alpha.clone().requires_grad_()
    loss = JointLoss(base_states(small, [e for e in examples if e.role == "utility"]), WEIGHTS, EARLY)
    run: list[int] = []

    def counted(*given: object) -> dict[Role, Tensor]:
        run.append(1)
        return response_losses(*given)  # type: ignore[arg-type]

    def found(done: Sums | None, kept: list[Sums]) -> tuple[list[Tensor], dict[Role, float]]:
        run.clear()
        return gradients(
            small, lambda: scaled(chat.model, neurons, place), [place], examples, loss, done=done, keep=kept.append
        )

    monkeypatch.setattr(room, "response_losses", counted)
    sums: list[Sums] = []
    (whole,), losses = found(None, sums)
    assert [each.parts for each in sums] == list(range(1, len(run) + 1)) and len(run) > 2
    for done in sums:
        rest: list[Sums] = []
        (again,), same = found(done, rest)
        assert torch.equal(again, whole) and same == losses
        assert len(run) == len(rest) == len(sums) - done.parts


def test_one_role_alone(chat: ChatModel, neurons: NeuronSet, alpha: Tensor, examples: list[Example]) -> None:
    harmful = [example for example in examples if example.role == "safety"]
    gradient, losses = gradient_of(chat, neurons, alpha, harmful)
    place = alpha.clone().requires_grad_()
    expected = torch.autograd.grad(joint_loss(chat, neurons, place, harmful), place)[0]
    torch.testing.assert_close(gradient, expected)
    assert set(losses) == {"safety"}
