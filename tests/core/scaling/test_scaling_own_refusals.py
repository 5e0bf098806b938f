"""Where no opening is given, refusals are told by those that are trained and by the model's own."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from neurontune_core.model.load import ChatModel
from neurontune_core.records import NeuronSet, PromptPair
from neurontune_core.scaling import own_refusals
from neurontune_core.scaling.learn import learn_scaling
from neurontune_core.scaling.own_refusals import USUAL_OPENINGS, own_openings
from neurontune_core.scaling.problem import Problem

Settings = Callable[..., Any]


def answering(monkeypatch: pytest.MonkeyPatch, texts: Sequence[str]) -> None:
    monkeypatch.setattr(own_refusals, "decode", lambda chat, completions: list(texts)[: len(completions)])


def prompts(corpus: list[PromptPair], number: int, response: str) -> list[PromptPair]:
    pair = next(pair for pair in corpus if pair.role == "safety")
    trained = [replace(pair, split="train", response=response)]
    return trained + [replace(pair, id=f"v{n}", split="validation") for n in range(number)]


def labels(asked: Sequence[str], texts: Sequence[str]) -> list[str]:
    kinds = {"Sure": "compliance", "Hmm": "broken", "Well": "partial"}
    return [kinds.get(text.split(",")[0], "refusal") for text in texts]


def openings(chat: ChatModel, pairs: Sequence[PromptPair], judge: Any) -> tuple[str, ...]:
    return own_openings(chat, pairs, [pair.response for pair in pairs if pair.split == "train"], judge)


def test_trained_opening_first_then_the_models_own_by_number(
    chat: ChatModel, corpus: list[PromptPair], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = ["I cannot do that.", "I'm sorry, but no.", "Sure, here is", "I'm sorry to say", "Sure, yes", "Hmm, hmm"]
    answering(monkeypatch, [*said, "Well, some of it.", "Well, hardly."])
    found = openings(chat, prompts(corpus, 8, "Sorry, but I can't help."), labels)
    assert found == ("Sorry", "I'm sorry", "Well", "I cannot")


def test_rare_openings_do_not_count(chat: ChatModel, corpus: list[PromptPair], monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, ["I can't help."] * 30 + ["Never ever."])
    assert openings(chat, prompts(corpus, 31, "I can't help."), labels) == ("I can't",)


def test_usual_openings_where_nothing_is_refused(
    chat: ChatModel, corpus: list[PromptPair], monkeypatch: pytest.MonkeyPatch
) -> None:
    answering(monkeypatch, ["Sure, here", "Hmm, hm"])
    assert openings(chat, prompts(corpus, 2, ""), labels) == USUAL_OPENINGS
    assert openings(chat, prompts(corpus, 2, ""), None) == USUAL_OPENINGS


def test_scaling_asks_the_model_only_where_no_opening_is_given(
    chat: ChatModel, corpus: list[PromptPair], neurons: NeuronSet, maml: Settings, margin_fit: Settings, dial: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    asked: list[object] = []

    def found(*arguments: object) -> tuple[str, ...]:
        asked.append(arguments)
        return ("Sorry",)

    monkeypatch.setattr("neurontune_core.scaling.learn.own_openings", found)
    for config, times in (
        (margin_fit(steps=0, refusal_openings=("Sorry",)), 0),
        (maml(steps=0), 0),
        (dial(safety_factors=(1.0,), utility_factors=(1.0,)), 0),
        (margin_fit(steps=0, refusal_openings=()), 1),
    ):
        learn_scaling(Problem(chat, neurons, corpus), config)
        assert len(asked) == times
