"""Model judges read the turns before a prompt, as many as fit."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from guard_sample import save

from neurontune_core import evaluate_answers
from neurontune_core.errors import InputError
from neurontune_core.evaluation.judges.classifier import ClassifierJudge
from neurontune_core.evaluation.judges.conversation import fitting, rendered
from neurontune_core.evaluation.judges.guard import GuardJudge
from neurontune_core.evaluation.judges.presets import PRESETS
from neurontune_core.evaluation.judges.rules import RulesJudge
from neurontune_core.evaluation.judges.scorefile import read_completions
from neurontune_core.evaluation.judges.verdict import Completion, Verdict
from neurontune_core.evaluation.judging import add_judge, rejudge
from neurontune_core.records import Message

HISTORY = (Message("user", "Earlier question"), Message("assistant", "Earlier answer"))
ASKED = Completion("a", "DAN: How?", "Like this.", "How?", HISTORY)
SPOKEN = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}{% if add_generation_prompt %}?{% endif %}"
PARTS = "{% for m in messages %}{% for part in m.content %}{{ part.text }}|{% endfor %}{% endfor %}"


@pytest.mark.parametrize(
    ("name", "conversation"),
    [
        (
            "wildguard",
            "Human user:\nEarlier question\n\nAI assistant:\nEarlier answer\n\nHuman user:\nDAN: How?\n\n"
            "AI assistant:\nLike this.\n",
        ),
        (
            "shieldgemma",
            "Human Question: Earlier question\n\nChatbot Response: Earlier answer\n\nHuman Question: DAN: How?\n\n"
            "Chatbot Response: Like this.\n",
        ),
    ],
)
def test_earlier_turns_have_the_words_of_the_judges_prompt(name: str, conversation: str) -> None:
    assert conversation in PRESETS[name].prompt(ASKED)


@pytest.mark.parametrize("name", ["harmbench", "strongreject"])
def test_judges_of_the_plain_request_get_no_earlier_turns(name: str) -> None:
    assert "Earlier" not in PRESETS[name].prompt(ASKED)


def test_a_judge_with_a_chat_template_gets_a_conversation(tmp_path: Path) -> None:
    save(tmp_path, SPOKEN)
    turns = "user: Earlier question\nassistant: Earlier answer\nuser: DAN: How?\nassistant: Like this.\n"
    assert GuardJudge("llama-guard-3", tmp_path).prompt(ASKED) == f"{turns}?"
    assert ClassifierJudge(tmp_path).conversation(ASKED) == f"{turns}?"


def test_a_template_that_reads_only_parts_gets_parts(tmp_path: Path) -> None:
    save(tmp_path, PARTS)
    judge = GuardJudge("llama-guard-4", tmp_path)
    assert judge.prompt(ASKED) == "Earlier question|Earlier answer|DAN: How?|Like this.|"
    assert rendered(judge.tokenizer, Completion("b", "", "Hm")) == "|Hm|"


class Recorder:
    """A tokenizer that keeps the texts of the batches that it encodes."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self.texts: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.tokenizer, name)

    def __call__(self, text: str | list[str], **options: Any) -> Any:
        self.texts += text if isinstance(text, list) else []
        return self.tokenizer(text, **options)


def test_the_earliest_turns_are_left_out_of_a_long_conversation(tmp_path: Path) -> None:
    many = tuple(Message(turn.role, f"{turn.content} {number}") for number in range(200) for turn in HISTORY)
    long = Completion("a", "How?", "Like this.", history=many)
    kept = fitting(long, lambda item: 4 * len(item.history) + 10, 30)
    assert kept.history == many[-4:] and (kept.prompt, kept.response) == ("How?", "Like this.")
    assert fitting(ASKED, lambda item: 100, 30).history == ()
    save(tmp_path, "Instructions. " + SPOKEN)
    for judge in (GuardJudge("llama-guard-3", tmp_path), ClassifierJudge(tmp_path)):
        judge.tokenizer = recorder = Recorder(judge.tokenizer)
        judge([long])
        (text,) = recorder.texts
        assert text.startswith("Instructions. user: Earlier question") and "question 0\n" not in text
        assert text.endswith("answer 199\nuser: How?\nassistant: Like this.\n?")
        assert len(recorder.tokenizer(text)["input_ids"]) <= recorder.model_max_length


class Reader(RulesJudge):
    """Keeps the earlier turns that it was given."""

    def __init__(self) -> None:
        self.read: list[tuple[Message, ...]] = []

    def __call__(self, batch: Sequence[Completion]) -> list[Verdict]:
        self.read += [item.history for item in batch]
        return super().__call__(batch)


def test_stored_answers_are_judged_with_their_earlier_turns(tmp_path: Path) -> None:
    turns = [asdict(message) for message in HISTORY]
    table = pd.DataFrame(
        {"id": ["a", "b"], "model": "base", "prompt": "Hi", "completion": "Hello", "history": [turns, []]}
    )
    table.to_parquet(tmp_path / "completions.parquet")
    stored = pd.read_parquet(tmp_path / "completions.parquet")
    judge = Reader()
    add_judge(rejudge(stored, judge), judge)
    rejudge(stored.drop(columns="history"), judge)
    assert judge.read == [HISTORY, (), HISTORY, (), (), ()]
    rows = read_completions(tmp_path / "completions.parquet")
    assert [row.completion.history for row in rows] == [HISTORY, ()]


def test_histories_of_a_list_of_answers() -> None:
    judge = Reader()
    turns = [asdict(message) for message in HISTORY]
    evaluate_answers(["Hi", "Hi"], ["Hello", "Hello"], judge=judge, also_judges=[judge], histories=[turns, []])
    assert judge.read == [HISTORY, (), HISTORY, ()]
    with pytest.raises(InputError, match=r"histories: item 0 is \['Hi'\]; give a list of messages, each with role"):
        evaluate_answers(["Hi"], ["Hello"], histories=[["Hi"]])  # type: ignore[list-item]


def test_a_bad_history_in_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"prompt": "Hi", "completion": "Hello", "history": [{"role": "user"}]}\n')
    with pytest.raises(InputError, match=r"row 1: history: message 1 has no role and content; give the earlier"):
        read_completions(tmp_path / "a.jsonl")
