"""Meta-learning against a toy worked out by hand, a loop written out in float64, and finite differences."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from central_differences import slopes
from torch import Tensor

from neurontune_core.errors import NumericalError
from neurontune_core.model import tiny
from neurontune_core.model.load import ChatModel
from neurontune_core.neurons import scaled
from neurontune_core.records import NeuronId, NeuronSet, PromptPair, Role
from neurontune_core.scaling import maml as room
from neurontune_core.scaling.episodes import EpisodeSampler
from neurontune_core.scaling.examples import encode_examples
from neurontune_core.scaling.losses import (
    Example,
    JointLoss,
    PositionWeights,
    base_states,
    micro_batches,
    response_losses,
)
from neurontune_core.scaling.maml import Maml, adapt, episode_gradient, step_size
from neurontune_core.scaling.problem import Problem
from neurontune_core.scaling.settings import MamlSettings
from neurontune_core.scaling.state import from_bytes, to_bytes

Settings = Callable[..., MamlSettings]
MANY = 10_000


def nothing() -> None:
    """Stand for a save that has nothing to do."""


@pytest.fixture
def chat() -> ChatModel:
    """GPT-2: in float64 from end to end, where Llama's norms always go through float32."""
    return ChatModel(tiny.model("gpt2").double().requires_grad_(False), tiny.tokenizer(), torch.device("cpu"))


@pytest.fixture
def batches(chat: ChatModel, corpus: list[PromptPair], maml: Settings) -> tuple[list[Example], list[Example]]:
    """Support and query of an episode."""
    (episode, *_) = EpisodeSampler(corpus, maml(seed=1), support=4, tasks=2).draw()
    support, query = (encode_examples(chat, batch, 99) for batch in (episode.support, episode.query))
    return support, query


@pytest.fixture
def base(chat: ChatModel, batches: tuple[list[Example], list[Example]]) -> dict[str, Tensor]:
    return base_states(chat, [e for batch in batches for e in batch if e.role == "utility"])


def loss_of(
    problem: Problem, alpha: Tensor, examples: list[Example], base: dict[str, Tensor], config: MamlSettings, role: Role
) -> Tensor:
    """The mean loss of one role, in one batch and by definition."""
    mine = [example for example in examples if example.role == role]
    with scaled(problem.chat.model, problem.neurons, alpha):
        positions = PositionWeights(config.early_positions, config.early_weight)
        return response_losses(problem.chat, mine, base, positions)[role] / len(mine)


def adapted_by_hand(
    problem: Problem, alpha: Tensor, support: list[Example], base: dict[str, Tensor], config: MamlSettings
) -> Tensor:
    """alpha' after the inner steps: safety factors by the safety loss alone, utility factors by the utility loss."""
    count = len(problem.neurons.safety)
    safety, utility = alpha[:count].detach(), alpha[count:].detach()
    for _ in range(config.inner_steps):
        safety, utility = safety.requires_grad_(), utility.requires_grad_()
        place = torch.cat([safety, utility])
        (of_safety,) = torch.autograd.grad(loss_of(problem, place, support, base, config, "safety"), safety)
        place = torch.cat([safety, utility])
        (of_utility,) = torch.autograd.grad(loss_of(problem, place, support, base, config, "utility"), utility)
        safety = (safety - config.inner_learning_rate * of_safety).detach()
        utility = (utility - config.inner_learning_rate * of_utility).detach()
    return torch.cat([safety, utility])


def joint(
    problem: Problem, alpha: Tensor, query: list[Example], base: dict[str, Tensor], config: MamlSettings
) -> Tensor:
    safety, utility = (loss_of(problem, alpha, query, base, config, role) for role in ("safety", "utility"))
    return safety + config.utility_weight * utility


