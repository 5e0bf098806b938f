"""Pairs for models of few positions, and with conversations: what fits is used, what does not is told by its row."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from short_models import short_chat

from neurontune_core import artifacts, tables
from neurontune_core.attribution.encode import encode_pair
from neurontune_core.config import contents
from neurontune_core.data import corpus
from neurontune_core.data.corpus import Attack
from neurontune_core.errors import InputError
from neurontune_core.model.load import ChatModel
from neurontune_core.pairs import build
from neurontune_core.pairs.build import BuiltPairs, build_pairs
from neurontune_core.pairs.settings import PairsConfig
from neurontune_core.pairs.summary import format_summary, summarise_pairs
from neurontune_core.records import Message, PromptPair
from neurontune_core.scaling.examples import encode_examples

WORDS = ["lock", "safe", "door", "gate", "code", "card", "wire", "mail", "bike", "till", "coin", "ring"]
LONG = "xylophone " * 5
TURNS = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes?"}]
SYSTEM = [{"role": "system", "content": "Be terse."}]


@pytest.fixture(autouse=True)
def short_corpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attacks and refusals for models of 64 tokens."""
    attacks = [
        Attack("go", "pretending", "character_roleplay", "Go: {query}"),
        Attack("do", "attention_shifting", "text_continuation", "{query} Do!"),
        Attack("far", "attention_shifting", "logical_reasoning", "{query} " + LONG * 2),
        Attack("su", "privilege_escalation", "sudo_mode", "su {query}"),
    ]
    monkeypatch.setattr(corpus, "attacks", lambda: attacks)
    monkeypatch.setattr(corpus, "refusals", lambda: ["No."])


@pytest.fixture
def config(tmp_path: Path) -> PairsConfig:
    """Twelve harmful and twelve harmless queries of a file each, of which two rows do not fit."""

    def written(name: str, column: str, verb: str, rows: Sequence[object]) -> dict[str, str]:
        queries: list[object] = [f"{verb} a {word} {number}" for number, word in enumerate(WORDS)]
        file = tmp_path / f"{name}.json"
        file.write_text(json.dumps([{column: text, "input": "", "output": ""} for text in [*queries, *rows]]))
        return {"path": str(file)}

    asked = [{"role": "user", "content": "Rob him"}]
    conversations = [[*TURNS, *asked], [*SYSTEM, *TURNS, *asked], asked, [*TURNS, TURNS[1]]]
    sources = {
        "advbench": written("harmful", "prompt", "Rob", [LONG + "lock", *conversations]),
        "alpaca": written("benign", "instruction", "See", [LONG + "lake"]),
    }
    return PairsConfig.model_validate(
        {
            "harmful": ["advbench"], "benign": ["alpaca"], "sources": sources, "response_tokens": 8,
            "holdout_attack_categories": ["sudo_mode"], "selected_queries": 3, "wrapped_queries": 8,
            "wrapped_test_queries": 4, "attacks_per_query": 3,
        }
    )  # fmt: skip


def reasons(built: BuiltPairs) -> dict[tuple[str, int], list[str]]:
    found: dict[tuple[str, int], list[str]] = {}
    for row in built.rejected.itertuples():
        found.setdefault((str(row.source), int(str(row.row))), []).append(str(row.reason))
    return found


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_rows_that_leave_no_room_are_rejected_with_number_and_reason(family: str, config: PairsConfig) -> None:
    chat = short_chat(family, 64)
    built = build_pairs(config, chat)
    length = len(chat.prompt_tokens(LONG.strip() + " lock"))
    told = reasons(built)
    assert told["advbench", 13] == [f"prompt of {length} tokens and 8 response tokens exceed the model's 64 positions"]
    assert "exceed the model's 64 positions" in told["alpaca", 13][0]
    assert not {pair.query_id for pair in built.pairs} & {"advbench-harmful-00013", "alpaca-benign-00013"}
    used = next(source for source in built.sources.to_dict("records") if source["name"] == "advbench")
    assert used["rows"] == used["queries"] + used["rejected"] == 17
    for pair in built.pairs:
        prompt = chat.prompt_tokens(pair.conversation)
        assert len(prompt) + 8 <= 64
        if pair.response:
            encode_pair(pair, chat, 8)
    assert "far" not in {pair.attack_name for pair in built.pairs} | set(built.ranking["attack_name"])


