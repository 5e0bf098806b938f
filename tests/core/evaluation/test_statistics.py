from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from neurontune_core.evaluation.statistics import bootstrap_su_f1, mcnemar_p, su_f1, wilson


@pytest.mark.parametrize(("successes", "n"), [(0, 10), (3, 10), (10, 10), (81, 263), (1, 1)])
def test_wilson_is_that_of_scipy(successes: int, n: int) -> None:
    expected = stats.binomtest(successes, n).proportion_ci(method="wilson")
    rate = wilson([True] * successes + [False] * (n - successes))
    assert (rate.successes, rate.n, rate.value) == (successes, n, successes / n)
    assert rate.low == pytest.approx(expected.low, abs=1e-12)
    assert rate.high == pytest.approx(expected.high, abs=1e-12)


def test_wilson_known_value() -> None:
    # 81 of 263: Newcombe 1998, table I, method 3
    rate = wilson([True] * 81 + [False] * 182)
    assert (round(rate.low, 4), round(rate.high, 4)) == (0.2553, 0.3662)


@pytest.mark.parametrize("of", [np.array, pd.Series, iter, tuple])
def test_wilson_takes_outcomes_from_arrays_columns_and_generators(of: Callable[[list[bool]], Any]) -> None:
    assert wilson(of([True, False, True])) == wilson([True, False, True])


def test_wilson_of_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one"):
        wilson([])


@pytest.mark.parametrize(("gained", "lost"), [(0, 0), (5, 0), (1, 8), (4, 4), (30, 12)])
def test_mcnemar_is_a_binomial_test_of_the_changes(gained: int, lost: int) -> None:
    before = [False] * gained + [True] * lost + [True, False, True]
    after = [True] * gained + [False] * lost + [True, False, True]
    expected = stats.binomtest(gained, gained + lost, 0.5).pvalue if gained + lost else 1.0
    assert mcnemar_p(before, after) == pytest.approx(expected, rel=1e-9)


def test_mcnemar_by_hand() -> None:
    # 5 changes, all one way: 2 * (1/2)^5
    assert mcnemar_p([False] * 5 + [True], [True] * 6) == pytest.approx(2 / 32)


def test_su_f1() -> None:
    assert su_f1(0.5, 1.0) == pytest.approx(2 / 3)
    assert su_f1(0.9, 0.9) == pytest.approx(0.9)
    assert su_f1(0.0, 0.0) == 0.0
    assert su_f1(0.0, 1.0) == 0.0


def outcomes(seed: int, harmful: int, benign: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    return generator.random(harmful) < 0.4, generator.random(benign) < 0.7


def test_bootstrap_is_the_plain_loop_over_the_same_resamples() -> None:
    base, tuned = outcomes(1, 12, 9), outcomes(2, 12, 9)
    clusters = (np.arange(12) // 3, np.arange(9) // 2)
    found = bootstrap_su_f1(base, tuned, clusters, samples=50, seed=7)

    generator = np.random.default_rng(7)
    times = []
    for side in clusters:
        count = side.max() + 1
        times.append(generator.multinomial(count, [1 / count] * count, size=50))
    values: dict[str, list[float]] = {"base": [], "tuned": [], "difference": []}
    for sample in range(50):
        scores = {}
        for name, model in (("base", base), ("tuned", tuned)):
            shares = []
            for side in (0, 1):
                rows = [
                    model[side][row]
                    for cluster, count in enumerate(times[side][sample])
                    for _ in range(count)
                    for row in np.flatnonzero(clusters[side] == cluster)
                ]
                shares.append(sum(rows) / len(rows))
            scores[name] = 2 * shares[0] * shares[1] / (shares[0] + shares[1]) if sum(shares) else 0.0
            values[name].append(scores[name])
        values["difference"].append(scores["tuned"] - scores["base"])
    for name in values:
        assert getattr(found, name)[1:] == pytest.approx(np.percentile(values[name], [2.5, 97.5]), abs=1e-12)
    assert found.base[0] == pytest.approx(su_f1(base[0].mean(), base[1].mean()))
    assert found.difference[0] == pytest.approx(found.tuned[0] - found.base[0])


def test_bootstrap_of_copies_is_no_surer_than_of_the_originals() -> None:
    base, tuned = outcomes(3, 30, 30), outcomes(4, 30, 30)
    single = (np.arange(30), np.arange(30))
    alone = bootstrap_su_f1(base, tuned, single, 400, 0)

    def copies(sides: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        return np.repeat(sides[0], 5), np.repeat(sides[1], 5)

    clustered = bootstrap_su_f1(copies(base), copies(tuned), copies(single), 400, 0)
    naive = bootstrap_su_f1(copies(base), copies(tuned), (np.arange(150), np.arange(150)), 400, 0)
    assert clustered.difference == pytest.approx(alone.difference)
    width = alone.difference[2] - alone.difference[1]
    assert naive.difference[2] - naive.difference[1] < 0.7 * width


def test_bootstrap_is_paired() -> None:
    # the same outcomes twice: whatever is drawn, the difference is nothing
    same = outcomes(5, 20, 20)
    found = bootstrap_su_f1(same, same, (np.arange(20), np.arange(20)), 200, 0)
    assert found.difference == (0.0, 0.0, 0.0)
    assert found.base[1] < found.base[0] < found.base[2]
