"""Learning: it lowers the loss, repeats itself, stops at nonsense and leaves the model as it was."""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from neurontune_core.config import ScalingConfig
from neurontune_core.errors import InputError, NumericalError
from neurontune_core.model import tiny
from neurontune_core.model.load import ChatModel
from neurontune_core.records import NeuronId, NeuronSet, PromptPair
from neurontune_core.scaling.episodes import EpisodeSampler, encode
from neurontune_core.scaling.gradient import episode_gradient, joint_gradient
from neurontune_core.scaling.learn import LearnedScaling, learn_scaling
from neurontune_core.scaling.losses import base_states

Settings = Callable[..., ScalingConfig]
EVERY = NeuronSet(
    tuple(NeuronId(layer, index) for layer in range(2) for index in range(0, 24)),
    tuple(NeuronId(layer, index) for layer in range(2) for index in range(24, 48)),
)


@pytest.fixture
def single() -> ChatModel:
    """The model in the format it is trained in."""
    return ChatModel(tiny.model("llama").requires_grad_(False), tiny.tokenizer(), torch.device("cpu"))


def joint_loss(chat: ChatModel, pairs: list[PromptPair], learned: LearnedScaling, config: ScalingConfig) -> float:
    examples = list(encode(chat, pairs, 99))
    alpha = torch.from_numpy(learned.scaling.alpha).requires_grad_()
    base = base_states(chat, examples, 10_000)
    _, losses = joint_gradient(chat, learned.scaling.neurons, alpha, examples, base, config, 10_000, False)
    return losses["safety"] + config.utility_weight * losses["utility"]


def hooks(chat: ChatModel) -> int:
    return sum(len(module._forward_pre_hooks) + len(module._forward_hooks) for module in chat.model.modules())


@pytest.mark.parametrize("order", ["first", "second"])
def test_learning_lowers_the_joint_loss(
    single: ChatModel, corpus: list[PromptPair], settings: Settings, order: str
) -> None:
    config = settings(
        steps=15, order=order, safety_start=1.0, utility_start=1.0, inner_learning_rate=0.01, outer_learning_rate=0.1
    )
    before = learn_scaling(corpus, EVERY, config.model_copy(update={"steps": 0}), single, 4096)
    after = learn_scaling(corpus, EVERY, config, single, 4096)
    first, last = (joint_loss(single, corpus, learned, config) for learned in (before, after))
    assert last < 0.9 * first
    assert after.curve["loss"].iloc[-5:].mean() < after.curve["loss"].iloc[:5].mean()


def test_without_steps_the_factors_are_where_they_start(
    single: ChatModel, corpus: list[PromptPair], neurons: NeuronSet, settings: Settings
) -> None:
    config = settings(steps=0, safety_start=1.25, utility_start=0.75)
    learned = learn_scaling(corpus, neurons, config, single, 4096)
    assert learned.scaling.alpha.tolist() == [1.25] * 3 + [0.75] * 3
    assert learned.scaling.alpha.dtype == np.float32 and learned.scaling.neurons == neurons
    assert len(learned.curve) == 0 and learned.curve.columns[0] == "step"


