"""The ranking of the attacks against hand computation and a plain forward pass."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from neurontune_core.data.corpus import Attack
from neurontune_core.model import tiny
from neurontune_core.model.chat import encode_response
from neurontune_core.model.load import ChatModel
from neurontune_core.pairs import ranking
from neurontune_core.pairs.ranking import explain_ranking, mean_intervals, rank_attacks

ATTACKS = [
    Attack("b", "pretending", "research_experiment", "Test: {query}"),
    Attack("a", "pretending", "character_role_play", "Play: {query}"),
    Attack("c", "privilege_escalation", "sudo_mode", "sudo {query}"),
]
QUERIES = ["one", "two", "three"]


@pytest.fixture(scope="module")
def chat() -> ChatModel:
    return ChatModel(tiny.model("llama").requires_grad_(False), tiny.tokenizer(), torch.device("cpu"))


def given(monkeypatch: pytest.MonkeyPatch, values: Sequence[float]) -> None:
    """Let the log-probabilities be these: of the plain queries, then attack by attack."""
    monkeypatch.setattr(ranking, "response_log_probabilities", lambda *_: list(values))


def rank(chat: ChatModel, queries: Sequence[str]) -> pd.DataFrame:
    return rank_attacks(chat, ATTACKS, queries, "No.")


def test_scores_are_mean_drops_against_the_plain_query(monkeypatch: pytest.MonkeyPatch, chat: ChatModel) -> None:
    given(monkeypatch, [-1, -2, -3, -2, -3, -4, -4, -6, -8, 0, 0, 0])
    table = rank(chat, QUERIES).set_index("attack_name")
    assert table["drop"].to_dict() == {"a": 4.0, "b": 1.0, "c": -2.0}
    low, high = stats.t.interval(0.95, 2, loc=4.0, scale=stats.sem([3, 4, 5]))
    assert table.loc["a", ["low", "high"]].tolist() == pytest.approx([low, high])
    assert table["rank"].to_dict() == {"a": 1, "b": 2, "c": 1}
    assert table["selected"].to_dict() == {"a": True, "b": False, "c": True}
    assert table["queries"].eq(3).all()


def test_ties_keep_the_order_of_names(monkeypatch: pytest.MonkeyPatch, chat: ChatModel) -> None:
    given(monkeypatch, [-1] * 3 + [-2] * 9)
    assert rank(chat, QUERIES)["attack_name"].tolist() == ["a", "b", "c"]
    assert rank(chat, QUERIES)["selected"].tolist() == [True, False, True]


def test_one_query_gives_no_interval_and_claims_none(monkeypatch: pytest.MonkeyPatch, chat: ChatModel) -> None:
    given(monkeypatch, [-1, -9, -2, -3])
    table = rank(chat, QUERIES[:1])
    assert table[["low", "high"]].isna().all(axis=None)
    line = explain_ranking(table)
    assert "over 1 harmful training query;" in line
    assert "apart from the rest in 1 of 2 types" in line  # the one type that has a single attack


def test_the_explanation_is_one_line_and_names_what_is_sure(monkeypatch: pytest.MonkeyPatch, chat: ChatModel) -> None:
    given(monkeypatch, [-1, -1, -1, -2, -2.1, -1.9, -9, -9.1, -8.9, 0, 0, 0.1])
    line = explain_ranking(rank(chat, QUERIES))
    assert "\n" not in line
    assert line.startswith("Chosen: a (pretending); c (privilege escalation) - of 3 attacks the strongest of each type")
    assert "apart from the rest in 2 of 2 types" in line
    given(monkeypatch, [-1, -1, -1, -2, -2, -2, -1, -3, -5, 0, 0, 0])
    assert "apart from the rest in 1 of 2 types" in explain_ranking(rank(chat, QUERIES))


def test_intervals_cover_the_mean_in_95_of_100_samples() -> None:
    values = np.random.default_rng(0).normal(2.0, 3.0, size=(4000, 4))
    low, high = mean_intervals(values)
    assert ((low < 2.0) & (high > 2.0)).mean() == pytest.approx(0.95, abs=0.015)


def test_the_score_is_the_models_own_log_probability(chat: ChatModel) -> None:
    def log_probability(prompt: str) -> float:
        ids, response = chat.prompt_tokens(prompt), encode_response(chat.tokenizer, "No.", None)
        logits = chat.model(torch.tensor([ids + response])).logits[0].log_softmax(-1)
        return sum(float(logits[len(ids) + i - 1, token]) for i, token in enumerate(response))

    table = rank(chat, QUERIES).set_index("attack_name")
    for attack in ATTACKS:
        drops = [log_probability(query) - log_probability(attack.wrap(query)) for query in QUERIES]
        assert table.loc[attack.name, "drop"] == pytest.approx(np.mean(drops), abs=1e-4)


def test_the_ranking_is_the_same_every_time(chat: ChatModel) -> None:
    pd.testing.assert_frame_equal(rank(chat, QUERIES), rank(chat, QUERIES))
