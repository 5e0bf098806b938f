"""The steps of the fit: what each measures, what is remembered, and how a step goes on in its middle."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from neurontune_core.errors import NumericalError
from neurontune_core.model import tiny
from neurontune_core.model.load import ChatModel
from neurontune_core.records import NeuronId, NeuronSet, PromptPair
from neurontune_core.scaling.bounds import role_bounds
from neurontune_core.scaling.episodes import EpisodeSampler
from neurontune_core.scaling.examples import encode_examples
from neurontune_core.scaling.margin_fit import fit as room
from neurontune_core.scaling.margin_fit.fit import MarginFit
from neurontune_core.scaling.margin_fit.margins import KINDS, Margins, join
from neurontune_core.scaling.margin_fit.measure import measure_margins, openings_of, parts_of
from neurontune_core.scaling.margin_fit.solve import solve
from neurontune_core.scaling.problem import Problem
from neurontune_core.scaling.settings import MarginFitSettings
from neurontune_core.scaling.state import from_bytes, to_bytes

Settings = Callable[..., MarginFitSettings]


@pytest.fixture
def chat() -> ChatModel:
    """The model in the format it is trained in."""
    return ChatModel(tiny.model("llama").requires_grad_(False), tiny.tokenizer(), torch.device("cpu"))


def nothing() -> None:
    """Stand for a save that has nothing to do."""


class Killed(Exception):
    """Stands for a killed process."""


def margins_in(state: Any) -> Margins:
    slope, offset, kind = (state.tensors[f"all.{field}"] for field in ("slope", "offset", "kind"))
    return Margins(slope, offset, kind, tuple(state.notes["all"]))


def test_steps_written_out(problem: Problem, margin_fit: Settings) -> None:
    """Each measures its own prompts at the factors of the last, and solves for all margins so far."""
    config = margin_fit(steps=3, finished_every=2, kept_share=0.5, prior_width=1.0)
    method = MarginFit(problem, config)
    sampler = EpisodeSampler(problem.pairs, config)
    refusals = openings_of(problem.chat, problem.openings, config.opening_tokens)
    state = method.start()
    assert state.alpha.tolist() == [1.0] * 6 and method.steps == 3
    alpha, every = torch.ones(6), []
    encoded = encode_examples(problem.chat, problem.pairs, 99)
    examples = {example.id: example for example in encoded}
    for number in range(3):
        (episode,) = sampler.draw()
        mine = [examples[pair.id] for pair in episode.query]
        parts = parts_of(mine, 0.5, finished=number in (0, 2))
        base = problem.base(e for part in parts if part.kind == "keep" for e in part.examples)
        new = join([measure_margins(problem, alpha, part, base, refusals) for part in parts])
        every.append(new)
        row = method.step(state, nothing)
        state.rows.append(row)
        losses = new.losses(alpha)
        refuse, answer = (float(losses[new.of(kind)].mean()) for kind in ("refuse", "answer"))
        assert (row["safety_loss"], row["utility_loss"]) == pytest.approx((refuse, answer), rel=1e-4)
        assert row["loss"] == pytest.approx(refuse + 0.6 * answer, rel=1e-4)
        assert row["tokens"] == sum(len(e.sequence.tokens) for part in parts for e in part.examples)
        alpha = solve(join(every), alpha, role_bounds(problem.neurons, config), config)
        torch.testing.assert_close(state.alpha, alpha, rtol=1e-3, atol=1e-3)
        assert state.notes["parts"] == 0 and not any(name.startswith("new") for name in state.tensors)
        kept = margins_in(state)
        assert kept.names == join(every).names
        assert bool(kept.of("finish").any()) and bool(kept.of("keep").any())
    assert (state.alpha - 1).abs().max() > 0.01


def test_how_refusals_go_on_is_measured_in_every_so_many_steps(problem: Problem, margin_fit: Settings) -> None:
    for every, expected in ((0, [0, 0, 0, 0]), (1, [1, 1, 1, 1]), (3, [1, 0, 0, 1])):
        method = MarginFit(problem, margin_fit(steps=4, finished_every=every))
        found = [any(part.kind == "finish" for part in parts) for parts in method._parts]
        assert found == [bool(each) for each in expected]


def test_a_run_saved_after_any_part_goes_on_to_the_same_bits(problem: Problem, margin_fit: Settings) -> None:
    """As bytes, in the middle of a step: no part is measured twice, and none is left out."""
    config = margin_fit(steps=2, kept_share=0.5)
    whole = MarginFit(problem, config)
    end = whole.start()
    saves: list[bytes] = []

    def save() -> None:
        saves.append(to_bytes(end))

    for _ in range(2):
        end.rows.append(whole.step(end, save))
    parts = [len(parts) for parts in whole._parts]
    assert len(saves) == sum(parts) and min(parts) > 2
    for content in saves:
        state, measured = from_bytes(content, torch.device("cpu")), 0

        def count() -> None:
            nonlocal measured
            measured += 1

        taken = state.steps
        left = sum(parts[taken:]) - int(state.notes["parts"])
        again = MarginFit(problem, config)
        for _ in range(taken, 2):
            state.rows.append(again.step(state, count))
        assert measured == left
        assert torch.equal(state.alpha, end.alpha) and state.rows == end.rows and state.notes == end.notes
        assert state.tensors.keys() == end.tensors.keys()
        assert all(torch.equal(value, end.tensors[name]) for name, value in state.tensors.items())


@pytest.mark.parametrize("sign", ["by_role", "against_role"])
def test_factors_stay_on_their_side(chat: ChatModel, corpus: list[PromptPair], margin_fit: Settings, sign: str) -> None:
    many = NeuronSet(
        tuple(NeuronId(layer, index) for layer in range(2) for index in range(12)),
        tuple(NeuronId(layer, index) for layer in range(2) for index in range(12, 24)),
    )
    ends = {}
    for name in (sign, "free"):
        method = MarginFit(Problem(chat, many, corpus, openings=("I can't",)), margin_fit(steps=2, sign=name))
        state = method.start()
        for _ in range(2):
            state.rows.append(method.step(state, nothing))
        ends[name] = state.alpha.reshape(2, 24)
    up, down = ends[sign] if sign == "by_role" else ends[sign].flip(0)
    assert (up >= 1).all() and (down <= 1).all() and (up > 1).any() and (down < 1).any()
    assert ((ends["free"] < 1).any(1) & (ends["free"] > 1).any(1)).all()


def test_a_harmless_prompt_without_an_answer_is_still_told_from_harmful_ones(
    problem: Problem, margin_fit: Settings
) -> None:
    silent = [replace(pair, response="") if pair.role == "utility" else pair for pair in problem.pairs]
    method = MarginFit(replace(problem, pairs=silent), margin_fit(steps=1))
    state = method.start()
    method.step(state, nothing)
    kinds = {KINDS[kind] for kind in margins_in(state).kind.tolist()}
    assert kinds == {"refuse", "finish", "answer"} and (state.alpha != 1).any()


def test_a_margin_that_is_not_finite_names_the_step(
    problem: Problem, margin_fit: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = MarginFit(problem, margin_fit(steps=3, prior_width=2.0, damping=7.0))
    state = method.start()
    state.rows.append(method.step(state, nothing))
    before = state.alpha.clone()
    problem.chat.model.get_output_embeddings().weight.fill_(float("nan"))
    with pytest.raises(
        NumericalError,
        match=r"step 1 is not finite; lower scaling\.prior_width \(2\.0\) or raise scaling\.damping \(7\.0\)",
    ):
        method.step(state, nothing)
    assert torch.equal(state.alpha, before)


def test_the_refusal_openings_of_the_problem_are_measured(
    problem: Problem, margin_fit: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Any] = []
    monkeypatch.setattr(room, "openings_of", lambda chat, texts, tokens: told.append((texts, tokens)))
    MarginFit(replace(problem, openings=("Never",)), margin_fit(steps=1, opening_tokens=4))
    assert told == [(("Never",), 4)]
