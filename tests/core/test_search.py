"""The loop over trials: what is kept, what the table says, and that a small search learns from its scores."""

import logging
import math
import sys
from dataclasses import dataclass

import pytest

from neurontune_core.errors import InputError, NumericalError
from neurontune_core.search import Choice, Range, Space, Trials, Values, around, best_of, check_optuna, search


@dataclass(frozen=True)
class Made:
    """What a trial with the value `x` makes."""

    x: float
    score: float


def scoring_itself(values: Values) -> Made:
    """Diverges above 1."""
    if values["x"] > 1:
        raise NumericalError("too large")
    return Made(values["x"], values["x"])


def test_a_trial_that_diverges_counts_as_0_and_the_others_go_on(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "neurontune"):
        best, rows = best_of(scoring_itself, [{"x": 2.0}, {"x": 0.5}, {"x": 0.25}], 3)
    assert best == Made(0.5, 0.5)
    assert rows == [
        {"trial": 0.0, "x": 2.0, "validation_score": 0.0},
        {"trial": 1.0, "x": 0.5, "validation_score": 0.5},
        {"trial": 2.0, "x": 0.25, "validation_score": 0.25},
    ]
    assert [record.getMessage() for record in caplog.records] == ["trial 0 counts as 0: too large"]
    with pytest.raises(NumericalError, match="too large"):
        best_of(scoring_itself, [{"x": 2.0}], 1)


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_no_number_counts_as_0(score: float) -> None:
    best, rows = best_of(lambda values: Made(values["x"], score if values["x"] else 0.1), [{"x": 1.0}, {"x": 0.0}], 2)
    assert best.x == 0 and [row["validation_score"] for row in rows] == [0.0, 0.1]


def test_of_equal_scores_the_first_is_kept() -> None:
    best, _ = best_of(lambda values: Made(values["x"], 0.5), [{"x": 3.0}, {"x": 1.0}], 2)
    assert best.x == 3


SPACE: Space = {"rate": around(0.5), "count": Range(2, 50, 7, whole=True), "layer": Choice((1.0, 4.0, 9.0), 4.0)}


def tried(trials: int, best_rate: float = 0.5, seed: int = 0) -> Trials:
    """Search for a rate; the score is 1 at the best rate and falls with the distance from it."""

    def attempt(values: Values) -> Made:
        return Made(values["rate"], 1 / (1 + abs(math.log(values["rate"] / best_rate))))

    return search(attempt, SPACE, trials, seed)[1]


def test_a_search_begins_as_set_and_stays_in_its_space() -> None:
    rows = tried(8)
    assert [row["trial"] for row in rows] == list(range(8))
    assert {name: rows[0][name] for name in SPACE} == {"rate": 0.5, "count": 7, "layer": 4}
    for row in rows:
        assert 0.05 <= row["rate"] <= 5 and row["layer"] in (1, 4, 9)
        assert 2 <= row["count"] <= 50 and row["count"] == int(row["count"])
    assert len({row["rate"] for row in rows}) == 8


def test_the_seed_decides() -> None:
    assert tried(6) == tried(6) != tried(6, seed=1)


@pytest.mark.parametrize("trials", [4, 8, 12])
def test_a_small_search_learns_from_its_scores(trials: int) -> None:
    """The first half is the same whatever is best; what follows depends on it."""
    low, high = ([row["rate"] for row in tried(trials, best)] for best in (0.06, 4.0))
    half = max(2, trials // 2)
    assert low[:half] == high[:half] and low[half:] != high[half:]


def test_a_missing_optuna_is_told_where_trials_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    check_optuna("trials", 0)
    with pytest.raises(InputError, match=r"^trials: 3 trials need Optuna; pip install 'neurontune\[studies\]'$"):
        check_optuna("trials", 3)
