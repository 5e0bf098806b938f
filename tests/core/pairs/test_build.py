"""Building pairs with a random two-layer model: responses, facts, determinism, and the summary."""

import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from neurontune_core import tables
from neurontune_core.data import corpus
from neurontune_core.model import tiny
from neurontune_core.model.load import ChatModel
from neurontune_core.pairs import build
from neurontune_core.pairs.build import BuiltPairs, build_pairs
from neurontune_core.pairs.settings import PairsConfig
from neurontune_core.pairs.summary import RANKED, format_summary, summarise_pairs

SMALL = PairsConfig.model_validate(
    {
        "sources": {"shipped": {"limit": 40}},
        "ranking_queries": 1,
        "selected_queries": 6,
        "wrapped_queries": 20,
        "wrapped_test_queries": 6,
        "response_tokens": 3,
    }
)


@pytest.fixture(scope="module")
def chat() -> ChatModel:
    return ChatModel(tiny.model("llama").requires_grad_(False), tiny.tokenizer(), torch.device("cpu"))


@pytest.fixture(scope="module")
def built(chat: ChatModel) -> BuiltPairs:
    return build_pairs(SMALL, chat)


def test_pairs_are_the_same_every_time(built: BuiltPairs, chat: ChatModel) -> None:
    again = build_pairs(SMALL, replace(chat, batch_tokens=1024))
    assert again.pairs == built.pairs
    assert again.facts == built.facts
    pd.testing.assert_frame_equal(again.rejected, built.rejected)


def test_harmful_prompts_are_refused_the_same_way_in_every_wrapper(built: BuiltPairs) -> None:
    responses: dict[str, set[str]] = {}
    for pair in built.pairs:
        if pair.role == "safety":
            responses.setdefault(pair.query_id, set()).add(pair.response)
    assert all(len(texts) == 1 and texts <= set(corpus.refusals()) for texts in responses.values())
    assert {text for texts in responses.values() for text in texts} == {corpus.refusals()[0]}


def test_harmless_training_prompts_have_the_models_own_response(built: BuiltPairs, chat: ChatModel) -> None:
    pair = next(pair for pair in built.pairs if pair.role == "utility" and pair.attack_name and pair.response)
    ids = torch.tensor([chat.prompt_tokens(pair.prompt)])
    for _ in range(3):
        ids = torch.cat([ids, chat.model(ids).logits[:, -1:].argmax(-1)], dim=1)
    assert pair.response == chat.tokenizer.decode(ids[0, -3:], skip_special_tokens=True)
    harmless = [pair for pair in built.pairs if pair.role == "utility"]
    assert {pair.split for pair in harmless if pair.response} == {"train"}
    assert {pair.split for pair in harmless if not pair.response} == {"validation", "test"}


@pytest.mark.parametrize("responses", [1, 15, 1000])
def test_some_harmless_training_prompts_have_no_response(responses: int, built: BuiltPairs, chat: ChatModel) -> None:
    made = build_pairs(SMALL.model_copy(update={"responses": responses}), chat)
    assert [pair.id for pair in made.pairs] == [pair.id for pair in built.pairs]
    usual = {pair.id: pair.response for pair in built.pairs}
    harmless = [pair for pair in made.pairs if pair.role == "utility" and pair.split == "train"]
    answered = [pair for pair in harmless if pair.response]
    selected = {pair.id for pair in harmless if pair.selected}
    plain = {pair.id for pair in harmless if not pair.attack_name}
    assert len(answered) == min(max(responses, len(selected)), len(selected | plain))
    assert selected <= {pair.id for pair in answered}
    assert all(pair.response == usual[pair.id] for pair in answered)
    # a wrapped question is compared with the answer to the plain one
    assert {pair.id for pair in answered} <= selected | plain


def test_selected_attacks_are_those_the_ranking_selected(built: BuiltPairs) -> None:
    selected = set(built.ranking.loc[built.ranking["selected"], "attack_name"])
    assert len(selected) == 3
    assert {pair.attack_name for pair in built.pairs if pair.selected} == selected
    held_out = set(SMALL.holdout_attack_categories)
    assert not held_out & set(built.ranking["attack_category"])