class Toy:
    """Losses of two factors, one of each role: `L_safety = s^2 + s u`, `L_utility = u^2 / 2 - s u`.

    Their gradients are (2 s + u, s) and (-u, u - s), the latter two entries by hand for each role's own factor.
    """

    def __call__(
        self,
        chat: ChatModel,
        change: object,
        parameters: Sequence[Tensor],
        examples: Sequence[Example],
        loss: JointLoss,
        create_graph: bool = False,
        done: object = None,
        keep: object = None,
    ) -> tuple[list[Tensor], dict[Role, float]]:
        roles: dict[Role, Tensor] = {}
        (place,) = parameters
        s, u = place
        if any(example.role == "safety" for example in examples):
            roles["safety"] = s**2 + s * u
        if any(example.role == "utility" for example in examples):
            roles["utility"] = u**2 / 2 - s * u
        assert set(roles) == set(loss.role_weights), "the inner loop asks for one loss at a time"
        total = torch.stack([loss.role_weights[role] * value for role, value in roles.items()]).sum()
        found = torch.autograd.grad(total, [place], create_graph=create_graph)
        return list(found), {role: float(value.detach()) for role, value in roles.items()}


@pytest.fixture
def toy(chat: ChatModel, monkeypatch: pytest.MonkeyPatch) -> Problem:
    monkeypatch.setattr(room, "gradients", Toy())
    return Problem(chat, NeuronSet((NeuronId(0, 0),), (NeuronId(0, 1),)), [])


def test_inner_steps_by_hand(toy: Problem, batches: tuple[list[Example], list[Example]], maml: Settings) -> None:
    """From (1, 2) with step 0.1: s' = 1 - 0.1 (2 + 2) = 0.6, u' = 2 - 0.1 (2 - 1) = 1.9; then 0.29 and 1.77."""
    start = torch.tensor([1.0, 2.0], dtype=torch.float64, requires_grad=True)
    for steps, expected in ((0, [1.0, 2.0]), (1, [0.6, 1.9]), (2, [0.6 - 0.1 * 3.1, 1.9 - 0.1 * 1.3])):
        config = maml(inner_steps=steps, inner_learning_rate=0.1)
        assert adapt(toy, start, batches[0], {}, config).tolist() == pytest.approx(expected)


@pytest.mark.parametrize("order", ["first", "second"])
def test_meta_gradients_by_hand(
    toy: Problem, batches: tuple[list[Example], list[Example]], maml: Settings, order: str
) -> None:
    """At (0.6, 1.9), with lambda 0.5, the gradient is (2 s + u - u / 2, s + (u - s) / 2) = (2.15, 1.25).

    Through the inner step, d s' = 0.8 ds - 0.1 du and d u' = 0.1 ds + 0.9 du, so that the gradient in (s, u) is
    (0.8 x 2.15 + 0.1 x 1.25, -0.1 x 2.15 + 0.9 x 1.25) = (1.845, 0.91).
    """
    config = maml(inner_steps=1, inner_learning_rate=0.1, utility_weight=0.5, order=order)
    alpha = torch.tensor([1.0, 2.0], dtype=torch.float64)
    gradient, losses = episode_gradient(toy, alpha, *batches, {}, config)
    assert gradient.tolist() == pytest.approx([2.15, 1.25] if order == "first" else [1.845, 0.91])
    assert losses == pytest.approx({"safety": 0.36 + 1.14, "utility": 1.805 - 1.14})


@pytest.mark.parametrize("order", ["first", "second"])
def test_without_inner_steps_the_meta_gradient_is_the_joint_gradient(
    toy: Problem, batches: tuple[list[Example], list[Example]], maml: Settings, order: str
) -> None:
    config = maml(inner_steps=0, utility_weight=0.5, order=order)
    gradient, _ = episode_gradient(toy, torch.tensor([1.0, 2.0]), *batches, {}, config)
    assert gradient.tolist() == pytest.approx([2 + 2 - 1, 1 + 0.5])


@pytest.mark.parametrize("inner_steps", [1, 2])
def test_first_order_equals_the_loop_written_out(
    problem: Problem, alpha: Tensor, batches: tuple[list[Example], list[Example]], base: dict[str, Tensor],
    maml: Settings, inner_steps: int,
) -> None:  # fmt: skip
    config = maml(inner_steps=inner_steps, inner_learning_rate=0.1)
    support, query = batches
    place = adapted_by_hand(problem, alpha, support, base, config).requires_grad_()
    found = adapt(problem, alpha.clone().requires_grad_(), support, base, config)
    torch.testing.assert_close(found.detach(), place.detach(), rtol=1e-10, atol=1e-12)
    loss = joint(problem, place, query, base, config)
    (expected,) = torch.autograd.grad(loss, place)
    gradient, losses = episode_gradient(problem, alpha, support, query, base, config)
    torch.testing.assert_close(gradient, expected, rtol=1e-9, atol=1e-12)
    assert losses["safety"] + 0.6 * losses["utility"] == pytest.approx(float(loss.detach()), rel=1e-11)
    assert not gradient.requires_grad and alpha.grad is None


