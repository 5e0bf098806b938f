"""Try settings and keep those with the best score on validation data: a given list, or what Optuna suggests."""

import logging
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Protocol, TypeVar

from neurontune_core.errors import InputError, NumericalError
from neurontune_core.progress import Track, silent

SPAN = 10.0
"""A search tries step sizes and weights from a tenth of the configured one to ten times it."""
SCORE = "validation_score"
"""The column of the score in the rows of the trials."""

Values = Mapping[str, float]
Trials = list[dict[str, float]]

logger = logging.getLogger("neurontune")


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high` on a logarithmic scale; `first` is tried first."""

    low: float
    high: float
    first: float
    whole: bool = False


@dataclass(frozen=True)
class Choice:
    """A few numbers without an order; `first` is tried first."""

    options: tuple[float, ...]
    first: float


Space = Mapping[str, Range | Choice]
"""The values that each setting may have, by its name."""


class Scored(Protocol):
    """What a trial makes."""

    @property
    def score(self) -> float:
        """The score on validation prompts."""
        ...


Made = TypeVar("Made", bound=Scored)


def around(value: float) -> Range:
    """Return the range from `value / SPAN` to `value * SPAN`."""
    return Range(value / SPAN, value * SPAN, value)


def check_optuna(field: str, trials: int) -> None:
    """Check that trials can be made; `field` names the setting or option that asks for them.

    Raises:
        InputError: Optuna is not installed.
    """
    if trials and find_spec("optuna") is None:
        raise InputError(f"{field}: {trials} trials need Optuna; pip install 'neurontune[studies]'")


def best_of(
    attempt: Callable[[Values], Made],
    candidates: Iterable[Values],
    count: int,
    track: Track = silent,
    tell: Callable[[float], object] = lambda score: None,
) -> tuple[Made, Trials]:
    """Return what the best of the candidates made, the first of equal ones, and a row a trial: its values and score.

    `tell` is called with each score before the next candidate is taken. A candidate that diverges, or whose score is
    not finite, has score 0.

    Raises:
        NumericalError: every candidate diverges.
    """
    best: tuple[float, Made] | None = None
    rows: Trials = []
    failure = NumericalError("search: no settings to try")
    for number, values in enumerate(track(candidates, "trying settings", count)):
        score = 0.0
        try:
            made = attempt(values)
        except NumericalError as error:
            logger.warning("trial %d counts as 0: %s", number, error)
            failure = error
        else:
            score = made.score if math.isfinite(made.score) else 0.0
            if best is None or score > best[0]:
                best = score, made
        rows.append({"trial": float(number), **values, SCORE: score})
        tell(score)
    if best is None:
        raise failure
    return best[1], rows


def search(
    attempt: Callable[[Values], Made], space: Space, trials: int, seed: int, track: Track = silent
) -> tuple[Made, Trials]:
    """Return what the best of `trials` suggestions of Optuna made, and a row a trial.

    The first trial has the first values of the space. Half of the trials, at least two, are random; the others follow
    from the scores of all trials before them (tree-structured Parzen estimator).

    Raises:
        NumericalError: every trial diverges.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    # by default the first ten trials would be random, and so all of a small search
    sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=max(2, trials // 2))
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.enqueue_trial({name: values.first for name, values in space.items()})
    asked: list[Any] = []

    def suggestions() -> Iterator[Values]:
        for _ in range(trials):
            asked.append(study.ask())
            yield {name: _suggestion(asked[-1], name, values) for name, values in space.items()}

    return best_of(attempt, suggestions(), trials, track, lambda score: study.tell(asked[-1], score))


def _suggestion(trial: Any, name: str, values: Range | Choice) -> Any:
    if isinstance(values, Choice):
        return trial.suggest_categorical(name, values.options)
    if values.whole:
        return trial.suggest_int(name, int(values.low), int(values.high), log=True)
    return trial.suggest_float(name, values.low, values.high, log=True)