def test_no_query_is_in_two_splits(built: BuiltPairs) -> None:
    splits: dict[str, set[str]] = {}
    for pair in built.pairs:
        splits.setdefault(pair.query_id, set()).add(pair.split)
    assert all(len(each) == 1 for each in splits.values())


def test_facts_count_what_is_there(built: BuiltPairs) -> None:
    assert built.facts["pairs"] == len(built.pairs)
    for split, count in Counter(pair.split for pair in built.pairs).items():
        assert built.facts[f"pairs_{split}"] == count
    assert built.facts["rows/shipped_harmful"] == 1620 and built.facts["queries/shipped_harmful"] == 40
    assert built.facts["queries"] == 80
    assert built.facts["boundary_merged_share"] == 0 and built.facts["thinking_none"] == 1
    assert all(isinstance(value, float) for value in built.facts.values())


def test_training_pairs_without_a_response_are_reported_and_left_out(
    chat: ChatModel, built: BuiltPairs, monkeypatch: pytest.MonkeyPatch
) -> None:
    def thinking(chat: ChatModel, completions: list[list[int]]) -> list[str]:
        return ["<think>hm</think> Well.", *(["<think>hm"] * (len(completions) - 1))]

    monkeypatch.setattr(build, "decode", thinking)
    made = build_pairs(SMALL, chat)
    left = [pair for pair in made.pairs if pair.role == "utility" and not pair.response]
    assert left and {pair.split for pair in left} == {"validation", "test"}
    assert [pair.response for pair in made.pairs if pair.role == "utility" and pair.response] == ["Well."]
    empty = made.rejected[made.rejected["reason"].str.contains("response to it is empty")]
    assert len(made.pairs) + len(made.rejected) == len(built.pairs) + len(built.rejected)
    row = empty.iloc[0]
    query = corpus.benign_queries()[row["row"] - 1]
    assert row["source"] == "shipped" and query.id in row["reason"]


def test_public_datasets_are_built_like_the_shipped_one(public: PairsConfig, chat: ChatModel) -> None:
    config = public.model_copy(update={"holdout_attack_categories": ("assumed_responsibility",), "response_tokens": 2})
    made = build_pairs(config, chat)
    responses = {pair.response for pair in made.pairs if pair.source == "safeedit"}
    assert len(responses) == 3 and all(
        text.startswith("I'm sorry, but I can't help with that. (") for text in responses
    )
    pirate = [pair for pair in made.pairs if pair.attack_name == "safeedit_pirate"]
    assert {pair.split for pair in pirate} <= {"test"}
    assert {pair.attack_category for pair in pirate} <= {"assumed_responsibility"}
    assert {"safeedit", "advbench", "alpaca"} <= set(made.sources["name"])
    assert list(made.rejected.columns) == ["source", "row", "reason"]
    summary = summarise_pairs(made.pairs, made.ranking, made.rejected, made.sources, made.facts)
    json.dumps(summary, allow_nan=False)
    text = format_summary(summary)
    assert f"{len(made.rejected)} rows were not used" in text and "safeedit row 8" in text


def test_the_summary_counts_every_pair_in_every_division(built: BuiltPairs) -> None:
    summary = summarise_pairs(built.pairs, built.ranking, built.rejected, built.sources, built.facts)
    json.dumps(summary, allow_nan=False)
    for name, counts in summary["counts"].items():
        assert sum(sum(splits.values()) for splits in counts.values()) == len(built.pairs), name
    assert summary["counts"]["role"]["harmful"]["train"] == sum(
        pair.role == "safety" and pair.split == "train" for pair in built.pairs
    )
    assert summary["counts"]["attack_category"]["sudo_mode"]["train"] == 0
    assert summary["choice"].startswith("Chosen: ")
    assert {kind: len(rows) for kind, rows in summary["examples"].items()} == {
        "harmless, attacked": 3,
        "harmless, held-out attack": 3,
        "harmless, plain": 3,
        "harmful, attacked": 3,
        "harmful, held-out attack": 3,
        "harmful, plain": 3,
    }


