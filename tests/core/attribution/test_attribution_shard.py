"""The stage: which pairs, which sums, which facts."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from attribution_cases import float64_throughout, in_own_units, prompt_pair, tiny_chat

from neurontune_core.attribution import engine as engines
from neurontune_core.attribution import setup
from neurontune_core.attribution.completeness import WANTED_GAP, completeness_facts, completeness_rows
from neurontune_core.attribution.encode import encode_pair
from neurontune_core.attribution.pair_scores import PairScores
from neurontune_core.attribution.settings import AttributionConfig, first_layer
from neurontune_core.attribution.shard import CHECKED_PAIRS, attribute_shard, choose_pairs, facts_over_shards, in_shard
from neurontune_core.attribution.table import COLUMNS, half_of
from neurontune_core.errors import InputError, NumericalError
from neurontune_core.model.load import ChatModel

KEYS = ["role", "attack_category", "layer", "neuron", "half"]
FEW = [prompt_pair(number, role, attack) for role in ("safety", "utility") for attack in "ab" for number in range(3)]


@pytest.fixture(scope="module")
def chat() -> ChatModel:
    return tiny_chat("llama", torch.float32, layers=2)


def many_pairs():
    return [
        prompt_pair(number, role, attack)
        for role in ("safety", "utility")
        for attack, count in (("a", 9), ("b", 2), ("c", 9))
        for number in range(count)
    ]


def test_choice_is_balanced_over_roles_and_attacks():
    chosen = choose_pairs(many_pairs(), AttributionConfig(pairs_per_role=8))
    counts = Counter((pair.role, pair.attack_name) for pair in chosen)
    assert counts == {
        (role, attack): n for role in ("safety", "utility") for attack, n in (("a", 3), ("b", 2), ("c", 3))
    }


def test_choice_does_not_depend_on_the_order_of_the_pairs():
    pairs, config = many_pairs(), AttributionConfig(pairs_per_role=8)
    shuffled = [pairs[place] for place in np.random.default_rng(0).permutation(len(pairs))]
    assert choose_pairs(pairs, config) == choose_pairs(shuffled, config)


def test_choice_takes_only_training_pairs_under_selected_attacks():
    others = [
        prompt_pair(50, split="test"), prompt_pair(51, split="validation"), prompt_pair(52, selected=False),
        prompt_pair(53, attack_name=""),
    ]  # fmt: skip
    wanted = [prompt_pair(0), prompt_pair(1, "utility")]
    assert choose_pairs([*others, *wanted], AttributionConfig()) == wanted


def test_choice_takes_all_pairs_if_there_are_fewer_and_refuses_none():
    assert len(choose_pairs(many_pairs(), AttributionConfig(pairs_per_role=1000))) == 40
    with pytest.raises(InputError, match="role 'utility'"):
        choose_pairs([prompt_pair(0)], AttributionConfig())


def test_choice_prefers_own_refusals_and_attacks_take_turns():
    pairs = [
        replace(pair, own_refusal="I won't.") if pair.role == "safety" and place % 2 else pair
        for place, pair in enumerate(many_pairs())
    ]
    chosen = choose_pairs(pairs, AttributionConfig(pairs_per_role=5))
    safety = [pair for pair in chosen if pair.role == "safety"]
    assert all(pair.own_refusal for pair in safety)
    assert Counter(pair.attack_name for pair in safety) == {"a": 2, "b": 1, "c": 2}
    assert Counter(pair.role for pair in choose_pairs(pairs, AttributionConfig(pairs_per_role=1000))) == {
        "safety": sum(bool(pair.own_refusal) for pair in pairs), "utility": 20,
    }  # fmt: skip
    unused = [replace(pair, split="test", own_refusal="I won't.") for pair in many_pairs()]
    config = AttributionConfig(pairs_per_role=8)
    assert choose_pairs([*many_pairs(), *unused], config) == choose_pairs(many_pairs(), config)


def test_an_own_refusal_is_attributed_in_place_of_the_trained_one(chat):
    pair = prompt_pair(0)
    own = encode_pair(replace(pair, own_refusal="I will not."), chat, 6)
    assert own.response == encode_pair(replace(pair, response="I will not."), chat, 6).response
    assert own.response != encode_pair(pair, chat, 6).response and own.prompt == encode_pair(pair, chat, 6).prompt


def test_shards_divide_the_choice_and_each_has_both_roles():
    chosen = choose_pairs(many_pairs(), AttributionConfig(pairs_per_role=8))
    shards = [in_shard(chosen, shard, 4) for shard in range(4)]
    assert sorted(pair.id for shard in shards for pair in shard) == sorted(pair.id for pair in chosen)
    assert all(Counter(pair.role for pair in shard) == {"safety": 2, "utility": 2} for shard in shards)
    with pytest.raises(InputError, match="0 to 3"):
        in_shard(chosen, 4, 4)


@pytest.mark.parametrize("normalise", [True, False])
def test_table_holds_the_sums_of_the_pairs_scores(normalise, chat):
    config = AttributionConfig(normalise=normalise)
    table = attribute_shard(FEW, config, chat).table
    assert tuple(table.columns) == COLUMNS
    assert not table.duplicated(KEYS).any()
    engine = setup.build_engine(config, chat)
    for (role, category, half), rows in table.groupby(["role", "attack_category", "half"]):
        group = [p for p in FEW if (p.role, p.attack_category, half_of(p.id)) == (role, category, half)]
        scores = []
        for pair in group:
            encoded = encode_pair(pair, chat, config.response_tokens)
            each = in_own_units(engines.attribute(engine, [encoded], wanted_gap=WANTED_GAP)[0])
            scores.append(each / each.norm() if normalise else each)
        total = torch.stack(scores)
        assert (rows["count"] == len(group)).all() and len(group) > 0
        places = rows["layer"].to_numpy() * 48 + rows["neuron"].to_numpy()
        np.testing.assert_allclose(rows["score_sum"], total.sum(0)[places], rtol=1e-5, atol=1e-12 if normalise else 0)
        np.testing.assert_allclose(rows["score_sq_sum"], total.square().sum(0)[places], rtol=1e-5)


def test_layers_below_the_first_are_left_alone_and_change_nothing_above(chat):
    whole = attribute_shard(FEW, AttributionConfig(normalise=False), chat).table
    upper = attribute_shard(FEW, AttributionConfig(normalise=False, first_layer=1), chat)
    expected = whole[whole["layer"] >= 1].reset_index(drop=True)
    assert 0 < len(expected) < len(whole) and set(upper.completeness["layer"]) == set(expected["layer"])
    pd.testing.assert_frame_equal(upper.table, expected, rtol=1e-4)


@pytest.mark.parametrize(
    ("value", "layers", "expected"), [(0, 5, 0), (3, 5, 3), (0.4, 30, 12), (0.4, 24, 9), (0.99, 2, 1), (2.0, 5, 2)]
)
def test_the_first_layer_is_a_layer_or_a_fraction(value, layers, expected):
    assert first_layer(AttributionConfig(first_layer=value), layers) == expected


def test_a_first_layer_of_one_and_a_half_is_explained():
    with pytest.raises(InputError, match=r"attribution\.first_layer: 1\.5 is neither a layer nor a fraction below 1"):
        first_layer(AttributionConfig(first_layer=1.5), 9)


def test_a_first_layer_the_model_does_not_have_is_explained(chat):
    with pytest.raises(InputError, match=r"attribution\.first_layer: 99, but the model has 2 layers; choose at most 1"):
        setup.build_engine(AttributionConfig(first_layer=99), chat)


def test_tables_of_shards_add_up_to_the_table_of_the_whole(chat):
    config = AttributionConfig()
    whole = attribute_shard(FEW, config, chat).table.set_index(KEYS).sort_index()
    parts = pd.concat([attribute_shard(in_shard(FEW, shard, 5), config, chat).table for shard in range(5)])
    merged = parts.groupby(KEYS).sum()
    pd.testing.assert_frame_equal(merged, whole, rtol=1e-9)


def test_half_is_a_property_of_the_id_alone():
    halves = [half_of(f"pair {number}") for number in range(1000)]
    assert 400 < sum(halves) < 600
    assert half_of("pair 1") == half_of("pair 1")


def test_facts_and_progress(chat):
    seen = []

    def track(items, description, total):
        for item in items:
            seen.append((description, total))
            yield item

    shard = attribute_shard(FEW, AttributionConfig(), chat, track=track)
    assert seen == [("attributing", len(FEW))] * len(FEW)
    assert shard.facts["pairs"] == 12 and shard.facts["pairs_safety"] == shard.facts["pairs_utility"] == 6
    assert shard.facts["completeness_pairs"] == 2 * CHECKED_PAIRS
    assert shard.facts["seconds_per_pair"] > 0
    assert all(type(value) is float and np.isfinite(value) for value in shard.facts.values())
    assert len(shard.completeness) == 2 * CHECKED_PAIRS * 2


def test_an_empty_shard_has_an_empty_table(chat):
    shard = attribute_shard([], AttributionConfig(), chat)
    assert tuple(shard.table.columns) == COLUMNS and len(shard.table) == 0
    assert shard.facts["pairs"] == 0


def test_completeness_at_the_default_nodes_on_a_smooth_model():
    chat = tiny_chat("llama", torch.float32)
    for parameter in chat.model.parameters():
        parameter.mul_(0.3 if parameter.dim() > 1 else 1.0)
    shard = attribute_shard(FEW, AttributionConfig(), chat)
    assert shard.facts["completeness_gap_max"] < 1e-3
    assert (shard.completeness["difference"].abs() > 0).all()


def test_completeness_gap_is_relative_to_the_difference_or_a_hundredth_of_the_largest():
    result = PairScores(
        "p",
        torch.zeros(1),
        0.0,
        1,
        (0, 1, 2),
        torch.tensor([1.0001, 0.0020, 0.0]).double(),
        torch.tensor([1.0, 0.0010, 0.0]).double(),
    )
    rows = completeness_rows(prompt_pair(0), result)
    np.testing.assert_allclose(rows["relative_gap"], [0.0001, 0.001 / 0.01, 0.0], rtol=1e-3)
    facts = completeness_facts(rows)
    assert facts["completeness_gap_max"] == pytest.approx(0.1)
    assert facts["completeness_share_within"] == pytest.approx(2 / 3)


def test_a_broken_integral_shows_in_the_gap():
    with float64_throughout():
        chat = tiny_chat("llama", layers=2)
        engine = setup.build_engine(AttributionConfig(nodes=16), chat)
        pair = encode_pair(FEW[0], chat, 12)

        def largest_gap(engine):
            (result,) = engines.attribute(engine, [pair], with_difference=True)
            return completeness_rows(FEW[0], result)["relative_gap"].max()

        assert largest_gap(engine) < 0.01
        assert largest_gap(replace(engine, weights=tuple(1.1 * weight for weight in engine.weights))) > 0.09


def test_nan_scores_stop_the_shard_and_name_the_pair():
    chat = tiny_chat("llama", torch.float32, layers=2)
    (tilde,) = chat.tokenizer("~")["input_ids"]
    chat.model.lm_head.weight = torch.nn.Parameter(chat.model.lm_head.weight.clone(), requires_grad=False)
    chat.model.model.embed_tokens.weight[tilde] = torch.nan
    pairs = [prompt_pair(0), prompt_pair(1, response="I am ~ sorry.")]
    with pytest.raises(NumericalError, match="pair safety-actor-1 gave NaN"):
        attribute_shard(pairs, AttributionConfig(), chat)


def test_a_pair_without_response_is_named(chat):
    with pytest.raises(InputError, match="safety-actor-3: its response has no token"):
        attribute_shard([prompt_pair(3, response="")], AttributionConfig(), chat)


def test_facts_of_all_shards_are_maxima_sums_and_means_over_pairs() -> None:
    shards = [
        {"pairs": 3.0, "waves_per_pair": 2.0, "completeness_pairs": 1.0, "completeness_gap_mean": 0.4,
         "completeness_gap_max": 0.4, "memory_halvings": 1.0},
        {"pairs": 1.0, "waves_per_pair": 6.0, "completeness_pairs": 3.0, "completeness_gap_mean": 0.0,
         "completeness_gap_max": 0.1, "memory_halvings": 0.0},
        {"pairs": 0.0, "waves_per_pair": 0.0, "completeness_pairs": 0.0},
    ]  # fmt: skip
    assert facts_over_shards(shards) == pytest.approx(
        {
            "shards": 3.0,
            "pairs": 4.0,
            "waves_per_pair": 3.0,
            "completeness_pairs": 4.0,
            "completeness_gap_mean": 0.1,
            "completeness_gap_max": 0.4,
            "memory_halvings": 1.0,
        }
    )
    assert facts_over_shards([]) == {"shards": 0.0}
