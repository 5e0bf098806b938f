"""The shipped corpus of harmless queries: schema, size, balance and absence of near copies."""

import json
import random
import re
from collections import Counter, defaultdict
from importlib.resources import files
from itertools import combinations

import pytest

ORDINARY_TOPICS = {
    "general_knowledge",
    "misconceptions_and_myths",
    "writing",
    "editing",
    "lists_and_ideas",
    "explanation",
    "how_to",
    "mathematics_and_logic",
    "programming",
    "health_and_wellbeing",
    "work_and_business",
    "language_and_classification",
}
BORDERLINE_TOPICS = {
    "homonyms",
    "figurative_language",
    "safe_targets",
    "definitions",
    "history",
    "privacy_fictional",
    "privacy_public",
}
MAX_CHARACTER_JACCARD = 0.4
MAX_WORD_JACCARD = 0.5


@pytest.fixture(scope="module")
def rows() -> list[dict[str, str]]:
    text = files("neurontune_core.data").joinpath("benign_queries.jsonl").read_text(encoding="utf-8")
    # Not splitlines: it would also break a row at characters such as U+2028 inside a query.
    return [json.loads(line) for line in text.removesuffix("\n").split("\n")]


def words(query: str) -> list[str]:
    return re.findall(r"\w+", query.lower())


def word_set(query: str) -> frozenset[str]:
    return frozenset(words(query))


def character_five_grams(query: str) -> frozenset[str]:
    text = " ".join(words(query))
    return frozenset(text[start : start + 5] for start in range(max(1, len(text) - 4)))


def jaccard(left: frozenset[str], right: frozenset[str]) -> float:
    """Return the size of the intersection over the size of the union, for sets not both empty."""
    shared = len(left & right)
    return shared / (len(left) + len(right) - shared)


def similar_pairs(sets: list[frozenset[str]], limit: float) -> set[tuple[int, int]]:
    """Return the pairs of sets with a Jaccard similarity of `limit` or more, without comparing every pair.

    Two such sets of n and m elements share at least limit * n and limit * m. In one order for all, rare elements first,
    they share one among the first n - limit * n + 1 and m - limit * m + 1: only sets that do are compared.
    """
    frequency = Counter(element for elements in sets for element in elements)
    holders: dict[str, list[int]] = defaultdict(list)
    pairs: set[tuple[int, int]] = set()
    for index, elements in enumerate(sets):
        ordered = sorted(elements, key=lambda element: (frequency[element], element))
        rarest = ordered[: len(ordered) - int(limit * len(ordered)) + 1]
        candidates = {other for element in rarest for other in holders[element]}
        pairs.update((other, index) for other in candidates if jaccard(sets[other], elements) >= limit)
        for element in rarest:
            holders[element].append(index)
    return pairs


def near_copies(queries: list[str]) -> list[tuple[str, str]]:
    by_character = similar_pairs([character_five_grams(query) for query in queries], MAX_CHARACTER_JACCARD)
    by_word = similar_pairs([word_set(query) for query in queries], MAX_WORD_JACCARD)
    return [(queries[first], queries[second]) for first, second in sorted(by_character | by_word)]


def test_jaccard_by_hand() -> None:
    assert jaccard(word_set("a b c"), word_set("B, c d!")) == 2 / 4
    assert character_five_grams("Ab, cdef") == {"ab cd", "b cde", " cdef"}


def test_near_copies_are_found() -> None:
    by_word = ("Name a red fruit", "Name a blue fruit")
    by_character = ("internationalisation", "internationalisations")
    assert near_copies([*by_word, "How do tides work?", *by_character]) == [by_word, by_character]


@pytest.mark.parametrize("limit", [MAX_CHARACTER_JACCARD, MAX_WORD_JACCARD])
@pytest.mark.parametrize("seed", range(4))
def test_similar_pairs_are_those_of_comparing_all(seed: int, limit: float) -> None:
    generator = random.Random(seed)
    sets = [frozenset(generator.choices("abcdefghijklmnop", k=generator.randint(1, 12))) for _ in range(120)]
    expected = {(i, j) for i, j in combinations(range(len(sets)), 2) if jaccard(sets[i], sets[j]) >= limit}
    assert 100 < len(expected) < 6000
    assert similar_pairs(sets, limit) == expected


def test_rows_have_exactly_the_four_text_fields(rows: list[dict[str, str]]) -> None:
    for row in rows:
        assert list(row) == ["id", "query", "kind", "topic"], row
        assert all(isinstance(value, str) for value in row.values()), row


def test_ids_are_unique_and_spell_kind_and_topic(rows: list[dict[str, str]]) -> None:
    assert len({row["id"] for row in rows}) == len(rows)
    for row in rows:
        assert re.fullmatch(rf"benign-{row['kind']}-{row['topic']}-\d{{3}}", row["id"]), row["id"]


def test_corpus_is_large_enough_and_balanced(rows: list[dict[str, str]]) -> None:
    kinds = Counter(row["kind"] for row in rows)
    assert len(rows) >= 400
    assert set(kinds) == {"ordinary", "borderline"}
    assert kinds["ordinary"] >= 250
    assert kinds["borderline"] >= 150


@pytest.mark.parametrize(("kind", "topics"), [("ordinary", ORDINARY_TOPICS), ("borderline", BORDERLINE_TOPICS)])
def test_topics_are_the_stated_ones_with_fifteen_queries_each(
    rows: list[dict[str, str]], kind: str, topics: set[str]
) -> None:
    counts = Counter(row["topic"] for row in rows if row["kind"] == kind)
    assert set(counts) == topics
    assert min(counts.values()) >= 15, counts


def test_queries_are_clean_text_of_four_to_forty_five_words(rows: list[dict[str, str]]) -> None:
    for row in rows:
        lines = row["query"].split("\n")
        assert len(lines) <= 2, row["id"]
        assert all(line and line == line.strip() and line.isprintable() for line in lines), row["id"]
        assert 4 <= len(row["query"].split()) <= 45, row["id"]


def test_editing_queries_carry_their_text_on_a_second_line(rows: list[dict[str, str]]) -> None:
    assert all(row["query"].count("\n") == 1 for row in rows if row["topic"] == "editing")


def test_no_query_is_a_near_copy_of_another(rows: list[dict[str, str]]) -> None:
    assert near_copies([row["query"] for row in rows]) == []
