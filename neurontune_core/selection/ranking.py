"""How strongly every neuron carries its role, by its scores over the pairs: what selection ranks neurons by.

A score of equation 4 says how much a neuron's change from the plain query to the attacked prompt moves the probability
of a response. Its sign means different things for the two roles. The model gave a safety pair's response, the refusal,
to the plain query; a neuron whose change makes it less likely *carries* the refusal, and has a negative score. The
model gave a utility pair's response to the attacked prompt; a neuron whose change makes it more likely carries the
answer, and has a positive score. docs/attribution.md has the derivation and the measurement.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import stdtrit  # not scipy.stats, whose import takes half a second

from neurontune_core.attribution.settings import AttributionMethod
from neurontune_core.errors import InputError
from neurontune_core.records import ROLES, Role
from neurontune_core.selection.settings import SelectionConfig

CARRIES: dict[AttributionMethod, dict[Role, float]] = {
    "integrated_gradients": {"safety": -1.0, "utility": 1.0},
    "gradient": {"safety": 1.0, "utility": 1.0},
    "mask": {"safety": 1.0, "utility": 1.0},
    "activation": {"safety": 1.0, "utility": 1.0},
}
"""Sign of the scores of neurons that carry the role: the refusal, or the answer."""

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Ranking:
    """One role's neurons by how strongly they carry it, all `[neuron]` in order of layer and index.

    Attributes:
        strength: what neurons are ranked by, the largest first.
        score: mean score over the pairs, or its difference between the roles; the sign is that of `strength`.
        margin: half the width of its 95% interval (Student t over pairs); NaN where a role has a single pair.
    """

    strength: Values
    score: Values
    margin: Values


@dataclass(frozen=True)
class _Moments:
    mean: Values
    variance: Values
    count: int


def rank(
    scores: pd.DataFrame,
    role: Role,
    config: SelectionConfig,
    neurons_per_layer: Sequence[int],
    method: AttributionMethod = "integrated_gradients",
    half: int | None = None,
) -> Ranking:
    """Return how strongly every neuron carries a role.

        mean:         m                          m, s^2: mean and variance of the role's signed scores over its n pairs
        t:            m / (s / sqrt(n))
        difference:   m - m'                     m', s': the same of the other role
        effect_size:  (m - m') / sqrt((s^2 + s'^2) / 2)

    Args:
        scores: score table, as of `attribute_shard` or `merge_tables`.
        role: whose scores.
        config: the statistic, and whether neurons that carry the role are wanted or those that work against it.
        neurons_per_layer: `neuron_counts` of the model, `[layer]`.
        method: how the scores were made; it decides which sign carries the role.
        half: of the pairs, 0 or 1; both by default.

    Raises:
        InputError: the statistic compares the roles, and one has no scores.
    """
    scored = scored_role(role, config)
    other: Role = "utility" if scored == "safety" else "safety"
    sign = -1.0 if _wanted(role, config).startswith("opposes") else 1.0
    own = _moments(scores, scored, neurons_per_layer, method, half)
    if config.statistic in ("mean", "t"):
        score, error, freedom = own.mean, np.sqrt(own.variance / max(1, own.count)), own.count - 1
        strength = score if config.statistic == "mean" else _ratio(score, error)
    else:
        rest = _moments(scores, other, neurons_per_layer, method, half)
        if not rest.count:
            raise InputError(
                f"selection.statistic: {config.statistic!r} compares both roles, but the scores have no {other} pairs; "
                f"choose mean or t"
            )
        score = own.mean - rest.mean
        error = np.sqrt(own.variance / max(1, own.count) + rest.variance / rest.count)
        freedom = min(own.count, rest.count) - 1
        deviation = np.sqrt((own.variance + rest.variance) / 2)
        strength = score if config.statistic == "difference" else _ratio(score, deviation)
    width = stdtrit(freedom, 0.975) if freedom > 0 else np.nan
    return Ranking(sign * strength, sign * score, width * error)


def strengths(
    scores: pd.DataFrame, config: SelectionConfig, neurons_per_layer: Sequence[int], method: AttributionMethod
) -> dict[Role, Values]:
    """Return how strongly every neuron carries each role, `[neuron]`; arguments and errors as of `rank`."""
    return {role: rank(scores, role, config, neurons_per_layer, method).strength for role in ROLES}


def scored_role(role: Role, config: SelectionConfig) -> Role:
    """Return the role whose pairs rank a set; neurons that work against refusal are ranked by safety pairs."""
    return "safety" if _wanted(role, config).endswith("refusal") else "utility"


def _wanted(role: Role, config: SelectionConfig) -> str:
    return config.safety_set if role == "safety" else config.utility_set


def _moments(
    scores: pd.DataFrame, role: Role, neurons_per_layer: Sequence[int], method: AttributionMethod, half: int | None
) -> _Moments:
    total, squares, counts = _sums(scores, role, neurons_per_layer, half)
    count = int(counts.max(initial=0))
    mean = np.divide(total, counts, out=np.zeros(len(total)), where=counts > 0)
    # rounding may leave a sum of squares a little below that of the mean
    spread = np.maximum(squares - counts * mean**2, 0.0)
    variance = np.divide(spread, counts - 1, out=np.zeros(len(total)), where=counts > 1)
    return _Moments(CARRIES[method][role] * mean, variance, count)


def _sums(
    scores: pd.DataFrame, role: Role, neurons_per_layer: Sequence[int], half: int | None
) -> tuple[Values, Values, Values]:
    offsets = np.concatenate([[0], np.cumsum(neurons_per_layer)])
    rows = scores[scores["role"] == role]
    if half is not None:
        rows = rows[rows["half"] == half]
    place = offsets[rows["layer"].to_numpy()] + rows["neuron"].to_numpy()
    columns = (rows[name].to_numpy(dtype=np.float64) for name in ("score_sum", "score_sq_sum", "count"))
    sums = [np.bincount(place, weights=values, minlength=int(offsets[-1])).astype(np.float64) for values in columns]
    return sums[0], sums[1], sums[2]


def _ratio(value: Values, deviation: Values) -> Values:
    return np.divide(value, deviation, out=np.zeros(len(value)), where=deviation > 0)
