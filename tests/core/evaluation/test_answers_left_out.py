"""Evaluation: conversations are asked whole, and prompts the model cannot take are left out and told."""

import json
import logging
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from library_sample import FakeLibrary
from report_sample import material
from short_models import short_chat

from neurontune_core import tables
from neurontune_core.baselines.system_prompt import SystemPrompt
from neurontune_core.data.library import PublicLibrary
from neurontune_core.data.settings import SourceConfig
from neurontune_core.errors import InputError
from neurontune_core.evaluation import answers, benchmarks
from neurontune_core.evaluation.evaluate import evaluate
from neurontune_core.evaluation.one_model import as_plain, evaluate_one_model
from neurontune_core.evaluation.report import render_report
from neurontune_core.evaluation.settings import EvaluationConfig
from neurontune_core.model.generate import decode, respond
from neurontune_core.records import Conversation, Message, PromptPair, ScalingFactors

HISTORY = (Message("user", "Hi"), Message("assistant", "Yes?"))


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_prompts_that_leave_no_room_are_left_out_and_told(
    family: str, pairs: list[PromptPair], settings: EvaluationConfig, caplog: pytest.LogCaptureFixture
) -> None:
    chat = short_chat(family, 64)
    long = [replace(pair, prompt="x" * 60, row=3) if pair.id == "safety-test-0" else pair for pair in pairs]
    settings = settings.model_copy(update={"prompts_per_benchmark": 3})
    with caplog.at_level(logging.WARNING, "neurontune"):
        base, left_out = answers.base_answers(long, settings, chat)
    reason = "prompt of 63 tokens and 6 response tokens exceed the model's 64 positions"
    row = {"benchmark": "harmful_plain", "id": "safety-test-0", "source": "test", "row": 3, "reason": reason}
    assert left_out.to_dict("records") == [row]
    told = f"1 prompts are left out, the first is row 3 of test, safety-test-0 of harmful_plain: {reason}"
    assert told in caplog.text
    assert "safety-test-0" not in set(base["id"]) and base.index.tolist() == list(range(len(base)))
    assert answers.base_answers(pairs, settings, chat)[1].empty


def test_nothing_left_is_an_error_that_names_the_setting(pairs: list[PromptPair], settings: EvaluationConfig) -> None:
    chat = short_chat("gpt2", 64)
    too_many = settings.model_copy(update={"max_new_tokens": 60})
    with pytest.raises(
        InputError,
        match=r"no prompt is left of harmful prompts.*max_new_tokens, which is 60",
    ):
        answers.base_answers(pairs, too_many, chat)
    long = [replace(pair, prompt="x" * 60) if pair.role == "safety" else pair for pair in pairs]
    with pytest.raises(InputError, match="no prompt is left of harmful prompts"):
        answers.base_answers(long, settings, chat)

    class Long(FakeLibrary):
        def questions(self, dataset, role, source):
            return [replace(question, text="y" * 60) for question in super().questions(dataset, role, source)]

    public = settings.model_copy(update={"benchmarks": ("shipped", "advbench")})
    with pytest.raises(InputError, match=r"no prompt is left of advbench: .* exceed the model's 64 positions"):
        answers.base_answers(pairs, public, chat, library=Long())


def test_both_models_are_asked_the_whole_conversation(
    pairs: list[PromptPair], scaling: ScalingFactors, settings: EvaluationConfig, tmp_path: Path
) -> None:
    chat = short_chat("llama", 256)
    talking = [replace(pair, history=HISTORY, system="Be kind.") for pair in pairs]
    base, _ = answers.base_answers(talking, settings, chat)
    expected = [Conversation(prompt, HISTORY, "Be kind.") for prompt in base["prompt"]]
    assert answers.conversations(base) == expected
    assert base["completion"].tolist() == respond(chat, expected, 6)
    assert base["completion"].tolist() != answers.base_answers(pairs, settings, chat)[0]["completion"].tolist()
    tables.save_table(tmp_path, "answers", base)
    read = tables.load_table(tmp_path, "answers")
    assert answers.conversations(read) == expected
    tuned, moved = answers.tuned_answers(read, scaling, settings, chat)
    again, moved_again = answers.tuned_answers(base, scaling, settings, chat)
    pd.testing.assert_series_equal(tuned["completion"], again["completion"])
    assert moved == moved_again and moved["eval/kl_to_base"] > 0
    assert decode(chat, answers.token_lists(base)) == base["completion"].tolist()
    result = evaluate(read, tuned, settings)
    tables.save_table(tmp_path, "completions", result.completions)
    assert tables.load_table(tmp_path, "completions")["history"][0][0]["content"] == "Hi"


