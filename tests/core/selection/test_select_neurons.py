"""Selection: top k of each role, made disjoint by a stated rule."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from neurontune_core.errors import InputError
from neurontune_core.records import NeuronId
from neurontune_core.selection.ranking import rank
from neurontune_core.selection.select import check_counts, select_neurons
from neurontune_core.selection.settings import SelectionConfig

Values = Sequence[float] | NDArray[np.float64]
WIDTHS = (3, 0, 5)  # neurons 0 to 2 are in layer 0, neurons 3 to 7 in layer 2
NAMES = [NeuronId(0, 0), NeuronId(0, 1), NeuronId(0, 2), *(NeuronId(2, index) for index in range(5))]
# utility scores are about three times as large, so that only scores in units of their deviation can be compared
SAFETY = np.array([9.0, 8.0, 7.0, 6.0, 0.0, 1.0, 2.0, 3.0])
UTILITY = np.array([25.0, 6.0, 24.0, 0.0, 21.0, 18.0, 9.0, 3.0])


def rows(role: str, means: Values, half: int = 0, category: str = "a", count: int = 1) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "role": role, "attack_category": category, "layer": [name.layer for name in NAMES],
            "neuron": [name.index for name in NAMES], "half": half, "score_sum": np.asarray(means, float) * count,
            "score_sq_sum": 0.0, "count": count,
        }
    )  # fmt: skip


def table(safety: Values = SAFETY, utility: Values = UTILITY) -> pd.DataFrame:
    """Score table of neurons that carry refusal (negative scores) and answers (positive ones) so strongly."""
    parts = (("safety", -np.asarray(safety, float)), ("utility", utility))
    return pd.concat([rows(role, means, half) for role, means in parts for half in (0, 1)])


def chosen(config: SelectionConfig, scores: pd.DataFrame | None = None) -> tuple[list[int], list[int]]:
    """Places of the chosen safety and utility neurons."""
    neurons = select_neurons(table() if scores is None else scores, config, WIDTHS).neurons
    return [NAMES.index(neuron) for neuron in neurons.safety], [NAMES.index(neuron) for neuron in neurons.utility]


@pytest.mark.parametrize(
    ("overlap", "safety", "utility"),
    [
        # both tops: safety {0, 1, 2}, utility {0, 2, 4}; neurons 0 and 2 are in both
        ("drop", [1], [4]),
        ("safety_first", [0, 1, 2], [4, 5, 6]),
        # in units of the standard deviations, 3.20 and 9.27: neuron 0 has 2.81 against 2.70, neuron 2 2.19 against 2.59
        ("stronger", [0, 1, 3], [2, 4, 5]),
    ],
)
def test_overlap_rules_by_hand(overlap: str, safety: list[int], utility: list[int]) -> None:
    config = SelectionConfig.model_validate({"safety_neurons": 3, "utility_neurons": 3, "overlap": overlap})
    assert chosen(config) == (safety, utility)
    assert select_neurons(table(), config, WIDTHS).facts["overlap"] == 2.0


def test_without_overlap_all_rules_agree() -> None:
    scores = table(SAFETY, SAFETY[::-1])
    for overlap in ("drop", "safety_first", "stronger"):
        config = SelectionConfig.model_validate({"safety_neurons": 3, "utility_neurons": 2, "overlap": overlap})
        assert chosen(config, scores) == ([0, 1, 2], [6, 7])
        assert select_neurons(scores, config, WIDTHS).facts["overlap"] == 0.0


@pytest.mark.parametrize("overlap", ["safety_first", "stronger"])
@pytest.mark.parametrize("seed", range(25))
def test_filling_rules_keep_the_counts_and_stay_disjoint(overlap: str, seed: int) -> None:
    generator = np.random.default_rng(seed)
    common = generator.normal(size=8)
    scores = table(common + generator.normal(size=8) * 0.3, 7 * common + generator.normal(size=8))
    safety_count = int(generator.integers(0, 9))
    utility_count = int(generator.integers(0 if safety_count else 1, 9 - safety_count))
    config = SelectionConfig.model_validate(
        {"safety_neurons": safety_count, "utility_neurons": utility_count, "overlap": overlap}
    )
    if safety_count + utility_count == 0:
        return
    safety, utility = chosen(config, scores)
    assert (len(safety), len(utility)) == (safety_count, utility_count)
    assert not set(safety) & set(utility)
    assert safety == sorted(safety) and utility == sorted(utility)


def test_a_neuron_lost_to_the_other_role_does_not_come_back() -> None:
    scores = table([5, 4, 3, 2, 1, 0, 0, 0], [50, 0, 0, 0, 0, 0, 0, 1])
    config = SelectionConfig(safety_neurons=1, utility_neurons=1, overlap="stronger")
    assert chosen(config, scores) == ([1], [0])


def mean_scores(scores: pd.DataFrame, half: int | None = None) -> NDArray[np.float64]:
    """The means over safety pairs, with the sign that they have in the table."""
    return rank(scores, "safety", SelectionConfig(statistic="mean"), WIDTHS, "gradient", half).score


def test_means_weigh_every_pair_alike() -> None:
    few, many = np.arange(8.0), np.arange(8.0)[::-1] * 3
    scores = pd.concat([rows("safety", few, 0, "a", count=1), rows("safety", many, 1, "b", count=3)])
    scores = pd.concat([scores, rows("utility", [100] * 8)]).sample(frac=1, random_state=0)
    np.testing.assert_allclose(mean_scores(scores), (few + 3 * many) / 4)
    np.testing.assert_allclose(mean_scores(scores, half=1), many)


def test_neurons_without_a_score_count_as_zero() -> None:
    scores = rows("safety", [-1, -2, -3, -4, -5, -6, -7, -8]).iloc[:5]
    np.testing.assert_allclose(mean_scores(scores), [-1, -2, -3, -4, -5, 0, 0, 0])


def test_ties_go_to_the_first_layer_and_index() -> None:
    scores = table([1] * 8, [0, 0, 0, 0, 0, 0, 2, 2])
    assert chosen(SelectionConfig(safety_neurons=2, utility_neurons=2), scores) == ([0, 1], [6, 7])


@pytest.mark.parametrize("overlap", ["drop", "safety_first", "stronger"])
def test_the_order_of_the_rows_changes_nothing(overlap: str) -> None:
    config = SelectionConfig.model_validate({"safety_neurons": 3, "utility_neurons": 3, "overlap": overlap})
    assert chosen(config, table().sample(frac=1, random_state=1)) == chosen(config)


def test_split_half_agreement_by_hand() -> None:
    # safety: tops of the halves {0, 1, 2} and {1, 2, 3}, so 2 of 4; utility: the same in both
    scores = pd.concat(
        [
            rows("safety", [-9, -8, -7, 0, 0, 0, 0, 0], 0),
            rows("safety", [0, -8, -7, -9, 0, 0, 0, 0], 1),
            rows("utility", [0, 0, 0, 0, 0, 1, 2, 3], 0),
            rows("utility", [0, 0, 0, 0, 0, 9, 8, 7], 1),
        ]
    )
    facts = select_neurons(scores, SelectionConfig(safety_neurons=3, utility_neurons=3), WIDTHS).facts
    assert facts["split_half_safety"] == pytest.approx(0.5) and facts["split_half_utility"] == 1.0


def test_split_half_agreement_is_left_out_where_one_half_is_empty() -> None:
    scores = pd.concat([rows("safety", SAFETY, 0), rows("utility", UTILITY, 0), rows("utility", UTILITY, 1)])
    facts = select_neurons(scores, SelectionConfig(safety_neurons=3, utility_neurons=3), WIDTHS).facts
    assert "split_half_safety" not in facts and facts["split_half_utility"] == 1.0


@pytest.mark.parametrize(
    ("safety", "utility", "counts"),
    [(0.25, 0.5, (2, 4)), (0.3, 1, (2, 1)), (1, 0, (1, 0)), (0, 0.99, (0, 8)), (4.0, 4, (4, 4))],
)
def test_counts_and_fractions(safety: float, utility: float, counts: tuple[int, int]) -> None:
    config = SelectionConfig(safety_neurons=safety, utility_neurons=utility)
    got = chosen(config)
    assert (len(got[0]), len(got[1])) == counts
    facts = select_neurons(table(), config, WIDTHS).facts
    assert (facts["safety_neurons"], facts["utility_neurons"]) == counts
    assert all(type(value) is float for value in facts.values())


@pytest.mark.parametrize(
    ("safety", "utility", "message"),
    [
        (5, 4, r"5 \+ 4 is more than the 8 neurons of the model; ask for fewer"),
        (0.75, 0.5, r"6 \+ 4 is more than the 8 neurons"),
        (0, 0, "both are 0; ask for at least one neuron"),
        (0.01, 0.01, "both are 0"),
        (2.5, 1, r"selection\.safety_neurons: 2\.5 is neither a count nor a fraction below 1"),
        (1, 1.5, r"selection\.utility_neurons: 1\.5 is neither"),
    ],
)
def test_impossible_counts_are_explained(safety: float, utility: float, message: str) -> None:
    config = SelectionConfig(safety_neurons=safety, utility_neurons=utility)
    with pytest.raises(InputError, match=message):
        check_counts(config, WIDTHS, 0)
    with pytest.raises(InputError, match=message):
        select_neurons(table(), config, WIDTHS)


@pytest.mark.parametrize("first", [1, 2])
def test_neurons_below_the_first_attributed_layer_are_left_out(first: int) -> None:
    scores = table()
    upper = scores[scores["layer"] >= first]
    assert chosen(SelectionConfig(safety_neurons=2, utility_neurons=2), upper) == ([3, 7], [4, 5])


@pytest.mark.parametrize("method", ["random", "shuffled", "layers"])
def test_controls_leave_them_out_too(method: str) -> None:
    config = SelectionConfig.model_validate({"safety_neurons": 2, "utility_neurons": 3, "method": method})
    scores = table()
    safety, utility = chosen(config, scores[scores["layer"] >= 1])
    assert {*safety, *utility} == {3, 4, 5, 6, 7}
    assert method == "layers" or (len(safety), len(utility)) == (2, 3)


def test_more_neurons_than_are_attributed_are_explained() -> None:
    config = SelectionConfig(safety_neurons=3, utility_neurons=3)
    message = r"3 \+ 3 is more than the 5 neurons of the model from layer 2 on; ask for fewer"
    with pytest.raises(InputError, match=message):
        check_counts(config, WIDTHS, 2)
    scores = table()
    with pytest.raises(InputError, match=message):
        select_neurons(scores[scores["layer"] >= 2], config, WIDTHS)


def test_a_role_without_pairs_is_not_ranked_by_chance() -> None:
    config = SelectionConfig(safety_neurons=2, utility_neurons=2)
    with pytest.raises(InputError, match="2 utility neurons are asked for, but the scores have no utility pairs"):
        select_neurons(rows("safety", -SAFETY), config, WIDTHS)
    only_safety = config.model_copy(update={"utility_neurons": 0})
    assert chosen(only_safety, rows("safety", -SAFETY)) == ([0, 1], [])


def test_the_random_control_ignores_the_scores() -> None:
    config = SelectionConfig(safety_neurons=3, utility_neurons=2, method="random", seed=4)
    safety, utility = chosen(config)
    assert (len(safety), len(utility)) == (3, 2) and not set(safety) & set(utility)
    assert chosen(config, table(UTILITY, SAFETY)) == (safety, utility)
    assert chosen(config.model_copy(update={"overlap": "drop"})) == (safety, utility)


def test_the_random_control_is_uniform_over_seeds() -> None:
    config = SelectionConfig(safety_neurons=2, utility_neurons=2, method="random")
    draws = [chosen(config.model_copy(update={"seed": seed})) for seed in range(400)]
    assert chosen(config) == draws[0] and len({str(draw) for draw in draws}) > 200
    for role in (0, 1):
        shares = np.bincount([place for draw in draws for place in draw[role]], minlength=8) / 400
        assert np.abs(shares - 2 / 8).max() < 0.08
