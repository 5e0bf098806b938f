"""The search for a baseline's step size, or its layer and strength, only on the validation split."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from neurontune_core.errors import InputError, NumericalError
from neurontune_core.interventions import Intervention
from neurontune_core.progress import Track

Settings = Mapping[str, float]
Trials = list[dict[str, float]]


@dataclass(frozen=True)
class Attempt:
    """A baseline made with some settings, and its facts; `validation_score` is what it is chosen by."""

    change: Intervention
    facts: dict[str, float]

    @property
    def score(self) -> float:
        """The score on validation prompts, 0 where none was measured or the model gives no numbers."""
        score = self.facts.get("validation_score", 0.0)
        return score if math.isfinite(score) else 0.0


def best_of(
    attempt: Callable[[Settings], Attempt],
    candidates: Iterable[Settings],
    count: int,
    track: Track,
    tell: Callable[[float], object] = lambda score: None,
) -> tuple[Attempt, Trials]:
    """Return the best of the candidates, the first of equal ones, and a row a trial: its settings and score.

    `tell` hears each score before the next candidate is asked for. A candidate that diverges has score 0.

    Raises:
        NumericalError: every candidate diverges.
    """
    best: Attempt | None = None
    rows: Trials = []
    failure = NumericalError("baseline: no settings to try")
    for number, settings in enumerate(track(candidates, "trying settings", count)):
        row = {"trial": float(number), **settings, "validation_score": 0.0}
        try:
            made = attempt(settings)
            row["validation_score"] = made.score
            if best is None or made.score > best.score:
                best = made
        except NumericalError as error:
            failure = error
        rows.append(row)
        tell(row["validation_score"])
    if best is None:
        raise failure
    return best, rows


def searched(
    attempt: Callable[[Settings], Attempt],
    first: Settings,
    suggest: Callable[[Any], Settings],
    trials: int,
    seed: int,
    track: Track,
) -> tuple[Attempt, Trials]:
    """Return the best of `trials` settings that Optuna suggests, of which `first` is the first, and a row a trial.

    Raises:
        InputError: Optuna is not installed.
        NumericalError: every trial diverges.
    """
    try:
        import optuna
    except ImportError as error:
        raise InputError("baseline.trials: needs Optuna; pip install 'neurontune[studies]'") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    # by default Optuna draws the first ten trials at random; a small search would have no others
    sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=max(2, trials // 2))
    search = optuna.create_study(direction="maximize", sampler=sampler)
    search.enqueue_trial(dict(first))
    asked: list[Any] = []

    def candidates() -> Iterator[Settings]:
        for _ in range(trials):
            asked.append(search.ask())
            yield suggest(asked[-1])

    return best_of(attempt, candidates(), trials, track, lambda score: search.tell(asked[-1], score))