@pytest.mark.parametrize(("inner_steps", "batch_tokens"), [(1, 60), (2, MANY)])
def test_second_order_equals_finite_differences_through_the_inner_loop(
    chat: ChatModel, neurons: NeuronSet, alpha: Tensor, batches: tuple[list[Example], list[Example]],
    base: dict[str, Tensor], maml: Settings, inner_steps: int, batch_tokens: int,
) -> None:  # fmt: skip
    config = maml(order="second", inner_steps=inner_steps, inner_learning_rate=1.0)
    support, query = batches
    problem = Problem(replace(chat, batch_tokens=batch_tokens), neurons, [])

    def outer(place: Tensor) -> Tensor:
        return joint(problem, adapted_by_hand(problem, place, support, base, config), query, base, config)

    expected = slopes(outer, alpha)
    gradient, _ = episode_gradient(problem, alpha, support, query, base, config)
    torch.testing.assert_close(gradient, expected, rtol=1e-5, atol=1e-8)
    simple = config.model_copy(update={"order": "first"})
    first, _ = episode_gradient(problem, alpha, support, query, base, simple)
    assert ((first - expected).norm() / expected.norm()).item() > 1e-2  # the two orders can be told apart here


def test_each_kind_of_factor_moves_by_its_own_batch_alone(
    problem: Problem, alpha: Tensor, batches: tuple[list[Example], list[Example]], base: dict[str, Tensor],
    maml: Settings,
) -> None:  # fmt: skip
    """Harmful prompts left out of the support batch change the safety factors and no others, and the other way."""
    config, support = maml(inner_steps=1, inner_learning_rate=0.5), batches[0]
    start = alpha.clone().requires_grad_()
    whole = adapt(problem, start, support, base, config)
    for role, moved in (("safety", slice(0, 3)), ("utility", slice(3, 6))):
        fewer = [e for e in support if e.role != role] + [e for e in support if e.role == role][:1]
        found = adapt(problem, start, fewer, base, config)
        same = torch.isclose(found, whole, rtol=1e-12, atol=1e-12)
        assert not same[moved].any() and same.sum() == 3


def test_the_start_is_above_1_for_safety_and_below_for_utility(problem: Problem, maml: Settings) -> None:
    state = Maml(problem, maml(steps=1, safety_start=1.25, utility_start=0.75)).start()
    assert state.alpha.tolist() == state.best_alpha.tolist() == [1.25] * 3 + [0.75] * 3 and state.steps == 0
    assert MamlSettings().safety_start > 1 > MamlSettings().utility_start


def test_the_step_size_falls_to_nothing_on_a_cosine() -> None:
    assert [step_size(0.2, n, 4) for n in range(4)] == pytest.approx(
        [0.1 * (1 + math.cos(math.pi * n / 4)) for n in range(4)]
    )


def test_outer_steps_are_adams_on_the_mean_over_tasks(problem: Problem, maml: Settings) -> None:
    """Two steps, with the moments of the first in the second, and a step size on a cosine; written out."""
    config = maml(steps=2, tasks_per_step=2, outer_learning_rate=0.02, inner_steps=2)
    sampler = EpisodeSampler(problem.pairs, config, config.support_batch, config.tasks_per_step)
    method = Maml(problem, config)
    state = method.start()
    first, second = np.zeros(6), np.zeros(6)
    for number in range(2):
        before = state.alpha.clone()
        episodes = [
            [encode_examples(problem.chat, part, 99) for part in (episode.support, episode.query)]
            for episode in sampler.draw()
        ]
        assert len(episodes) == 2
        base = problem.base(e for episode in episodes for part in episode for e in part)
        parts = [episode_gradient(problem, before, *episode, base, config) for episode in episodes]
        gradient = ((parts[0][0] + parts[1][0]) / 2).numpy()
        first, second = 0.9 * first + 0.1 * gradient, 0.99 * second + 0.01 * gradient**2
        moved = (first / (1 - 0.9 ** (number + 1))) / (np.sqrt(second / (1 - 0.99 ** (number + 1))) + 1e-8)
        row = method.step(state, nothing)
        state.rows.append(row)
        expected = before.numpy() - step_size(0.02, number, 2) * moved
        np.testing.assert_allclose(state.alpha.numpy(), expected, rtol=1e-5, atol=1e-7)
        assert row["gradient_norm"] == pytest.approx(float(np.linalg.norm(gradient)), rel=1e-5)
        for role in ("safety", "utility"):
            assert row[f"{role}_loss"] == pytest.approx(sum(part[1][role] for part in parts) / 2, rel=1e-5, abs=1e-7)
        assert row["loss"] == pytest.approx(row["safety_loss"] + 0.6 * row["utility_loss"])
        tokens = [sum(len(e.sequence.tokens) for e in part) for episode in episodes for part in episode]
        assert row["tokens"] == 2 * (tokens[0] + tokens[2]) + tokens[1] + tokens[3]


