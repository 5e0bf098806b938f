"""What neurons are ranked by: signs, statistics, intervals."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from neurontune_core.attribution.settings import AttributionMethod
from neurontune_core.errors import InputError
from neurontune_core.records import NeuronId, Role
from neurontune_core.selection.controls import matched_random
from neurontune_core.selection.ranking import rank
from neurontune_core.selection.select import select_neurons
from neurontune_core.selection.settings import SelectionConfig

WIDTHS = (3, 0, 2)
PLACES = [(0, 0), (0, 1), (0, 2), (2, 0), (2, 1)]


def sums(role: str, each: np.ndarray, half: int = 0) -> pd.DataFrame:
    """Score table of pairs `[pair, neuron]`."""
    layers, neurons = zip(*PLACES, strict=True)
    return pd.DataFrame(
        {"role": role, "attack_category": "a", "layer": layers, "neuron": neurons, "half": half}
        | {"score_sum": each.sum(0), "score_sq_sum": (each**2).sum(0), "count": len(each)}
    )


@pytest.fixture
def pairs() -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    return {"safety": generator.normal(size=(6, 5)) - 0.5, "utility": generator.normal(size=(9, 5)) + 0.5}


def both(pairs: dict[str, np.ndarray]) -> pd.DataFrame:
    return pd.concat([sums(role, each[half::2], half) for role, each in pairs.items() for half in (0, 1)])


def strengths(scores: pd.DataFrame, role: Role, method: AttributionMethod = "gradient", **settings: str) -> np.ndarray:
    return rank(scores, role, SelectionConfig.model_validate(settings), WIDTHS, method).strength


def test_every_statistic_against_scipy(pairs: dict[str, np.ndarray]) -> None:
    safety, utility = pairs["safety"], pairs["utility"]
    scores = both(pairs)
    np.testing.assert_allclose(strengths(scores, "safety", statistic="mean"), safety.mean(0))
    t = stats.ttest_1samp(safety, 0).statistic
    np.testing.assert_allclose(strengths(scores, "safety", statistic="t"), t)
    difference = safety.mean(0) - utility.mean(0)
    np.testing.assert_allclose(strengths(scores, "safety", statistic="difference"), difference)
    np.testing.assert_allclose(strengths(scores, "utility", statistic="difference"), -difference)
    pooled = np.sqrt((safety.var(0, ddof=1) + utility.var(0, ddof=1)) / 2)
    np.testing.assert_allclose(strengths(scores, "safety", statistic="effect_size"), difference / pooled)


def test_the_interval_is_that_of_the_mean_over_pairs(pairs: dict[str, np.ndarray]) -> None:
    found = rank(both(pairs), "safety", SelectionConfig(), WIDTHS)
    low, high = stats.t.interval(0.95, 5, pairs["safety"].mean(0), stats.sem(pairs["safety"]))
    np.testing.assert_allclose(-found.score - found.margin, low)
    np.testing.assert_allclose(-found.score + found.margin, high)


@pytest.mark.parametrize("statistic", ["mean", "t", "difference", "effect_size"])
def test_neurons_that_oppose_are_those_that_carry_least(statistic: str, pairs: dict[str, np.ndarray]) -> None:
    scores = both(pairs)
    for role, setting in (("safety", "safety_set"), ("utility", "utility_set")):
        what = "refusal" if role == "safety" else "answers"
        carries, opposes = (
            strengths(scores, role, statistic=statistic, **{setting: f"{verb}_{what}"})  # type: ignore[arg-type]
            for verb in ("carries", "opposes")
        )
        np.testing.assert_allclose(carries, -opposes)


@pytest.mark.parametrize("statistic", ["mean", "t", "difference", "effect_size"])
@pytest.mark.parametrize("method", ["gradient", "integrated_gradients", "activation"])
def test_utility_neurons_that_oppose_refusal_are_ranked_by_safety_pairs_with_the_sign_turned(
    statistic: str, method: AttributionMethod, pairs: dict[str, np.ndarray]
) -> None:
    scores = both(pairs)
    opposes = strengths(scores, "utility", method, statistic=statistic, utility_set="opposes_refusal")
    np.testing.assert_allclose(opposes, -strengths(scores, "safety", method, statistic=statistic))
    found = rank(scores, "utility", SelectionConfig(utility_set="opposes_refusal"), WIDTHS)
    low, high = stats.t.interval(0.95, 5, pairs["safety"].mean(0), stats.sem(pairs["safety"]))
    np.testing.assert_allclose(found.score - found.margin, low)
    np.testing.assert_allclose(found.score + found.margin, high)


def test_a_set_that_opposes_refusal_needs_no_utility_pairs_but_safety_pairs(pairs: dict[str, np.ndarray]) -> None:
    scores = both(pairs)
    config = SelectionConfig(safety_neurons=1, utility_neurons=1, utility_set="opposes_refusal")
    alone = select_neurons(scores[scores["role"] == "safety"], config, WIDTHS)
    assert alone.neurons == select_neurons(scores, config, WIDTHS).neurons
    means = pairs["safety"].mean(0)
    assert alone.neurons.safety == (NeuronId(*PLACES[int(means.argmin())]),), "the most negative of equation 4"
    assert alone.neurons.utility == (NeuronId(*PLACES[int(means.argmax())]),), "the most positive"
    halves = [pairs["safety"][half::2].mean(0).argmax() for half in (0, 1)]
    assert alone.facts["split_half_utility"] == float(halves[0] == halves[1])
    with pytest.raises(InputError, match="1 utility neurons are asked for, but the scores have no safety pairs"):
        no_safety = config.model_copy(update={"safety_neurons": 0})
        select_neurons(scores[scores["role"] == "utility"], no_safety, WIDTHS)


def test_the_sign_of_equation_4_depends_on_where_the_response_was_given(pairs: dict[str, np.ndarray]) -> None:
    scores = both(pairs)
    np.testing.assert_allclose(strengths(scores, "safety", "integrated_gradients"), -pairs["safety"].mean(0))
    np.testing.assert_allclose(strengths(scores, "utility", "integrated_gradients"), pairs["utility"].mean(0))
    np.testing.assert_allclose(strengths(scores, "safety", "activation"), pairs["safety"].mean(0))


def test_a_single_pair_has_no_interval_and_no_t(pairs: dict[str, np.ndarray]) -> None:
    one = pd.concat([sums("safety", pairs["safety"][:1]), sums("utility", pairs["utility"][:1])])
    assert np.isnan(rank(one, "safety", SelectionConfig(), WIDTHS).margin).all()
    assert not strengths(one, "safety", statistic="t").any()


def test_a_comparison_of_roles_needs_both(pairs: dict[str, np.ndarray]) -> None:
    with pytest.raises(InputError, match=r"selection\.statistic: 'difference' compares both roles, but .* utility"):
        strengths(sums("safety", pairs["safety"]), "safety", statistic="difference")


def test_the_table_lists_the_chosen_neurons_strongest_first(pairs: dict[str, np.ndarray]) -> None:
    config = SelectionConfig(safety_neurons=2, utility_neurons=2, overlap="safety_first")
    found = select_neurons(both(pairs), config, WIDTHS)
    table, strength = found.ranking, -pairs["safety"].mean(0)
    best = [NeuronId(*PLACES[place]) for place in np.argsort(-strength)[:2]]
    safety = table[table["role"] == "safety"]
    assert [NeuronId(*row) for row in safety[["layer", "index"]].itertuples(index=False)] == best
    np.testing.assert_allclose(safety["score"], np.sort(strength)[::-1][:2])
    assert (table["low"] < table["score"]).all() and (table["score"] < table["high"]).all()
    for role, names in (("safety", found.neurons.safety), ("utility", found.neurons.utility)):
        rows = table[table["role"] == role][["layer", "index"]].itertuples(index=False)
        assert {NeuronId(*row) for row in rows} == set(names)


@pytest.mark.parametrize("seed", range(10))
def test_matched_random_neurons_have_as_many_in_every_layer_and_none_of_the_chosen(seed: int) -> None:
    widths = (20, 0, 10, 30)
    chosen = np.random.default_rng(seed).permutation(60)
    sets = (np.sort(chosen[:7]), np.sort(chosen[7:12]))
    drawn = matched_random(sets, widths, seed)
    edges = np.cumsum((0, *widths))
    for mine, other in zip(sets, drawn, strict=True):
        for start, end in itertools.pairwise(edges):
            assert ((mine >= start) & (mine < end)).sum() == ((other >= start) & (other < end)).sum()
    everything = np.concatenate([*sets, *drawn])
    assert len(set(everything.tolist())) == len(everything)
    again = matched_random(sets, widths, seed)
    assert [list(part) for part in again] == [list(part) for part in drawn]


def test_a_layer_chosen_whole_has_no_match() -> None:
    drawn = matched_random((np.array([0, 1]), np.array([2])), (2, 2), 0)
    assert [list(part) for part in drawn] == [[], [3]]
