"""Validation chooses the factors that are kept, and a killed run goes on to the same result."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from neurontune_core.config import ScalingConfig
from neurontune_core.errors import InputError
from neurontune_core.model import tiny
from neurontune_core.model.load import ChatModel
from neurontune_core.records import NeuronSet, PromptPair
from neurontune_core.scaling.learn import LearnedScaling, learn_scaling
from neurontune_core.scaling.validation import Score, validation_prompts

Settings = Callable[..., ScalingConfig]


@pytest.fixture
def single() -> ChatModel:
    return ChatModel(tiny.model("llama").requires_grad_(False), tiny.tokenizer(), torch.device("cpu"))


@pytest.fixture
def pairs(corpus: list[PromptPair]) -> list[PromptPair]:
    """Return the corpus with a validation split: its first and last query of each role."""
    held = ("safety0", "safety3", "utility0", "utility3")
    return [replace(pair, split="validation") if pair.query_id in held else pair for pair in corpus]


class Memory:
    """A checkpoint in memory that counts what is saved."""

    def __init__(self, content: bytes | None = None) -> None:
        self.saved = [content] if content else []

    def load(self) -> bytes | None:
        return self.saved[-1] if self.saved else None

    def save(self, content: bytes) -> None:
        self.saved.append(content)


def judge_saying(shares: Sequence[tuple[int, int]], prompts: Sequence[PromptPair]) -> Any:
    """Return a judge that at its n-th call finds that many harmful and harmless prompts refused."""
    calls = iter(shares)
    roles = {pair.prompt: pair.role for pair in prompts}

    def refuses(asked: Sequence[str], responses: Sequence[str]) -> list[bool]:
        left = dict(zip(("safety", "utility"), next(calls), strict=True))
        verdicts = []
        for prompt in asked:
            verdicts.append(left[roles[prompt]] > 0)
            left[roles[prompt]] -= 1
        return verdicts

    return refuses


@pytest.mark.parametrize(("safety", "utility", "expected"), [(1, 1, 1), (0.5, 1, 2 / 3), (0, 1, 0), (0, 0, 0)])
def test_score_by_hand(safety: float, utility: float, expected: float) -> None:
    assert Score(safety, utility).su_f1 == pytest.approx(expected)


def test_prompts_are_of_the_validation_split_half_of_them_attacked(pairs: list[PromptPair], settings: Settings) -> None:
    chosen = validation_prompts(pairs, settings(validation_prompts=4, validate_every=1))
    assert {pair.split for pair in chosen} == {"validation"}
    for role in ("safety", "utility"):
        mine = [pair for pair in chosen if pair.role == role]
        assert sorted(bool(pair.attack_name) for pair in mine) == [False, False, True, True]
    assert len({pair.id for pair in chosen}) == 8


def test_a_split_without_a_role_is_explained(pairs: list[PromptPair], settings: Settings) -> None:
    harmful = [pair for pair in pairs if pair.role == "safety" or pair.split == "train"]
    with pytest.raises(InputError, match=r"validate_every: 1, but no utility prompt .* pairs\.validation_fraction"):
        validation_prompts(harmful, settings(validate_every=1))


def test_the_best_factors_are_kept(
    single: ChatModel, pairs: list[PromptPair], neurons: NeuronSet, settings: Settings
) -> None:
    config = settings(steps=5, validate_every=2, validation_prompts=4)
    # of 4 harmful and 4 harmless: after step 2, 4 and at the end
    refuses = judge_saying([(2, 0), (4, 1), (4, 3)], pairs)
    memory = Memory()
    learned = learn_scaling(pairs, neurons, config, single, 4096, refuses=refuses, checkpoint=memory)
    scores = [2 * 0.5 / 1.5, 2 * 0.75 / 1.75, 2 * 0.25 / 1.25]
    found = learned.curve.dropna()
    assert found["step"].tolist() == [1, 3, 4]
    assert found["validation_su_f1"].tolist() == pytest.approx(scores)
    assert (learned.facts["best_step"], learned.facts["validation_su_f1"]) == (4, pytest.approx(scores[1]))
    # the cosine would end sooner in a shorter run, so the factors of step 4 are those this run had then
    ends_there = config.model_copy(update={"patience": 1})
    again = learn_scaling(
        pairs, neurons, ends_there, single, 4096, refuses=judge_saying([(2, 0), (4, 1), (4, 3)], pairs)
    )
    assert np.array_equal(learned.scaling.alpha, again.scaling.alpha)
    last = learn_scaling(pairs, neurons, settings(steps=5), single, 4096)
    assert not np.array_equal(learned.scaling.alpha, last.scaling.alpha)
    assert len(memory.saved) == 3


def test_patience_ends_a_run_that_gets_no_better(
    single: ChatModel, pairs: list[PromptPair], neurons: NeuronSet, settings: Settings
) -> None:
    config = settings(steps=6, validate_every=1, validation_prompts=4, patience=2)
    refuses = judge_saying([(4, 0), (3, 0), (2, 0)], pairs)
    learned = learn_scaling(pairs, neurons, config, single, 4096, refuses=refuses)
    assert (learned.facts["steps"], learned.facts["best_step"], len(learned.curve)) == (3, 1, 3)


def test_without_a_judge_the_last_factors_are_kept(
    single: ChatModel, pairs: list[PromptPair], neurons: NeuronSet, settings: Settings
) -> None:
    with_validation, without = (
        learn_scaling(pairs, neurons, settings(steps=2, validate_every=every), single, 4096) for every in (1, 0)
    )
    assert np.array_equal(with_validation.scaling.alpha, without.scaling.alpha)
    assert with_validation.curve.equals(without.curve) and "best_step" not in without.facts


class Killed(Exception):
    """Stands for a killed process."""


@pytest.mark.parametrize(("killed_at", "optimiser"), [(2, "adam"), (3, "adam"), (4, "gauss_newton")])
def test_a_killed_run_goes_on_to_the_same_result(
    single: ChatModel,
    pairs: list[PromptPair],
    neurons: NeuronSet,
    settings: Settings,
    killed_at: int,
    optimiser: str,
) -> None:
    config = settings(steps=6, validate_every=2, validation_prompts=4, safety_start=1.0, outer_optimiser=optimiser)

    def learn(checkpoint: Memory, alive: int = 99) -> tuple[LearnedScaling, list[int]]:
        told: list[int] = []

        def report(step: int, row: Any) -> None:
            told.append(step)
            if step == alive:
                raise Killed

        def refuses(prompts: Sequence[str], responses: Sequence[str]) -> list[bool]:
            return [len(prompt) % 3 == 0 for prompt in prompts]

        found = learn_scaling(
            pairs, neurons, config, single, 4096, refuses=refuses, report=report, checkpoint=checkpoint
        )
        return found, told

    whole, told = learn(Memory())
    assert told == list(range(6))
    memory = Memory()
    with pytest.raises(Killed):
        learn(memory, alive=killed_at)
    resumed, told = learn(Memory(memory.load()))
    assert told[0] == (killed_at + 1) // 2 * 2  # where it was saved last
    assert np.array_equal(resumed.scaling.alpha, whole.scaling.alpha)
    assert resumed.curve.equals(whole.curve)
    for name in ("best_step", "validation_su_f1", "tokens", "loss_first", "loss_last"):
        assert resumed.facts[name] == whole.facts[name]


def test_bounds_hold(single: ChatModel, pairs: list[PromptPair], neurons: NeuronSet, settings: Settings) -> None:
    free = learn_scaling(pairs, neurons, settings(steps=4, outer_learning_rate=0.5), single, 4096).scaling.alpha
    config = settings(steps=4, outer_learning_rate=0.5, alpha_min=0.8, alpha_max=1.2)
    bound = learn_scaling(pairs, neurons, config, single, 4096).scaling.alpha
    assert free.min() < 0.8 and free.max() > 1.2
    assert bound.min() == pytest.approx(0.8) and bound.max() == pytest.approx(1.2)


def test_pull_back_is_the_slope_of_half_the_squared_distance(
    single: ChatModel, pairs: list[PromptPair], neurons: NeuronSet, settings: Settings
) -> None:
    # with an epsilon that dwarfs the gradient, Adam's first step is the gradient times rate over epsilon
    start = {"steps": 1, "adam_epsilon": 1e4, "outer_learning_rate": 1e3, "safety_start": 1.5, "utility_start": 0.5}
    free, pulled = (
        learn_scaling(pairs, neurons, settings(**start, pull_back=weight), single, 4096).scaling.alpha
        for weight in (0.0, 2.0)
    )
    expected = -0.1 * 2.0 * (np.array([1.5] * 3 + [0.5] * 3) - 1)
    np.testing.assert_allclose(pulled - free, expected, rtol=1e-3)


def test_the_balance_that_validates_best_is_kept(
    single: ChatModel, pairs: list[PromptPair], neurons: NeuronSet, settings: Settings
) -> None:
    config = settings(
        steps=2, validate_every=2, validation_prompts=4, outer_optimiser="gauss_newton", balances=(0.5, 4.0, 9.0)
    )

    def learn(shares: Sequence[tuple[int, int]], **changes: Any) -> LearnedScaling:
        changed = config.model_copy(update=changes)
        return learn_scaling(pairs, neurons, changed, single, 4096, refuses=judge_saying(shares, pairs))

    best = learn([(2, 1), (2, 2), (4, 0), (3, 0)])
    assert best.facts["balance"] == 4.0 and best.facts["validation_su_f1"] == 1.0
    assert len(best.curve) == 2
    alone = learn([(2, 1)], balances=())
    assert "balance" not in alone.facts and not np.array_equal(alone.scaling.alpha, best.scaling.alpha)
    kept = learn([(4, 0), (2, 2), (3, 0), (3, 0)])
    assert "balance" not in kept.facts and np.array_equal(kept.scaling.alpha, alone.scaling.alpha)
