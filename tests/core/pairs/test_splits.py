"""Splits: near copies together, hold-outs in test, fractions met, the same every time."""

from collections import Counter

import pytest

from neurontune_core.data import corpus
from neurontune_core.data.categories import ATTACK_TYPES
from neurontune_core.data.corpus import Attack, Query
from neurontune_core.data.near_copies import near_copy_groups
from neurontune_core.errors import InputError
from neurontune_core.pairs.prepare import prepare
from neurontune_core.pairs.settings import PairsConfig
from neurontune_core.pairs.splits import assign_splits, check_holdouts, check_splits
from neurontune_core.records import Split

SHIPPED = [*corpus.harmful_queries(), *corpus.benign_queries()]


def query(number: int, text: str, category: str = "physical_harm", role: str = "safety") -> Query:
    return Query(f"q{number}", role, text, category, "s", number)  # type: ignore[arg-type]


def split(queries: list[Query], config: PairsConfig) -> dict[str, Split]:
    return assign_splits(queries, near_copy_groups([each.text for each in queries]), config)


def shares(queries: list[Query], splits: dict[str, Split], role: str) -> dict[str, float]:
    counts = Counter(splits[each.id] for each in queries if each.role == role)
    return {name: counts[name] / counts.total() for name in ("train", "validation", "test")}


@pytest.mark.parametrize(("validation", "test"), [(0.1, 0.25), (0.2, 0.2), (0.05, 0.5)])
@pytest.mark.parametrize("seed", [0, 7])
@pytest.mark.parametrize("role", ["safety", "utility"])
def test_fractions_are_met_within_two_points(validation: float, test: float, seed: int, role: str) -> None:
    config = PairsConfig(validation_fraction=validation, test_fraction=test, seed=seed)
    got = shares(SHIPPED, split(SHIPPED, config), role)
    assert got == pytest.approx({"train": 1 - validation - test, "validation": validation, "test": test}, abs=0.02)


def test_fractions_are_met_with_many_tiny_categories_and_groups_of_copies() -> None:
    copies = [f"what is thing{i // 2} {'like' if i % 2 else 'for'} really{i // 2}" for i in range(600)]
    queries = [query(i, text, f"c{i // 6}") for i, text in enumerate(copies)]
    groups = near_copy_groups([each.text for each in queries])
    assert len(set(groups)) == 300
    got = shares(queries, assign_splits(queries, groups, PairsConfig()), "safety")
    assert got == pytest.approx({"train": 0.65, "validation": 0.1, "test": 0.25}, abs=0.02)


def test_every_category_is_spread_over_the_splits() -> None:
    splits = split(SHIPPED, PairsConfig())
    counts = Counter((each.role, each.category, splits[each.id]) for each in SHIPPED)
    for each in SHIPPED:
        for name in ("train", "validation", "test"):
            assert counts[each.role, each.category, name] >= 2, (each.category, name)


def test_splits_depend_on_the_seed_alone() -> None:
    assert split(SHIPPED, PairsConfig()) == split(SHIPPED, PairsConfig())
    assert split(SHIPPED, PairsConfig()) != split(SHIPPED, PairsConfig(seed=1))


def test_near_copies_of_either_role_are_in_one_split() -> None:
    queries = [
        query(2 * i + j, f"{verb} thing{i} of person{i} in town{i} now", role=role)
        for i in range(60)
        for j, (verb, role) in enumerate([("steal", "safety"), ("paint", "utility")])
    ]
    splits = split(queries, PairsConfig())
    assert set(splits.values()) == {"train", "validation", "test"}
    for one, other in zip(queries[::2], queries[1::2], strict=True):
        assert splits[one.id] == splits[other.id]


def test_parted_near_copies_are_an_error() -> None:
    queries = [query(0, "how do i sell my old bike"), query(1, "how do i sell my old bikes")]
    splits: dict[str, Split] = {"q0": "train", "q1": "test"}
    with pytest.raises(InputError, match="q0 and q1 are near copies in different splits"):
        check_splits(queries, near_copy_groups([each.text for each in queries]), splits)


def test_a_split_without_queries_is_an_error() -> None:
    queries = [query(i, f"text{i} word{i}") for i in range(9)] + [query(9, "one harmless", "c", "utility")]
    with pytest.raises(InputError, match=r"pairs\.benign: no query is left for split 'test'"):
        check_splits(queries, list(range(10)), split(queries, PairsConfig()))


def test_queries_that_are_all_alike_are_said_to_be() -> None:
    queries = [query(i, f"Tell me a story about number {i}") for i in range(9)]
    with pytest.raises(InputError, match=r"no query is left for split 'test' \(its 9 queries are near copies"):
        check_splits(queries, [0] * 9, {f"q{i}": "train" for i in range(9)})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"holdout_attack_categories": ("sudo",)}, r"attack_categories: unknown \['sudo'\]; choose among assumed"),
        ({"holdout_attack_categories": tuple(ATTACK_TYPES)}, "no attack is left to train on"),
        ({"validation_fraction": 0.5, "test_fraction": 0.5}, "leave no training split"),
    ],
)
def test_impossible_holdouts_are_errors(settings: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_holdouts(corpus.attacks(), PairsConfig.model_validate(settings))


def test_attacks_with_a_held_out_category_are_unseen_and_filed_under_it(monkeypatch: pytest.MonkeyPatch) -> None:
    mixed = Attack("mixed", "pretending", "character_role_play", "be {query}", also=("sudo_mode",))
    own = corpus.attacks()
    monkeypatch.setattr(corpus, "attacks", lambda: [*own, mixed])
    prepared = prepare(PairsConfig(holdout_attack_categories=("sudo_mode",)))
    assert "sudo_mode" not in {category for attack in prepared.seen for category in attack.categories}
    assert {attack.category for attack in prepared.unseen} == {"sudo_mode"}
    (filed,) = [attack for attack in prepared.unseen if attack.name == "mixed"]
    assert (filed.type, filed.also) == ("privilege_escalation", ("character_role_play",))
    assert len(prepared.seen) + len(prepared.unseen) == len(own) + 1
