"""Gradients of the joint loss and of the two-level loop, against finite differences and a loop written by hand."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from neurontune_core.config import ScalingConfig
from neurontune_core.model import tiny
from neurontune_core.model.load import ChatModel
from neurontune_core.neurons import scaled
from neurontune_core.records import NeuronSet, PromptPair
from neurontune_core.scaling.episodes import Episode, EpisodeSampler, encode
from neurontune_core.scaling.gradient import episode_gradient, explicit_attention, joint_gradient
from neurontune_core.scaling.losses import Example, base_states, response_losses

Settings = Callable[..., ScalingConfig]
MANY = 10_000


@pytest.fixture
def chat() -> ChatModel:
    """GPT-2: in float64 from end to end, where Llama's norms always go through float32."""
    return ChatModel(tiny.model("gpt2").double().requires_grad_(False), tiny.tokenizer(), torch.device("cpu"))


@pytest.fixture
def episode(corpus: list[PromptPair], settings: Settings) -> Episode:
    return EpisodeSampler(corpus, settings(), 1).draw()[0]


def joint_loss(
    chat: ChatModel, neurons: NeuronSet, alpha: Tensor, examples: list[Example], config: ScalingConfig
) -> Tensor:
    """L_safety + lambda L_utility, each a mean over its examples, in one batch and by definition."""
    base = base_states(chat, examples, MANY)
    with scaled(chat.model, neurons, alpha):
        losses = response_losses(chat, examples, base, config)
    counts = {role: sum(example.role == role for example in examples) for role in losses}
    weights = {"safety": 1.0, "utility": config.utility_weight}
    return torch.stack([weights[role] * loss / counts[role] for role, loss in losses.items()]).sum()


def slopes(function: Callable[[Tensor], Tensor], place: Tensor, step: float = 1e-4) -> Tensor:
    """Central differences of a scalar function."""
    found = []
    for number in range(len(place)):
        shift = torch.zeros_like(place)
        shift[number] = step
        found.append((function(place + shift) - function(place - shift)).detach() / (2 * step))
    return torch.stack(found)


@pytest.mark.parametrize("utility_loss", ["kl", "nll"])
def test_joint_gradient_equals_finite_differences(
    chat: ChatModel, neurons: NeuronSet, alpha: Tensor, episode: Episode, settings: Settings, utility_loss: str
) -> None:
    config = settings(utility_loss=utility_loss)
    examples = list(encode(chat, episode.support, 99))
    base = base_states(chat, examples, MANY)
    place = alpha.clone().requires_grad_()
    gradient, losses = joint_gradient(chat, neurons, place, examples, base, config, MANY, False)
    assert gradient.dtype == torch.float64
    torch.testing.assert_close(
        gradient, slopes(lambda at: joint_loss(chat, neurons, at, examples, config), alpha), rtol=1e-6, atol=1e-8
    )
    value = losses["safety"] + 0.6 * losses["utility"]
    assert value == pytest.approx(float(joint_loss(chat, neurons, alpha, examples, config)), rel=1e-12)


@pytest.mark.parametrize("batch_tokens", [1, 60, 100])
def test_the_size_of_the_parts_changes_nothing(
    chat: ChatModel, neurons: NeuronSet, alpha: Tensor, episode: Episode, settings: Settings, batch_tokens: int
) -> None:
    examples = list(encode(chat, episode.support, 99))
    base = base_states(chat, examples, batch_tokens)
    place = alpha.clone().requires_grad_()
    whole, losses = joint_gradient(chat, neurons, place, examples, base, settings(), MANY, False)
    parts, same = joint_gradient(chat, neurons, place, examples, base, settings(), batch_tokens, False)
    torch.testing.assert_close(parts, whole, rtol=1e-10, atol=1e-12)
    assert same == pytest.approx(losses, rel=1e-11)


def test_one_role_alone(
    chat: ChatModel, neurons: NeuronSet, alpha: Tensor, episode: Episode, settings: Settings
) -> None:
    examples = [example for example in encode(chat, episode.support, 99) if example.role == "safety"]
    place = alpha.clone().requires_grad_()
    gradient, losses = joint_gradient(chat, neurons, place, examples, {}, settings(), MANY, False)
    expected = torch.autograd.grad(joint_loss(chat, neurons, place, examples, settings()), place)[0]
    torch.testing.assert_close(gradient, expected)
    assert set(losses) == {"safety"}


def adapted_by_hand(
    chat: ChatModel, neurons: NeuronSet, alpha: Tensor, support: list[Example], config: ScalingConfig
) -> Tensor:
    """alpha' after the inner steps, each along the gradient at the last place."""
    place = alpha
    for _ in range(config.inner_steps):
        place = place.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(joint_loss(chat, neurons, place, support, config), place)
        place = place - config.inner_learning_rate * gradient
    return place.detach()


@pytest.mark.parametrize("inner_steps", [1, 3])
def test_first_order_step_by_hand(
    chat: ChatModel, neurons: NeuronSet, alpha: Tensor, episode: Episode, settings: Settings, inner_steps: int
) -> None:
    config = settings(inner_steps=inner_steps, inner_learning_rate=0.1)
    support, query = (list(encode(chat, batch, 99)) for batch in (episode.support, episode.query))
    place = adapted_by_hand(chat, neurons, alpha, support, config).requires_grad_()
    loss = joint_loss(chat, neurons, place, query, config)
    (expected,) = torch.autograd.grad(loss, place)

    start = alpha.clone().requires_grad_()
    base = base_states(chat, [e for e in support + query if e.role == "utility"], MANY)
    gradient, losses = episode_gradient(chat, neurons, start, support, query, base, config, MANY)
    torch.testing.assert_close(gradient, expected, rtol=1e-9, atol=1e-12)
    assert losses["safety"] + 0.6 * losses["utility"] == pytest.approx(float(loss.detach()), rel=1e-11)
    assert not gradient.requires_grad and start.grad is None


@pytest.mark.parametrize(("inner_steps", "batch_tokens"), [(1, MANY), (1, 60), (2, MANY)])
def test_second_order_gradient_equals_finite_differences_through_the_inner_loop(
    chat: ChatModel, neurons: NeuronSet, alpha: Tensor, episode: Episode, settings: Settings,
    inner_steps: int, batch_tokens: int,
) -> None:  # fmt: skip
    config = settings(order="second", inner_steps=inner_steps, inner_learning_rate=1.0)
    support, query = (list(encode(chat, batch, 99)) for batch in (episode.support, episode.query))

    def outer(place: Tensor) -> Tensor:
        return joint_loss(chat, neurons, adapted_by_hand(chat, neurons, place, support, config), query, config)

    expected = slopes(outer, alpha)
    base = base_states(chat, [e for e in support + query if e.role == "utility"], MANY)
    with explicit_attention(chat.model):
        start = alpha.clone().requires_grad_()
        gradient, _ = episode_gradient(chat, neurons, start, support, query, base, config, batch_tokens)
    torch.testing.assert_close(gradient, expected, rtol=1e-5, atol=1e-8)

    simple = config.model_copy(update={"order": "first"})
    start = alpha.clone().requires_grad_()
    first, _ = episode_gradient(chat, neurons, start, support, query, base, simple, batch_tokens)
    assert ((first - expected).norm() / expected.norm()).item() > 1e-2  # the two orders can be told apart here