def test_the_step_size_falls_to_nothing_on_a_cosine(
    single: ChatModel, corpus: list[PromptPair], neurons: NeuronSet, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[float] = []
    step = torch.optim.Adam.step

    def watched(self: torch.optim.Adam, *args: Any) -> Any:
        sizes.append(self.param_groups[0]["lr"])
        return step(self, *args)

    monkeypatch.setattr(torch.optim.Adam, "step", watched)
    learn_scaling(corpus, neurons, settings(steps=4, outer_learning_rate=0.2), single, 4096)
    assert sizes == pytest.approx([0.1 * (1 + math.cos(math.pi * n / 4)) for n in range(4)])


@pytest.mark.parametrize("epsilon", [1e-8, 0.05])
def test_the_first_step_is_adams_along_the_mean_of_the_tasks(
    single: ChatModel, corpus: list[PromptPair], neurons: NeuronSet, settings: Settings, epsilon: float
) -> None:
    config = settings(steps=1, tasks_per_step=2, outer_learning_rate=0.02, adam_epsilon=epsilon)
    start = torch.tensor([1.1] * 3 + [0.9] * 3, requires_grad=True)
    episodes = EpisodeSampler(corpus, config, config.seed).draw()
    batches = [[list(encode(single, part, 99)) for part in (e.support, e.query)] for e in episodes]
    harmless = {e.id: e for pair in batches for part in pair for e in part if e.role == "utility"}
    base = base_states(single, list(harmless.values()), 4096)
    parts = [episode_gradient(single, neurons, start, *pair, base, config, 4096) for pair in batches]
    gradient = (parts[0][0] + parts[1][0]) / 2
    learned = learn_scaling(corpus, neurons, config, single, 4096)
    # without its epsilon, Adam's first step is the learning rate times the gradient's sign
    expected = start.detach() - 0.02 * gradient / (gradient.abs() + epsilon)
    np.testing.assert_allclose(learned.scaling.alpha, expected, rtol=1e-5)
    row = learned.curve.iloc[0]
    assert row["gradient_norm"] == pytest.approx(float(gradient.norm()), rel=1e-5)
    for role in ("safety", "utility"):
        # a KL of a thousandth of a nat is the difference of float32 log-probabilities, each rounded by about 1e-7
        assert row[f"{role}_loss"] == pytest.approx(sum(part[1][role] for part in parts) / 2, rel=1e-5, abs=1e-7)
    assert row["loss"] == pytest.approx(row["safety_loss"] + 0.6 * row["utility_loss"])
    assert row["alpha_mean_shift"] == pytest.approx(np.abs(learned.scaling.alpha - 1).mean(), rel=1e-5)
    assert learned.facts["tokens"] == sum(len(e.sequence.tokens) for pair in batches for part in pair for e in part)
    assert learned.facts["loss_first"] == learned.facts["loss_last"] == row["loss"]


def test_the_same_seed_learns_the_same(
    single: ChatModel, corpus: list[PromptPair], neurons: NeuronSet, settings: Settings
) -> None:
    one, other = (learn_scaling(corpus, neurons, settings(steps=3), single, 4096) for _ in range(2))
    assert np.array_equal(one.scaling.alpha, other.scaling.alpha) and one.curve.equals(other.curve)
    third = learn_scaling(corpus, neurons, settings(steps=3, seed=1), single, 4096)
    assert not np.array_equal(one.scaling.alpha, third.scaling.alpha)


def test_only_the_training_split_is_used(
    single: ChatModel, corpus: list[PromptPair], neurons: NeuronSet, settings: Settings
) -> None:
    others = [replace(pair, id=f"x{pair.id}", response="Never", split="test") for pair in corpus]
    alone = learn_scaling(corpus, neurons, settings(steps=2), single, 4096)
    mixed = learn_scaling([*others, *corpus], neurons, settings(steps=2), single, 4096)
    assert np.array_equal(alone.scaling.alpha, mixed.scaling.alpha)
    with pytest.raises(InputError, match="the training split needs"):
        learn_scaling(others, neurons, settings(steps=2), single, 4096)


def test_the_curve_has_a_row_a_step_and_progress_is_told(
    single: ChatModel, corpus: list[PromptPair], neurons: NeuronSet, settings: Settings
) -> None:
    told: list[tuple[Any, str, int]] = []

    def track(items: Iterable[Any], description: str, total: int) -> Iterator[Any]:
        for item in items:
            told.append((item, description, total))
            yield item

    learned = learn_scaling(corpus, neurons, settings(steps=3), single, 4096, track)
    assert learned.curve["step"].tolist() == [0, 1, 2]
    assert told == [(step, "learning alpha", 3) for step in range(3)]
    assert np.isfinite(learned.curve.to_numpy()).all()
    assert (learned.facts["loss_first"], learned.facts["loss_last"]) == tuple(learned.curve["loss"].iloc[[0, 2]])


def test_the_model_is_left_as_it_was(
    single: ChatModel, corpus: list[PromptPair], neurons: NeuronSet, settings: Settings
) -> None:
    weights = {name: value.clone() for name, value in single.model.state_dict().items()}
    attention = single.model.config._attn_implementation
    learn_scaling(corpus, neurons, settings(steps=2), single, 4096)
    assert hooks(single) == 0 and single.model.config._attn_implementation == attention
    assert all(torch.equal(value, weights[name]) for name, value in single.model.state_dict().items())
    assert all(parameter.grad is None for parameter in single.model.parameters())


@pytest.mark.parametrize("order", ["first", "second"])
def test_a_gradient_that_is_not_finite_names_the_step(
    single: ChatModel, corpus: list[PromptPair], neurons: NeuronSet, settings: Settings, order: str
) -> None:
    spoilt_at = 2

    def track(items: Iterable[Any], description: str, total: int) -> Iterator[Any]:
        for step in items:
            if step == spoilt_at:
                single.model.get_output_embeddings().weight.fill_(float("nan"))
            yield step

    with pytest.raises(NumericalError, match=r"step 2 is not finite; lower scaling\.outer_learning_rate \(0\.05\)"):
        learn_scaling(corpus, neurons, settings(steps=4, order=order), single, 4096, track)
    assert hooks(single) == 0


def test_hooks_are_removed_after_an_error_in_the_middle(
    single: ChatModel, corpus: list[PromptPair], neurons: NeuronSet, settings: Settings
) -> None:
    calls, attention = 0, single.model.config._attn_implementation

    def fail(module: Any, inputs: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise RuntimeError("out of memory")

    handle = single.model.get_submodule("model.layers.1.mlp").register_forward_pre_hook(fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        learn_scaling(corpus, neurons, settings(steps=2), single, 4096)
    handle.remove()
    assert hooks(single) == 0 and single.model.config._attn_implementation == attention