@pytest.mark.parametrize("order", ["first", "second"])
def test_a_run_saved_after_any_part_goes_on_to_the_same_bits(problem: Problem, maml: Settings, order: str) -> None:
    """As bytes, in the middle of a step: no part of a query batch is run twice, and none is left out."""
    config = maml(steps=2, tasks_per_step=2, order=order)
    small = replace(problem, chat=replace(problem.chat, batch_tokens=60))
    whole = Maml(small, config)
    end = whole.start()
    saves: list[bytes] = []
    for _ in range(2):
        end.rows.append(whole.step(end, lambda: saves.append(to_bytes(end))))
    parts = [len(micro_batches([whole._examples[p.id] for p in e.query], 60)) for step in whole._episodes for e in step]
    assert min(parts) > 1 and len(saves) == sum(parts) + 4
    again = Maml(small, config)
    for content in saves:
        state, run = from_bytes(content, torch.device("cpu")), Mock()
        tasks = 2 * state.steps + state.notes.get("tasks", {}).get("parts", 0)
        left = sum(parts[tasks:]) - state.notes.get("query", {}).get("parts", 0)
        while state.steps < 2:
            state.rows.append(again.step(state, run))
        assert torch.equal(state.alpha, end.alpha) and state.rows == end.rows and not state.notes
        assert state.tensors.keys() == end.tensors.keys() == {"step", "exp_avg", "exp_avg_sq"}
        assert all(torch.equal(value, end.tensors[name]) for name, value in state.tensors.items())
        assert run.call_count == left + 4 - tasks


@pytest.mark.parametrize(
    ("sign", "low", "high"), [("by_role", [1, None], [None, 1]), ("against_role", [None, 1], [1, None])]
)
def test_factors_stay_on_their_side(problem: Problem, maml: Settings, sign: str, low: Any, high: Any) -> None:
    """With so large a step that without bounds both kinds cross to the other side."""
    changes = {"steps": 3, "outer_learning_rate": 1.5, "safety_start": 1.0, "utility_start": 1.0}
    ends = {}
    for name in (sign, "free"):
        method = Maml(problem, maml(**changes, sign=name))
        state = method.start()
        for _ in range(3):
            state.rows.append(method.step(state, nothing))
        ends[name] = state.alpha.reshape(2, 3)
    for role in range(2):
        if low[role]:
            assert (ends[sign][role] >= 1).all() and (ends["free"][role] < 1).any()
        if high[role]:
            assert (ends[sign][role] <= 1).all() and (ends["free"][role] > 1).any()
    assert (ends[sign] != 1).any()


def test_a_start_on_the_other_side_is_brought_to_the_bound(problem: Problem, maml: Settings) -> None:
    start = Maml(problem, maml(steps=1, sign="against_role")).start()
    assert start.alpha.tolist() == [1.0] * 6


@pytest.mark.parametrize("order", ["first", "second"])
def test_a_gradient_that_is_not_finite_names_the_step(problem: Problem, maml: Settings, order: str) -> None:
    method = Maml(problem, maml(steps=3, order=order))
    state = method.start()
    state.rows += [method.step(state, nothing), {}]
    problem.chat.model.get_output_embeddings().weight.fill_(float("nan"))
    with pytest.raises(NumericalError, match=r"step 2 is not finite; lower scaling\.outer_learning_rate \(0\.05\)"):
        method.step(state, nothing)
