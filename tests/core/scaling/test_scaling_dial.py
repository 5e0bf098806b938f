"""The dial: every pair of its grid is tried, and the one that validates best is kept."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch

from neurontune_core.model import tiny
from neurontune_core.model.load import ChatModel
from neurontune_core.records import NeuronId, NeuronSet, PromptPair
from neurontune_core.scaling import learn as room
from neurontune_core.scaling.dial import Dial
from neurontune_core.scaling.learn import learn_scaling
from neurontune_core.scaling.problem import Problem
from neurontune_core.scaling.settings import DialSettings
from neurontune_core.scaling.validation import Score

Settings = Callable[..., DialSettings]
GRID = {"safety_factors": (1.0, 1.5, 2.0), "utility_factors": (1.0, 0.0)}
PAIRS = [(1.0, 1.0), (1.0, 0.0), (1.5, 1.0), (1.5, 0.0), (2.0, 1.0), (2.0, 0.0)]
SETS = NeuronSet((NeuronId(0, 3), NeuronId(1, 40)), (NeuronId(0, 30), NeuronId(1, 2), NeuronId(1, 11)))


@pytest.fixture
def chat() -> ChatModel:
    return ChatModel(tiny.model("llama").requires_grad_(False), tiny.tokenizer(), torch.device("cpu"))


def labels(prompts: Sequence[str], responses: Sequence[str]) -> list[str]:
    return ["refusal" if len(prompt) % 3 == 0 else "compliance" for prompt in prompts]


def scored(monkeypatch: pytest.MonkeyPatch, values: Sequence[float]) -> list[torch.Tensor]:
    """Let validations find these scores, one a call, and note the factors at each."""
    left, seen = iter(values), []
    factors = room.scaled

    def noted(model: Any, neurons: NeuronSet, alpha: torch.Tensor) -> Any:
        seen.append(alpha.clone())
        return factors(model, neurons, alpha)

    def score(*_: Any) -> Score:
        value = next(left)
        return Score(value, value, 0, 1, 1, 0)

    monkeypatch.setattr(room, "scaled", noted)
    monkeypatch.setattr(room, "validate", score)
    return seen


def test_steps_go_through_the_grid(problem: Problem, dial: Settings) -> None:
    method = Dial(problem, dial(**GRID))
    state = method.start()
    assert method.steps == 6 and state.alpha.tolist() == [1.0] * 6
    for safety, utility in PAIRS:
        row = method.step(state, lambda: None)
        assert row == {"safety_factor": safety, "utility_factor": utility}
        assert state.alpha.tolist() == [safety] * 3 + [utility] * 3
        state.rows.append(row)


@pytest.mark.parametrize("best", range(6))
def test_the_best_pair_is_kept(
    chat: ChatModel, validated: list[PromptPair], dial: Settings, monkeypatch: pytest.MonkeyPatch, best: int
) -> None:
    """Wherever it is in the grid: nothing stops the dial early."""
    values = [0.9 if number == best else 0.1 for number in range(6)]
    seen = scored(monkeypatch, [*values, 0.4])
    learned = learn_scaling(Problem(chat, SETS, validated, labels), dial(**GRID))
    safety, utility = PAIRS[best]
    expected = [safety] * 2 + [utility] * 3
    assert learned.scaling.alpha.tolist() == expected and learned.scaling.neurons == SETS
    assert [factors.tolist() for factors in seen] == [[s] * 2 + [u] * 3 for s, u in PAIRS] + [expected]
    assert learned.curve[["safety_factor", "utility_factor"]].to_numpy().tolist() == [list(pair) for pair in PAIRS]
    assert learned.curve["validation_score"].tolist() == pytest.approx(values)
    assert learned.facts["best_step"] == best + 1 and learned.facts["best_score"] == pytest.approx(0.9)
    assert learned.facts["validation_score"] == pytest.approx(0.4), "reported on prompts of its own"


def test_of_equal_pairs_the_one_nearer_to_the_base_model_is_kept(
    chat: ChatModel, validated: list[PromptPair], dial: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored(monkeypatch, [0.5] * 7)
    learned = learn_scaling(Problem(chat, SETS, validated, labels), dial(**GRID))
    assert learned.scaling.alpha.tolist() == [1.0] * 5


def test_the_dial_itself_repeats_itself(chat: ChatModel, validated: list[PromptPair], dial: Settings) -> None:
    one, other = (learn_scaling(Problem(chat, SETS, validated, labels), dial(**GRID)) for _ in range(2))
    assert np.array_equal(one.scaling.alpha, other.scaling.alpha) and one.curve.equals(other.curve)
    assert (tuple(one.scaling.alpha[[0, -1]])) in PAIRS and set(one.facts) >= {"best_score", "validation_kl"}
