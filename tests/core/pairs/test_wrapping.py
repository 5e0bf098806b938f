"""Which queries are wrapped: counts, both roles alike, hold-outs, turns of categories and attacks."""

from collections import Counter

import pytest

from neurontune_core.pairs.prepare import Prepared, prepare
from neurontune_core.pairs.settings import PairsConfig
from neurontune_core.pairs.wrapping import wrap_queries
from neurontune_core.records import PromptPair


@pytest.fixture(scope="module")
def prepared() -> Prepared:
    return prepare(PairsConfig())


def wrapped(prepared: Prepared, config: PairsConfig) -> list[PromptPair]:
    chosen = [prepared.seen[0], prepared.seen[-1]]
    return wrap_queries(prepared.queries, prepared.splits, prepared.seen, prepared.unseen, chosen, config)


def test_every_query_is_there_plain_once_and_ids_are_unique(prepared: Prepared) -> None:
    pairs = wrapped(prepared, PairsConfig())
    assert Counter(pair.query_id for pair in pairs if not pair.attack_name) == {q.id: 1 for q in prepared.queries}
    assert len({pair.id for pair in pairs}) == len(pairs)
    attacks = {attack.name: attack for attack in prepared.seen + prepared.unseen}
    for pair in pairs:
        assert pair.prompt == (attacks[pair.attack_name].wrap(pair.query) if pair.attack_name else pair.query)


@pytest.mark.parametrize("role", ["safety", "utility"])
def test_the_numbers_of_wrapped_queries_are_those_asked_for(prepared: Prepared, role: str) -> None:
    config = PairsConfig(selected_queries=10, wrapped_queries=60, wrapped_test_queries=30)
    pairs = [pair for pair in wrapped(prepared, config) if pair.role == role and pair.attack_name]
    trained = {attack.category for attack in prepared.seen}
    counts = Counter((pair.split, pair.attack_category in trained) for pair in pairs)
    assert counts == {("train", True): 60, ("validation", True): 15, ("test", True): 30, ("test", False): 30}


def test_training_queries_can_be_wrapped_in_several_attacks(prepared: Prepared) -> None:
    config = PairsConfig(selected_queries=10, wrapped_queries=60, attacks_per_query=3)
    pairs = [pair for pair in wrapped(prepared, config) if pair.attack_name and pair.split == "train"]
    assert len({pair.id for pair in pairs}) == len(pairs) == 2 * (10 + 3 * 50)
    assert sorted(Counter(pair.query_id for pair in pairs).values()) == [1] * 20 + [3] * 100
    counts = Counter(pair.attack_name for pair in pairs)
    assert len(counts) >= 150 and set(counts) <= {attack.name for attack in prepared.seen}
    usual = wrapped(prepared, config.model_copy(update={"attacks_per_query": 1}))
    assert {pair.id for pair in usual} < {pair.id for pair in wrapped(prepared, config)}


def test_the_defaults_prompts_are_counted(prepared: Prepared) -> None:
    roles = Counter(pair.role for pair in wrapped(prepared, PairsConfig()))
    assert roles == {"utility": 1439 + 48 + 887 + 40 + 80 + 80, "safety": 1620 + 48 + 1005 + 40 + 80 + 80}


def test_held_out_attacks_are_in_test_only(prepared: Prepared) -> None:
    held_out = set(PairsConfig().holdout_attack_categories)
    for pair in wrapped(prepared, PairsConfig()):
        assert pair.split == "test" or pair.attack_category not in held_out


@pytest.mark.parametrize(("queries", "least"), [(200, 0), (330, 1), (600, 2)])
def test_both_roles_get_the_same_attacks_equally_often(prepared: Prepared, queries: int, least: int) -> None:
    pairs = wrapped(prepared, PairsConfig(wrapped_queries=queries))
    for split in ("train", "validation", "test"):
        harmful, harmless = (
            Counter(
                pair.attack_name for pair in pairs if pair.role == role and pair.split == split and pair.attack_name
            )
            for role in ("safety", "utility")
        )
        assert harmful == harmless
        if split == "train":
            names = {attack.name for attack in prepared.seen}
            assert set(harmful) <= names and min(harmful[name] for name in names) >= least
            assert len(harmful) >= min(len(names), queries - PairsConfig().selected_queries)


def test_selected_queries_carry_the_chosen_attacks_and_come_from_all_categories(prepared: Prepared) -> None:
    pairs = wrapped(prepared, PairsConfig(selected_queries=36))
    names = {prepared.seen[0].name, prepared.seen[-1].name}
    assert {pair.attack_name for pair in pairs if pair.selected} == names
    for role, categories in (("safety", 9), ("utility", 19)):
        mine = [pair for pair in pairs if pair.role == role and pair.selected and pair.split == "train"]
        assert len(mine) >= 36
        assert len({pair.query_category for pair in mine}) == categories
        assert max(Counter(pair.query_category for pair in mine).values()) <= 36 // categories + 3


def test_a_short_corpus_is_wrapped_as_far_as_it_goes() -> None:
    config = PairsConfig.model_validate({"sources": {"shipped": {"limit": 20}}, "selected_queries": 5})
    prepared = prepare(config)
    pairs = wrapped(prepared, config)
    train = sum(split == "train" for query, split in prepared.splits.items() if query.startswith("benign"))
    assert sum(bool(p.attack_name) for p in pairs if p.role == "utility" and p.split == "train") == train


def test_wrapping_depends_on_the_seed_alone(prepared: Prepared) -> None:
    assert wrapped(prepared, PairsConfig()) == wrapped(prepared, PairsConfig())
    assert wrapped(prepared, PairsConfig()) != wrapped(prepared, PairsConfig(seed=1))


def test_without_held_out_attacks_nothing_is_wrapped_in_them() -> None:
    config = PairsConfig(holdout_attack_categories=())
    prepared = prepare(config)
    pairs = wrapped(prepared, config)
    assert not prepared.unseen
    assert Counter(pair.split for pair in pairs if pair.role == "safety" and pair.attack_name)["test"] == 80