def test_an_attack_that_leaves_no_room_around_one_query_alone_is_told(config: PairsConfig) -> None:
    chat = short_chat("gpt2", 64)
    path = Path(str(config.sources["advbench"].path))
    queries = [f"Rob a {word} {word * 10 if word == 'wire' else number}" for number, word in enumerate(WORDS)]
    path.write_text(json.dumps([{"prompt": text} for text in queries]))
    # with the seed that wraps the long one
    for seed in range(20):
        built = build_pairs(config.model_copy(update={"seed": seed}), chat)
        if told := [reason for reason in built.rejected["reason"] if "is not used" in reason]:
            break
    assert "prompt advbench-harmful-00007/" in told[0] and "exceed the model's 64 positions" in told[0]
    left = {pair.id for pair in built.pairs}
    assert "advbench-harmful-00007" in left and not any(text.split()[1] in left for text in told)


def test_nothing_that_fits_is_an_error_with_the_reason(config: PairsConfig) -> None:
    with pytest.raises(InputError, match=r"pairs.harmful: no query of advbench can be used.*the model's 16 positions"):
        build_pairs(config, short_chat("gpt2", 16))
    path = Path(str(config.sources["advbench"].path))
    path.write_text(json.dumps([{"prompt": f"Rob a {word} {number}"} for number, word in enumerate(WORDS)]))
    with pytest.raises(InputError, match=r"pairs: no attack around query .* leaves room for 8 response tokens"):
        build_pairs(config, short_chat("gpt2", 25))


def test_a_model_without_a_limit_takes_all(config: PairsConfig) -> None:
    chat = short_chat("llama", 64)
    vars(chat.model.config)["max_position_embeddings"] = None
    told = reasons(build_pairs(config, chat))
    assert not any("positions" in text for texts in told.values() for text in texts)


@pytest.fixture
def built(config: PairsConfig) -> BuiltPairs:
    return build_pairs(config, short_chat("llama", 256))


def test_conversations_stay_before_plain_and_attacked_prompts(built: BuiltPairs) -> None:
    history = (Message("user", "Hi"), Message("assistant", "Yes?"))
    of = {number: [p for p in built.pairs if p.query_id == f"advbench-harmful-{number:05d}"] for number in (14, 15, 16)}
    assert {(p.history, p.system) for p in of[14]} == {(history, "")}
    assert {(p.history, p.system) for p in of[15]} == {(history, "Be terse.")}
    assert {(p.query, p.history, p.system) for p in of[16]} == {("Rob him", (), "")}
    assert reasons(built)["advbench", 17] == ["column 'prompt': messages 2 and 3 are both of the assistant"]
    attacked = [p for pairs in of.values() for p in pairs if p.attack_name]
    assert all(p.prompt != "Rob him" and "Hi" not in p.prompt for p in attacked)


def test_every_stage_is_given_the_conversation(built: BuiltPairs, config: PairsConfig) -> None:
    chat = short_chat("llama", 256)
    pair = next(pair for pair in built.pairs if pair.history)
    attacked = replace(pair, prompt="su Rob him", attack_name="su", response="No.")
    encoded = encode_pair(attacked, chat, 4)
    for tokens, prompt in ((encoded.query, "Rob him"), (encoded.prompt, "su Rob him")):
        text = chat.tokenizer.decode(tokens)
        assert text.endswith(f"<|user|>Hi<|end|><|assistant|>Yes?<|end|><|user|>{prompt}<|end|><|assistant|>")
    assert tuple(encode_examples(chat, [attacked], 4)[0].sequence.prompt) == encoded.prompt


