"""Choose the safety and the utility neurons: top k of each role, made disjoint by a stated rule."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from neurontune_core.attribution.settings import AttributionMethod
from neurontune_core.errors import InputError
from neurontune_core.expert_address import ExpertShapes, expert_of
from neurontune_core.records import ROLES, NeuronId, NeuronSet, Role, neurons_at
from neurontune_core.selection.controls import Chosen, matched_random, random_neurons, shuffled, whole_layers
from neurontune_core.selection.ranking import Ranking, rank, scored_role
from neurontune_core.selection.settings import SelectionConfig

VERSION = 3


@dataclass(frozen=True)
class Selection:
    """The selected neurons, a table of them with their scores, and what was measured while selecting them."""

    neurons: NeuronSet
    ranking: pd.DataFrame
    facts: dict[str, float]


def resolve_count(count: int | float, total: int) -> int:
    """Return a number of neurons: a count as it is, a fraction below 1 of all `total` neurons rounded."""
    return round(count * total) if 0 < count < 1 else int(count)


def check_counts(config: SelectionConfig, neurons_per_layer: Sequence[int], first_layer: int) -> None:
    """Check that the model has as many neurons as are asked for, from the first attributed layer on.

    Raises:
        InputError: it has fewer, a setting is neither a count nor a fraction, or none is asked for.
    """
    total, eligible = sum(neurons_per_layer), sum(neurons_per_layer[first_layer:])
    for field, value in (("safety_neurons", config.safety_neurons), ("utility_neurons", config.utility_neurons)):
        if not (float(value).is_integer() or 0 < value < 1):
            raise InputError(
                f"selection.{field}: {value} is neither a count nor a fraction below 1; give 500 or 0.03, for example"
            )
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


def select_neurons(
    scores: pd.DataFrame,
    config: SelectionConfig,
    neurons_per_layer: Sequence[int],
    method: AttributionMethod = "integrated_gradients",
    experts: ExpertShapes = (),
) -> Selection:
    """Return the `safety_neurons` and `utility_neurons` highest-ranked attributed neurons, disjoint.

    Ties are broken by layer and index, so the choice is deterministic. Facts: the overlap before it was resolved, and
    the split-half agreement (Jaccard index of the top k chosen on two halves of the pairs), left out for a role whose
    pairs are all in one half.

    Args:
        scores: score table, as of `attribute_shard` or `merge_tables`.
        config: how many (a count, or a fraction of all neurons), ranked by what (`ranking.rank`), and how overlap is
            resolved.
        neurons_per_layer: `neuron_counts` of the model, `[layer]`.
        method: how the scores were made (`attribution.method`).
        experts: `expert_counts` of the model, `[layer]`; adds their addresses to the table and, as facts, how many
            experts hold the neurons of either set.

    Raises:
        InputError: more neurons are asked for than the model has, or a role has no scores.
    """
    first = int(scores["layer"].min())
    check_counts(config, neurons_per_layer, first)
    widths = neurons_per_layer[first:]
    scores = scores.assign(layer=scores["layer"] - first)
    total = sum(neurons_per_layer)
    counts = (resolve_count(config.safety_neurons, total), resolve_count(config.utility_neurons, total))
    rankings = _rankings(scores, config, widths, counts, method)
    chosen, overlap = _choose(rankings, config, widths, counts)
    neurons = _in_whole_model(_neuron_set(*chosen, widths), first)
    facts = {"safety_neurons": float(len(chosen[0])), "utility_neurons": float(len(chosen[1]))}
    if config.method == "score":
        facts |= {"overlap": float(overlap)} | _agreement(scores, config, widths, counts, method)
    ranking = _table(rankings, chosen, neurons)
    if any(count for count, _ in experts):
        ranking = _with_experts(ranking, experts)
        for role, mine in ranking[ranking["expert"] != ""].groupby("role"):
            facts[f"{role}_experts"] = float(len(mine[["layer", "expert"]].drop_duplicates()))
    return Selection(neurons, ranking, facts)


def _rankings(
    scores: pd.DataFrame,
    config: SelectionConfig,
    widths: Sequence[int],
    counts: tuple[int, int],
    method: AttributionMethod,
) -> dict[Role, Ranking]:
    """Return the ranking of every role that neurons are asked for."""
    rankings: dict[Role, Ranking] = {}
    for role, count in zip(ROLES, counts, strict=True):
        scored = scored_role(role, config)
        if count and config.method != "random" and not (scores["role"] == scored).any():
            raise InputError(
                f"selection: {count} {role} neurons are asked for, but the scores have no {scored} pairs; run "
                f"attribution with such pairs"
            )
        if (scores["role"] == scored).any():
            rankings[role] = rank(scores, role, config, widths, method)
    return rankings


def _choose(
    rankings: Mapping[Role, Ranking], config: SelectionConfig, widths: Sequence[int], counts: tuple[int, int]
) -> tuple[Chosen, int]:
    """Return the places of the safety and the utility neurons, and the size of the overlap that was resolved."""
    if config.method == "random":
        return random_neurons(counts, sum(widths), config.seed), 0
    nothing = np.zeros(sum(widths))
    safety, utility = (rankings[role].strength if role in rankings else nothing for role in ROLES)
    if config.method == "layers":
        return whole_layers(safety, utility, counts, widths), 0
    if config.method == "shuffled":
        safety, utility = (
            shuffled(each, widths, config.seed + number) for number, each in enumerate((safety, utility))
        )
    *chosen, overlap = _disjoint(safety, utility, counts, config.overlap)
    if config.method == "matched_random":
        return matched_random((chosen[0], chosen[1]), widths, config.seed), overlap
    return (chosen[0], chosen[1]), overlap


def _agreement(
    scores: pd.DataFrame,
    config: SelectionConfig,
    widths: Sequence[int],
    counts: tuple[int, int],
    method: AttributionMethod,
) -> dict[str, float]:
    facts = {}
    for role, count in zip(ROLES, counts, strict=True):
        own = scores[scores["role"] == scored_role(role, config)]
        compared = scores if config.statistic in ("difference", "effect_size") else own
        if count == 0 or any(set(part["half"]) != {0, 1} for _, part in compared.groupby("role")):
            continue  # all pairs of a role are in one half, so there are no two halves to compare
        halves = [set(_top(rank(scores, role, config, widths, method, half).strength, count)) for half in (0, 1)]
        facts[f"split_half_{role}"] = len(halves[0] & halves[1]) / len(halves[0] | halves[1])
    return facts


def _table(rankings: Mapping[Role, Ranking], chosen: Chosen, neurons: NeuronSet) -> pd.DataFrame:
    """Return the chosen neurons with their scores, a row each, those that carry their role most strongly first.

    Columns: role, layer, index, score (`Ranking.score`; NaN where the role has no scores), low, high (95% interval).
    """
    parts = []
    for role, places, names in zip(ROLES, chosen, (neurons.safety, neurons.utility), strict=True):
        places = np.sort(places)
        unknown = np.full(len(places), np.nan)
        ranking = rankings.get(role)
        score, margin = (ranking.score[places], ranking.margin[places]) if ranking else (unknown, unknown)
        order = np.argsort(-ranking.strength[places], kind="stable") if ranking else np.arange(len(places))
        table = pd.DataFrame({"role": role, "layer": [n.layer for n in names], "index": [n.index for n in names]})
        parts.append(table.assign(score=score, low=score - margin, high=score + margin).iloc[order])
    return pd.concat(parts, ignore_index=True)


def _with_experts(table: pd.DataFrame, experts: ExpertShapes) -> pd.DataFrame:
    """Return a table of neurons with `expert` ("" in a dense layer) and `place`, the index within it."""
    neurons = [NeuronId(int(layer), int(index)) for layer, index in zip(table["layer"], table["index"], strict=True)]
    addresses = [expert_of(neuron, experts) for neuron in neurons]
    return table.assign(expert=[expert for expert, _ in addresses], place=[place for _, place in addresses])


def _in_whole_model(neurons: NeuronSet, first: int) -> NeuronSet:
    """Return neurons of a model whose first layers were left out as neurons of the whole model."""
    safety, utility = (
        tuple(NeuronId(neuron.layer + first, neuron.index) for neuron in part)
        for part in (neurons.safety, neurons.utility)
    )
    return NeuronSet(safety, utility)


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
    # a neuron given to the other role must not return when this role's set is filled up
    kept_safety, kept_utility = np.setdiff1d(tops[0], lost_by_safety), np.setdiff1d(tops[1], lost_by_utility)
    free = np.setdiff1d(np.arange(len(safety)), np.concatenate([tops[0], tops[1]]))
    more = free[_top(safety[free], counts[0] - len(kept_safety))]
    kept_safety = np.concatenate([kept_safety, more])
    free = np.setdiff1d(free, more)
    more = free[_top(utility[free], counts[1] - len(kept_utility))]
    return kept_safety, np.concatenate([kept_utility, more]), len(common)


def _neuron_set(safety: NDArray[np.int64], utility: NDArray[np.int64], neurons_per_layer: Sequence[int]) -> NeuronSet:
    return NeuronSet(*(neurons_at(np.sort(places), neurons_per_layer) for places in (safety, utility)))
