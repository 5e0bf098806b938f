"""Where no opening is given, refusals are told by those that are trained and by the model's own."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from neurontune_core.model.load import ChatModel
from neurontune_core.records import PromptPair
from neurontune_core.scaling import own_refusals
from neurontune_core.scaling.learn import learn_scaling
from neurontune_core.scaling.own_refusals import USUAL_OPENINGS, own_openings


def answering(monkeypatch: pytest.MonkeyPatch, texts: Sequence[str]) -> None:
    monkeypatch.setattr(own_refusals, "decode", lambda chat, completions: list(texts)[: len(completions)])


def prompts(corpus: list[PromptPair], number: int, response: str) -> list[PromptPair]:
    pair = next(pair for pair in corpus if pair.role == "safety")
    trained = [replace(pair, split="train", response=response)]
    return trained + [replace(pair, id=f"v{n}", split="validation") for n in range(number)]


def refuses(asked: Sequence[str], texts: Sequence[str]) -> list[bool]:
    return [not text.startswith("Sure") for text in texts]


def test_trained_opening_first_then_the_models_own_by_number(
    chat: ChatModel, corpus: list[PromptPair], monkeypatch: pytest.MonkeyPatch
) -> None:
    answering(monkeypatch, ["I cannot do that.", "I'm sorry, but no.", "Sure, here is", "I'm sorry to say", "Sure."])
    found = own_openings(chat, prompts(corpus, 5, "Sorry, but I can't help."), refuses, 4096)
    assert found == ("Sorry", "I'm sorry", "I cannot")


def test_rare_openings_do_not_count(chat: ChatModel, corpus: list[PromptPair], monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, ["I can't help."] * 30 + ["Never ever."])
    assert own_openings(chat, prompts(corpus, 31, "I can't help."), refuses, 4096) == ("I can't",)


def test_usual_openings_where_nothing_is_refused(
    chat: ChatModel, corpus: list[PromptPair], monkeypatch: pytest.MonkeyPatch
) -> None:
    answering(monkeypatch, ["Sure, here", "Sure."])
    assert own_openings(chat, prompts(corpus, 2, ""), refuses, 4096) == USUAL_OPENINGS
    assert own_openings(chat, prompts(corpus, 2, ""), None, 4096) == USUAL_OPENINGS


def test_scaling_asks_the_model_only_where_no_opening_is_given(
    chat: ChatModel, corpus: list[PromptPair], neurons, settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []

    def found(*arguments: object) -> tuple[str, ...]:
        asked.append(arguments)
        return ("Sorry",)

    monkeypatch.setattr("neurontune_core.scaling.learn.own_openings", found)
    for openings, times in ((("Sorry",), 0), ((), 1)):
        config = settings(outer_optimiser="gauss_newton", steps=1, refusal_openings=openings, validate_every=0)
        learn_scaling(corpus, neurons, config, chat, 4096)
        assert len(asked) == times