def test_the_report_shows_what_was_said_before_and_what_was_not_asked(
    pairs: list[PromptPair], scaling: ScalingFactors
) -> None:
    record = material([replace(pair, history=HISTORY, system="<b>Be kind.") for pair in pairs], scaling)
    page = render_report(replace(record, facts=dict(record.facts) | {"base/left_out": 3.0}))
    assert "system: &lt;b&gt;Be kind.\nuser: Hi\nassistant: Yes?" in page and "3 prompts were not asked" in page
    assert "<b>before</b>" not in render_report(material(pairs, scaling))


def test_a_system_prompt_baseline_stands_above_a_conversations_own(
    pairs: list[PromptPair], settings: EvaluationConfig
) -> None:
    chat = short_chat("llama", 256)
    base, _ = answers.base_answers([replace(pair, system="Be kind.") for pair in pairs], settings, chat)
    tuned, _ = answers.tuned_answers(base, SystemPrompt("Be safe."), settings, chat)
    expected = [Conversation(prompt, system="Be safe.\n\nBe kind.") for prompt in base["prompt"]]
    assert tuned["completion"].tolist() == respond(chat, expected, 6)


def test_public_sets_bring_conversations_and_system_prompts(
    pairs: list[PromptPair], settings: EvaluationConfig, tmp_path: Path
) -> None:
    file = tmp_path / "advbench.jsonl"
    asked = [{"role": "user", "content": "Pick a lock"}]
    turns = [{"role": message.role, "content": message.content} for message in HISTORY]
    rows = [[*turns, *asked], asked, [{"role": "system", "content": "Be terse."}, *asked]]
    file.write_text("".join(json.dumps({"prompt": messages}) + "\n" for messages in rows))
    source = SourceConfig(path=str(file), system_prompt="Be kind.")
    settings = EvaluationConfig(benchmarks=("shipped", "advbench/all"), sources={"advbench": source})
    trained = [replace(pairs[0], query="Pick a lock", split="train"), *pairs]
    found = benchmarks.test_prompts(trained, settings, PublicLibrary())["advbench/all"]
    assert [(pair.history, pair.system) for pair in found] == [(HISTORY, "Be kind.")], "the others are trained on"
    assert "Pick a lock" in found[0].prompt and found[0].attack_name and "Hi" not in found[0].prompt
    assert answers.answer_settings(settings) != answers.answer_settings(settings.model_copy(update={"sources": {}}))


def test_rows_of_a_file_of_ones_own_are_left_out_with_their_number(
    pairs: list[PromptPair], settings: EvaluationConfig, tmp_path: Path
) -> None:
    chat = short_chat("gpt2", 64)
    file = tmp_path / "mine.csv"
    file.write_text("goal\nPick a lock\n" + "y" * 80 + "\nForge a pass\n" + "z" * 90 + "\n")
    settings = settings.model_copy(update={"benchmarks": ("shipped", str(file)), "prompts_per_benchmark": 9})
    base, left_out = answers.base_answers(pairs, settings, chat, library=PublicLibrary(settings))
    assert sorted(zip(left_out["source"], left_out["row"], strict=True)) == [("mine", 2), ("mine", 4)]
    assert left_out["reason"].str.contains("exceed the model's 64 positions").all()
    assert set(base.loc[base["benchmark"] == "mine", "prompt"]) == {"Pick a lock", "Forge a pass"}
    file.write_text("goal\n" + "y" * 80 + "\n")
    with pytest.raises(InputError, match=r"no prompt is left of .*mine.csv: .* the first is row 1 of mine, "):
        answers.base_answers(pairs, settings, chat, library=PublicLibrary(settings))


def test_a_model_without_a_run_is_asked_what_it_can_take(settings: EvaluationConfig, tmp_path: Path) -> None:
    chat = short_chat("llama", 64)
    file = tmp_path / "mine.csv"
    file.write_text("goal\nPick a lock\n" + "y" * 80 + "\n")
    alone = settings.model_copy(update={"benchmarks": (str(file),)})
    table, rates, left_out = evaluate_one_model(chat, alone, PublicLibrary(alone))
    assert table["prompt"].tolist() == ["Pick a lock"]
    (row,) = as_plain(rates, left_out, "transformers")["mine"]["left_out"]
    assert (row["source"], row["row"]) == ("mine", 2) and "64 positions" in row["reason"]