def test_the_summary_shows_what_was_said_before(built: BuiltPairs) -> None:
    pair = next(pair for pair in built.pairs if pair.history and pair.system)
    summary = summarise_pairs([pair], built.ranking, built.rejected, built.sources, built.facts)
    assert json.loads(json.dumps(summary))["examples"].popitem()[1][0]["history"][0] == TURNS[0]
    text = format_summary(summary)
    assert "    system: Be terse.\n    2 turns before: user: Hi | assistant: Yes?\n    " in text


def with_system(config: PairsConfig, text: str) -> PairsConfig:
    sources = config.sources | {"advbench": config.sources["advbench"].model_copy(update={"system_prompt": text})}
    return config.model_copy(update={"sources": sources})


def test_a_dataset_has_a_system_prompt(config: PairsConfig) -> None:
    built = build_pairs(with_system(config, "Be kind."), short_chat("llama", 256))
    systems = {(pair.source, pair.system) for pair in built.pairs}
    assert systems == {("advbench", "Be kind."), ("advbench", "Be terse."), ("alpaca", "")}
    keys = [
        artifacts.stage_key("pairs", 1, contents(each), "", [])
        for each in (config, with_system(config, "Be kind."), with_system(config, "Be firm."))
    ]
    assert len(set(keys)) == 3


def refusing(chat: ChatModel) -> ChatModel:
    chat.tokenizer.chat_template = (
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('No system') }}{% endif %}"
        + chat.tokenizer.chat_template
    )
    return chat


def test_a_template_without_a_system_message_is_told_before_anything_is_computed(
    config: PairsConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "prepare", lambda *_: pytest.fail("told too late"))
    chat = refusing(short_chat("llama", 256))
    with pytest.raises(InputError, match=r"pairs\.sources\.advbench\.system_prompt: the chat .* \(No system\)"):
        build_pairs(with_system(config, "Be kind."), chat)
    with pytest.raises(InputError, match=r"model\.system_prompt: the chat template of this model takes no system"):
        build_pairs(config, replace(chat, system_prompt="Be kind."))


def test_a_rows_own_system_message_that_the_template_does_not_take_rejects_the_row(config: PairsConfig) -> None:
    told = reasons(build_pairs(config, refusing(short_chat("llama", 256))))
    assert told["advbench", 15] == ["the chat template of this model takes no system message (No system)"]


def test_pairs_come_back_from_their_table(built: BuiltPairs, tmp_path: Path) -> None:
    tables.save_pairs(tmp_path, built.pairs)
    assert tables.load_pairs(tmp_path) == built.pairs
    assert isinstance(pd.read_parquet(tmp_path / tables.PAIRS)["system"][0], str)


def test_history_makes_another_row_and_near_copies_stay_together(built: BuiltPairs) -> None:
    def split(number: int) -> str:
        found: list[PromptPair] = [p for p in built.pairs if p.query_id == f"advbench-harmful-{number:05d}"]
        return found[0].split

    assert split(14) == split(15), "the same conversation under another system message"


def test_a_file_of_ones_own_carries_conversations_and_its_description_a_system_prompt(
    config: PairsConfig, tmp_path: Path
) -> None:
    rows = [{"messages": [*TURNS, {"role": "user", "content": f"Rob a {word} {n}"}]} for n, word in enumerate(WORDS)]
    rows.append({"messages": [*SYSTEM, {"role": "user", "content": "Rob him"}]})
    (tmp_path / "asked.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "mine.toml").write_text('path = "asked.jsonl"\nsystem_prompt = "Be kind."\n[harmful]\n')
    own = config.model_copy(update={"harmful": (str(tmp_path / "mine.toml"),)})
    built = build_pairs(own, short_chat("llama", 256))
    found = {(len(pair.history), pair.system) for pair in built.pairs if pair.source == "mine"}
    assert found == {(2, "Be kind."), (0, "Be terse.")}
    with pytest.raises(InputError, match=r"pairs\.sources\.mine\.system_prompt: the chat template"):
        build_pairs(own, refusing(short_chat("llama", 256)))
