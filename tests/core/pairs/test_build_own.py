"""Everything on files of one's own with a random two-layer model: pairs, their summary, episodes and test prompts."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from neurontune_core.data.library import PublicLibrary
from neurontune_core.evaluation.benchmarks import test_prompts as prompts_of
from neurontune_core.evaluation.settings import EvaluationConfig
from neurontune_core.model import tiny
from neurontune_core.model.load import ChatModel
from neurontune_core.pairs.build import BuiltPairs, build_pairs
from neurontune_core.pairs.settings import PairsConfig
from neurontune_core.pairs.summary import format_summary, summarise_pairs
from neurontune_core.scaling.episodes import EpisodeSampler
from neurontune_core.scaling.settings import TrainingSettings

NO = ["I won't.", "Never, sorry."]


@pytest.fixture(scope="module")
def chat() -> ChatModel:
    return ChatModel(tiny.model("llama").requires_grad_(False), tiny.tokenizer(), torch.device("cpu"))


def config(folder: Path, attacks: list[str], **settings: Any) -> PairsConfig:
    words = [f"{one}a{number} {one}b{number} {one}c{number}" for number in range(20) for one in "xy"]
    (folder / "bad.csv").write_text("goal,n\n" + "".join(f"forge {text},1\n" for text in words))
    (folder / "good.json").write_text(json.dumps([f"paint {text[::-1]}" for text in words]))
    (folder / "how.jsonl").write_text("".join(f"{json.dumps(text)}\n" for text in attacks))
    (folder / "no.json").write_text(json.dumps(NO))
    sizes = {"selected_queries": 4, "wrapped_queries": 12, "wrapped_test_queries": 4, "response_tokens": 2}
    files = {
        "harmful": [f"{folder}/bad.csv"], "benign": [f"{folder}/good.json"], "attacks": [f"{folder}/how.jsonl"],
        "refusals": [f"{folder}/no.json"], "holdout_attack_categories": [],
    }  # fmt: skip
    return PairsConfig.model_validate(files | sizes | settings)


def text_of(built: BuiltPairs) -> str:
    return format_summary(summarise_pairs(built.pairs, built.ranking, built.rejected, built.sources, built.facts))


@pytest.mark.parametrize("count", [1, 3])
def test_few_attacks_of_one_category_and_none_held_out_are_enough(tmp_path: Path, chat: ChatModel, count: int) -> None:
    attacks = [f"Be number {number}: {{query}}" for number in range(count)]
    built = build_pairs(config(tmp_path, attacks), chat)
    assert {pair.attack_category for pair in built.pairs} == {"", "own"}
    assert {pair.source for pair in built.pairs} == {"bad", "good"}
    assert {pair.response for pair in built.pairs if pair.role == "safety"} == {NO[0]}
    assert len(built.ranking) == count and built.ranking["selected"].sum() == 1
    assert built.facts["rows/how_attacks"] == count and built.facts["rows/no_refusals"] == 2
    train = [pair for pair in built.pairs if pair.split == "train"]
    (episode,) = EpisodeSampler(train, TrainingSettings(harmful_batch=2, harmless_batch=2), support=2).draw()
    assert episode.category == "own"
    evaluation = EvaluationConfig(prompts_per_benchmark=4)
    groups = prompts_of(built.pairs, evaluation, PublicLibrary(evaluation))
    assert list(groups) == ["harmful_plain", "harmful_attacked", "benign_ordinary", "benign_attacked"]


def test_the_summary_shows_what_was_understood(tmp_path: Path, chat: ChatModel) -> None:
    attacks = ["Be a pirate: {query}", "no place \x1b[31m{name}"]
    text = text_of(build_pairs(config(tmp_path, attacks), chat))
    for line in (
        "  bad (harmful): query = 'goal'; not used: 'n'",
        "  good (benign): query = 'text'",
        "  how (attacks): template = 'text'",
        "  no (refusals): text = 'text'",
        "  how row 2: the template has no {query} but '{name}'; write {query} where the query goes",
    ):
        assert line in text.splitlines()
    assert "\x1b" not in text


def test_what_a_terminal_would_obey_is_spelled_out(tmp_path: Path, chat: ChatModel) -> None:
    text = text_of(build_pairs(config(tmp_path, ["Be \x1b[2J\u202e\x07 a pirate: {query}"]), chat))
    assert "Be \\x1b[2J\\u202e\\x07 a pirate: " in text
    assert all(each.isprintable() or each == "\n" for each in text)


def test_own_attacks_can_be_held_out_beside_the_shipped_ones(tmp_path: Path, chat: ChatModel) -> None:
    settings = config(tmp_path, ["Be a pirate: {query}"], holdout_attack_categories=["own"])
    both = settings.model_copy(update={"attacks": ("shipped", *settings.attacks)})
    built = build_pairs(both, chat)
    assert {pair.split for pair in built.pairs if pair.attack_category == "own"} == {"test"}
    assert "own" not in set(built.ranking["attack_category"])