def test_an_attack_met_in_validation_alone_is_not_held_out(built: BuiltPairs) -> None:
    met = {pair.attack_category for pair in built.pairs if pair.split == "validation" and pair.attack_name}
    pairs = [pair for pair in built.pairs if pair.split != "train" or pair.attack_category not in met]
    examples = summarise_pairs(pairs, built.ranking, built.rejected, built.sources, built.facts)["examples"]
    splits = {row["split"] for kind, rows in examples.items() if kind.endswith("held-out attack") for row in rows}
    assert met and splits == {"test"}


def shown_attacks(summary: dict[str, Any]) -> list[dict[str, Any]]:
    return [row for row in summary["ranking"] if row["selected"] or row["rank"] <= RANKED]


def test_the_text_of_the_summary_says_it_all(built: BuiltPairs) -> None:
    summary = summarise_pairs(built.pairs, built.ranking, built.rejected, built.sources, built.facts)
    text = format_summary(summary)
    assert text.startswith(f"{len(built.pairs)} pairs of 80 queries")
    for name in ("physical_harm", "borderline/", "pretending", "sudo_mode", summary["choice"], "Every row was used."):
        assert name in text
    for row in shown_attacks(summary):
        assert row["attack_name"] in text
    assert max(len(line) for line in text.split("\n") if not line.startswith("Chosen")) < 160


@pytest.mark.parametrize("width", [60, 80])
def test_the_tables_of_the_summary_fit_and_no_name_is_cut(built: BuiltPairs, width: int) -> None:
    summary = summarise_pairs(built.pairs, built.ranking, built.rejected, built.sources, built.facts)
    table = format_summary(summary, width).partition("Ranking of the attacks")[2].split("\n\n")[1]
    assert max(map(len, table.splitlines())) <= width and table.startswith("type")
    letters = Counter(re.sub(r"\s", "", table))
    for row in shown_attacks(summary):
        letters.subtract(row["attack_name"] + row["attack_category"])
    assert min(letters.values()) >= 0 and "..." not in table


def test_the_summary_of_a_ranking_without_intervals_is_json(built: BuiltPairs) -> None:
    single = built.ranking.assign(low=float("nan"), high=float("nan"), queries=1)
    summary = summarise_pairs(built.pairs, single, built.rejected, built.sources, built.facts)
    assert summary["ranking"][0]["low"] is None
    json.dumps(summary, allow_nan=False)
    assert "one query gives no interval" in format_summary(summary)


def test_a_long_ranking_is_shown_down_to_its_strongest_and_chosen_attacks(built: BuiltPairs) -> None:
    row = built.ranking.iloc[0]
    many = [
        row.to_dict() | {"rank": rank, "attack_name": f"a{rank}z", "selected": rank == 40} for rank in range(1, 301)
    ]
    summary = summarise_pairs(built.pairs, pd.DataFrame(many), built.rejected, built.sources, built.facts)
    assert len(summary["ranking"]) == 300
    text = format_summary(summary)
    assert [name for name in re.findall(r"a\d+z", text)][:6] == ["a1z", "a2z", "a3z", "a4z", "a5z", "a40z"]
    assert "a6z" not in text and "294 weaker attacks are in ranking.parquet." in text


def test_the_summary_is_the_same_after_the_tables_were_stored(built: BuiltPairs, tmp_path: Path) -> None:
    stored = {"ranking": built.ranking, "rejected": built.rejected, "sources": built.sources}
    for name, table in stored.items():
        tables.save_table(tmp_path, name, table)
    tables.save_pairs(tmp_path, built.pairs)
    loaded = [tables.load_table(tmp_path, name) for name in stored]
    summary = summarise_pairs(tables.load_pairs(tmp_path), *loaded, built.facts)
    assert json.loads(json.dumps(summary, allow_nan=False)) == json.loads(
        json.dumps(summarise_pairs(built.pairs, *stored.values(), built.facts), allow_nan=False)
    )
