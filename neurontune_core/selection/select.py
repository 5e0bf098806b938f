"""Choose the safety and the utility neurons: top k of each role, made disjoint by a stated rule."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from neurontune_core.config import SelectionConfig
from neurontune_core.errors import InputError
from neurontune_core.records import NeuronId, NeuronSet
from neurontune_core.selection.controls import Chosen, random_neurons, shuffled, whole_layers

VERSION = 2


@dataclass(frozen=True)
class Selection:
    """The selected neurons and what was measured while selecting them."""

    neurons: NeuronSet
    facts: dict[str, float]


def resolve_count(count: int | float, total: int) -> int:
    """Return a number of neurons: a count as it is, a fraction below 1 of all `total` neurons rounded."""
    return round(count * total) if 0 < count < 1 else int(count)


def check_counts(config: SelectionConfig, neurons_per_layer: Sequence[int], first_layer: int) -> None:
    """Check that the model has as many neurons as are asked for, from the first attributed layer on.

    Raises:
        InputError: it has fewer.
    """
    total, eligible = sum(neurons_per_layer), sum(neurons_per_layer[first_layer:])
    for field, value in (("safety_neurons", config.safety_neurons), ("utility_neurons", config.utility_neurons)):
        if not (float(value).is_integer() or 0 < value < 1):
            raise InputError(f"selection.{field}: {value} is neither a count nor a fraction below 1")
    safety = resolve_count(config.safety_neurons, total)
    utility = resolve_count(config.utility_neurons, total)
    if safety + utility > eligible:
        where = f" from layer {first_layer} on" if first_layer else ""
        raise InputError(
            f"selection.safety_neurons + selection.utility_neurons: {safety} + {utility} is more than the "
            f"{eligible} neurons of the model{where}; ask for fewer"
        )
    if safety + utility == 0:
        raise InputError("selection.safety_neurons, selection.utility_neurons: both are 0; ask for at least one neuron")


def mean_scores(
    scores: pd.DataFrame, role: str, neurons_per_layer: Sequence[int], half: int | None = None
) -> NDArray[np.float64]:
    """Return every neuron's mean contribution score over a role's pairs, `[neuron]` in order of layer and index."""
    offsets = np.concatenate([[0], np.cumsum(neurons_per_layer)])
    rows = scores[scores["role"] == role]
    if half is not None:
        rows = rows[rows["half"] == half]
    place = offsets[rows["layer"].to_numpy()] + rows["neuron"].to_numpy()
    sums = np.bincount(place, weights=rows["score_sum"].to_numpy(), minlength=int(offsets[-1]))
    counts = np.bincount(place, weights=rows["count"].to_numpy(), minlength=int(offsets[-1]))
    return np.divide(sums, counts, out=np.zeros(len(sums)), where=counts > 0)


def select_neurons(scores: pd.DataFrame, config: SelectionConfig, neurons_per_layer: Sequence[int]) -> Selection:
    """Return the `safety_neurons` and `utility_neurons` highest-ranked attributed neurons, disjoint.

    Ties are broken by layer and index, so the choice is deterministic. Facts: the overlap before it was resolved, and
    the split-half agreement (Jaccard index of the top k chosen on two halves of the pairs), left out for a role whose
    pairs are all in one half.

    Args:
        scores: score table, as of `attribute_shard` or `merge_tables`; neurons are ranked by their mean score.
        config: how many (a count, or a fraction of all neurons), by which method, and how overlap is resolved.
        neurons_per_layer: `neuron_counts` of the model, `[layer]`.

    Raises:
        InputError: more neurons are asked for than the model has, or a role has no scores.
    """
    first = int(scores["layer"].min())
    check_counts(config, neurons_per_layer, first)
    total = sum(neurons_per_layer)
    counts = (resolve_count(config.safety_neurons, total), resolve_count(config.utility_neurons, total))
    selection = _select(scores.assign(layer=scores["layer"] - first), config, neurons_per_layer[first:], counts)
    return replace(selection, neurons=_raised(selection.neurons, first))


def _select(
    scores: pd.DataFrame, config: SelectionConfig, neurons_per_layer: Sequence[int], counts: tuple[int, int]
) -> Selection:
    if config.method == "random":
        return _control(random_neurons(counts, sum(neurons_per_layer), config.seed), neurons_per_layer)
    for role, count in zip(("safety", "utility"), counts, strict=True):
        if count and not (scores["role"] == role).any():
            raise InputError(f"selection: {count} {role} neurons are asked for, but the scores have no {role} pairs")
    means = [mean_scores(scores, role, neurons_per_layer) for role in ("safety", "utility")]
    if config.method == "layers":
        return _control(whole_layers(means[0], means[1], counts, neurons_per_layer), neurons_per_layer)
    if config.method == "shuffled":
        means = [shuffled(mean, neurons_per_layer, config.seed + role) for role, mean in enumerate(means)]
        safety, utility, _ = _disjoint(means[0], means[1], counts, config.overlap)
        return _control((safety, utility), neurons_per_layer)
    safety, utility, overlap = _disjoint(means[0], means[1], counts, config.overlap)
    facts = {
        "safety_neurons": float(len(safety)),
        "utility_neurons": float(len(utility)),
        "overlap": float(overlap),
    }
    for role, count in zip(("safety", "utility"), counts, strict=True):
        if count == 0 or set(scores.loc[scores["role"] == role, "half"]) != {0, 1}:
            continue  # all pairs are in one half: there is nothing to compare
        halves = [set(_top(mean_scores(scores, role, neurons_per_layer, half), count)) for half in (0, 1)]
        facts[f"split_half_{role}"] = len(halves[0] & halves[1]) / len(halves[0] | halves[1])
    return Selection(_neuron_set(safety, utility, neurons_per_layer), facts)


def _raised(neurons: NeuronSet, first: int) -> NeuronSet:
    """Return neurons whose layers were counted from layer `first` on."""
    safety, utility = (
        tuple(NeuronId(neuron.layer + first, neuron.index) for neuron in part)
        for part in (neurons.safety, neurons.utility)
    )
    return NeuronSet(safety, utility)


def _control(chosen: Chosen, neurons_per_layer: Sequence[int]) -> Selection:
    safety, utility = chosen
    facts = {"safety_neurons": float(len(safety)), "utility_neurons": float(len(utility))}
    return Selection(_neuron_set(safety, utility, neurons_per_layer), facts)


def _top(values: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    return np.argsort(-values, kind="stable")[:count]


def _disjoint(
    safety: NDArray[np.float64],
    utility: NDArray[np.float64],
    counts: tuple[int, int],
    rule: Literal["drop", "safety_first", "stronger"],
) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """Return the two top sets without their overlap, and its size.

    `drop` leaves neurons of both sets out; `safety_first` keeps them as safety neurons and fills the utility set up;
    `stronger` gives each to the role whose score, in units of that role's standard deviation, is higher, and fills up,
    the safety set first.
    """
    tops = (_top(safety, counts[0]), _top(utility, counts[1]))
    common = np.intersect1d(*tops)
    if rule == "drop":
        return (np.setdiff1d(tops[0], common), np.setdiff1d(tops[1], common), len(common))
    if rule == "safety_first":
        rest = np.setdiff1d(np.arange(len(utility)), tops[0])
        return tops[0], rest[_top(utility[rest], counts[1])], len(common)
    stronger = safety / (safety.std() or 1.0) >= utility / (utility.std() or 1.0)
    lost_by_safety, lost_by_utility = common[~stronger[common]], common[stronger[common]]
    # a neuron that one role lost must not come back when that role's set is filled up from further down its ranking
    kept_safety, kept_utility = np.setdiff1d(tops[0], lost_by_safety), np.setdiff1d(tops[1], lost_by_utility)
    free = np.setdiff1d(np.arange(len(safety)), np.concatenate([tops[0], tops[1]]))
    more = free[_top(safety[free], counts[0] - len(kept_safety))]
    kept_safety = np.concatenate([kept_safety, more])
    free = np.setdiff1d(free, more)
    more = free[_top(utility[free], counts[1] - len(kept_utility))]
    return kept_safety, np.concatenate([kept_utility, more]), len(common)


def _neuron_set(safety: NDArray[np.int64], utility: NDArray[np.int64], neurons_per_layer: Sequence[int]) -> NeuronSet:
    ends = np.cumsum(neurons_per_layer)

    def named(places: NDArray[np.int64]) -> tuple[NeuronId, ...]:
        layers = np.searchsorted(ends, np.sort(places), side="right")
        starts = ends[layers] - np.asarray(neurons_per_layer)[layers]
        return tuple(
            NeuronId(int(layer), int(place - start))
            for layer, place, start in zip(layers, np.sort(places), starts, strict=True)
        )

    return NeuronSet(named(safety), named(utility))
