"""Schema of the shipped harmful queries, attack wrappers and refusals."""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable
from importlib.resources import files
from itertools import chain

import pytest

from neurontune_core.data.categories import ATTACK_TYPES, UNSAFETY

Row = dict[str, str]
Features = Callable[[str], frozenset[str]]

REFUSAL_OPENING = "Sorry, but I can't "


def read_rows(name: str) -> list[Row]:
    text = (files("neurontune_core.data") / name).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture(scope="module")
def harmful() -> list[Row]:
    return read_rows("harmful_queries.jsonl")


@pytest.fixture(scope="module")
def attacks() -> list[Row]:
    return read_rows("attacks.jsonl")


@pytest.fixture(scope="module")
def refusals() -> list[Row]:
    return read_rows("refusals.jsonl")


def character_grams(text: str, size: int = 5) -> frozenset[str]:
    text = text.lower()
    return frozenset(text[start : start + size] for start in range(len(text) - size + 1))


def word_set(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"[\w']+", text.lower()))


NEAR_COPY_RULES: list[tuple[Features, float]] = [(character_grams, 0.4), (word_set, 0.5)]


def near_copies(texts: list[str], features: Features, limit: float) -> list[tuple[str, str]]:
    """Pairs of texts whose feature sets have a Jaccard similarity of `limit` or more: only texts that share are met."""
    sets = [features(text) for text in texts]
    holders: defaultdict[str, list[int]] = defaultdict(list)
    pairs: list[tuple[int, int]] = []
    for index, own in enumerate(sets):
        common = Counter(chain.from_iterable(holders[feature] for feature in own))
        pairs += [(i, index) for i, n in common.items() if n >= limit * (len(sets[i]) + len(own) - n)]
        for feature in own:
            holders[feature].append(index)
    return [(texts[a], texts[b]) for a, b in sorted(pairs)]


def assert_clean(text: str) -> None:
    assert text == text.strip(), f"leading or trailing blank: {text!r}"
    assert text.replace("\n", "").isprintable(), f"unprintable character: {text!r}"


def test_harmful_rows_have_the_schema(harmful: list[Row]) -> None:
    for row in harmful:
        assert list(row) == ["id", "query", "category"]
        assert re.fullmatch(rf"harmful-{row['category']}-\d{{3}}", row["id"])
        assert 5 <= len(row["query"].split()) <= 40, row
        assert "\n" not in row["query"] and not set("{}") & set(row["query"]), row
        assert_clean(row["query"])
    assert len({row["id"] for row in harmful}) == len(harmful)


def test_harmful_categories_are_complete_and_filled(harmful: list[Row]) -> None:
    counts = Counter(row["category"] for row in harmful)
    assert set(counts) == set(UNSAFETY)
    assert min(counts.values()) >= 30
    assert counts.total() >= 270


def test_attack_rows_have_the_schema(attacks: list[Row]) -> None:
    for row in attacks:
        assert list(row) == ["name", "type", "category", "template"]
        assert re.fullmatch(r"[a-z0-9]+(_[a-z0-9]+)*", row["name"])
        assert row["type"] == ATTACK_TYPES[row["category"]], row["name"]
        assert re.findall(r"\{[^{}]*\}|[{}]", row["template"]) == ["{query}"], row["name"]
        assert 25 <= len(row["template"].replace("{query}", "").split()) <= 120, row["name"]
        assert_clean(row["template"])
    assert len({row["name"] for row in attacks}) == len(attacks)


def test_attack_categories_are_complete_and_filled(attacks: list[Row]) -> None:
    counts = Counter(row["category"] for row in attacks)
    assert set(counts) == set(ATTACK_TYPES)
    assert min(counts.values()) >= 4
    assert counts.total() >= 40


def test_attacks_vary_where_the_query_stands(attacks: list[Row]) -> None:
    for category in ATTACK_TYPES:
        templates = [row["template"] for row in attacks if row["category"] == category]
        at_the_end = sum(template.endswith(("{query}", '{query}"')) for template in templates)
        assert 0 < at_the_end < len(templates), category


@pytest.mark.parametrize(("features", "limit"), NEAR_COPY_RULES)
def test_harmful_queries_hold_no_near_copies(harmful: list[Row], features: Features, limit: float) -> None:
    assert near_copies([row["query"] for row in harmful], features, limit) == []


@pytest.mark.parametrize(("features", "limit"), NEAR_COPY_RULES)
def test_attacks_hold_no_near_copies(attacks: list[Row], features: Features, limit: float) -> None:
    assert near_copies([row["template"] for row in attacks], features, limit) == []


@pytest.mark.parametrize(("features", "limit"), NEAR_COPY_RULES)
def test_near_copy_rule_finds_a_swapped_word(features: Features, limit: float) -> None:
    texts = ["How do I pick a lock on a door?", "How do I pick a lock on a safe?", "Who was Ada Lovelace?"]
    assert near_copies(texts, features, limit) == [(texts[0], texts[1])]


def test_refusals_are_short_and_open_alike(refusals: list[Row]) -> None:
    assert len(refusals) == 12
    for number, row in enumerate(refusals, start=1):
        assert list(row) == ["id", "text"]
        assert row["id"] == f"refusal-{number:02d}"
        assert 8 <= len(row["text"].split()) <= 25, row
        assert row["text"].startswith(REFUSAL_OPENING), row
        assert row["text"][-1] in ".?!" and len(re.findall(r"[.?!]", row["text"])) <= 2, row
        assert_clean(row["text"])
    assert len({row["text"] for row in refusals}) == len(refusals)
