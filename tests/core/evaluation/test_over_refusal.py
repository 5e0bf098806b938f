import pytest
from library_sample import FakeLibrary

from neurontune_core.config import EvaluationConfig
from neurontune_core.errors import InputError
from neurontune_core.evaluation import over_refusal
from neurontune_core.evaluation.one_model import as_plain, evaluate_model
from neurontune_core.evaluation.over_refusal import trigger_words, without_each_word
from neurontune_core.model.load import ChatModel


def test_every_word_is_left_out_once() -> None:
    assert without_each_word("How do I kill it?") == [
        ("How", "do I kill it?"),
        ("do", "How I kill it?"),
        ("I", "How do kill it?"),
        ("kill", "How do I it?"),
        ("it", "How do I kill"),
    ]
    assert without_each_word("Kill!") == []


def test_the_words_without_which_the_refusal_goes(chat: ChatModel, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[int]] = []

    def generate(_: ChatModel, encoded: list[list[int]], *__: object) -> list[list[int]]:
        asked.extend(encoded)
        return encoded

    monkeypatch.setattr(over_refusal, "generate", generate)
    monkeypatch.setattr(over_refusal, "decode", lambda model, tokens: [model.tokenizer.decode(ids) for ids in tokens])
    found = trigger_words(
        chat,
        ["How do I kill a process?", "Hi"],
        lambda prompts, openings: ["kill" in opening for opening in openings],
        100,
    )
    assert found == [["kill"], []] and len(asked) == 6


def test_any_model_is_evaluated_on_a_public_set(chat: ChatModel) -> None:
    config = EvaluationConfig(benchmarks=("advbench",), prompts_per_benchmark=3, max_new_tokens=4)
    table, rates, left_out = evaluate_model(chat, config, FakeLibrary(), 200)
    assert len(table) == 3 and set(table["role"]) == {"safety"}
    assert as_plain(rates, left_out)["advbench"]["over_refusal"] is None
    with pytest.raises(InputError, match="shipped is the test split"):
        evaluate_model(chat, EvaluationConfig(), FakeLibrary(), 200)
