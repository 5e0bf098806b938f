"""The attribution stage: choose the pairs to attribute, and sum the scores of one shard."""

import operator
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest

import pandas as pd

from neurontune_core.artifacts import text_digest
from neurontune_core.attribution import methods
from neurontune_core.attribution.completeness import completeness_facts, completeness_rows
from neurontune_core.attribution.encode import EncodedPair
from neurontune_core.attribution.pair_scores import PairScores
from neurontune_core.attribution.settings import AttributionConfig
from neurontune_core.attribution.table import ScoreSums, half_of
from neurontune_core.errors import InputError
from neurontune_core.model.load import ChatModel
from neurontune_core.progress import Track, silent
from neurontune_core.records import PromptPair

VERSION = 5
CHECKED_PAIRS = 2
"""Pairs of each role in a shard whose completeness is checked: the check costs about a third of a pair."""

WEIGHTS = {"completeness_gap_mean": "completeness_pairs", "completeness_share_within": "completeness_pairs"}
"""Facts of a shard that are means, and for each the fact that has the number of pairs."""


@dataclass(frozen=True)
class ShardScores:
    """Summed scores of a shard, facts about them, and the completeness check layer by layer."""

    table: pd.DataFrame
    facts: dict[str, float]
    completeness: pd.DataFrame


def choose_pairs(pairs: Sequence[PromptPair], config: AttributionConfig) -> list[PromptPair]:
    """Return the pairs to attribute: training prompts under the selected attacks, `pairs_per_role` of each role or all.

    The pairs of all attacks alternate, and within an attack pairs are in the order of a digest of their ids, so that
    the choice is the same in every process and does not depend on the order of `pairs`. Safety pairs come first. If
    any safety pair has the model's own refusal, only safety pairs with an own refusal are taken.

    Args:
        pairs: all pairs.
        config: `pairs_per_role`.

    Raises:
        InputError: a role has no training pair under a selected attack.
    """
    chosen = []
    for role in ("safety", "utility"):
        by_attack: dict[str, list[PromptPair]] = defaultdict(list)
        usable = [p for p in pairs if p.role == role and p.split == "train" and p.attack_name and p.selected]
        for pair in [p for p in usable if p.own_refusal] or usable:
            by_attack[pair.attack_name].append(pair)
        if not by_attack:
            raise InputError(
                f"pairs: no training pair of role {role!r} under a selected attack; check pairs.harmful, pairs.benign "
                f"and pairs.attacks"
            )
        columns = [sorted(by_attack[name], key=lambda pair: text_digest(pair.id)) for name in sorted(by_attack)]
        turns = [pair for row in zip_longest(*columns) for pair in row if pair is not None]
        chosen += turns[: config.pairs_per_role]
    return chosen


def in_shard(chosen: Sequence[PromptPair], shard: int, shards: int) -> list[PromptPair]:
    """Return every `shards`-th pair from number `shard` on: each shard gets its part of both roles and all attacks."""
    if not 0 <= shard < shards:
        raise InputError(f"shard: {shard} is not one of 0 to {shards - 1}")
    return list(chosen[shard::shards])


def attribute_shard(
    pairs: Sequence[PromptPair],
    config: AttributionConfig,
    chat: ChatModel,
    memory_mib: int | None = None,
    track: Track = silent,
) -> ShardScores:
    """Attribute pairs (all pairs or those of a shard) and sum their scores.

    By `integrated_gradients` (equation 4 of arXiv 2508.09473) the score of neuron i of layer l for a pair of query q
    and prompt (p, q) with response y is, with v the layer's activations at the last prompt position,

        C_i = (v_(p,q) - v_q)_i * integral over t from 0 to 1 of dP(y | v_q + t (v_(p,q) - v_q)) / dv_i.

    For the scores of the other methods see `gradient_scores` and `activation_scores`.

    Args:
        pairs: the result of `choose_pairs` or `in_shard`.
        config: method, nodes, position, objective, normalisation.
        chat: the model, its weights without gradients.
        memory_mib: activations kept at once, in MiB; if None, the device and the model determine it.
        track: reports progress after every pair.

    Returns:
        `table`, a row a role, attack category, layer, neuron and half of the pairs: score_sum and score_sq_sum, sums
        over pairs in float64 (of scores without unit, each pair's scaled to unit L2 norm over all attributed neurons;
        with `normalise=False` in units of probability, of nats, or of activations), and count. `completeness`, a row a
        checked pair and layer: how far its scores are from adding up to P(y | v_(p,q)) - P(y | v_q); empty except for
        integrated gradients. `facts`: numbers of pairs, seconds, and for integrated gradients the gap.

    Raises:
        InputError: the model has a layer without neurons or attention of an unsupported kind, or a pair is empty.
        NumericalError: a pair gives NaN or infinite scores.
    """
    encoded = methods.encode_pairs(pairs, config, chat)
    started = time.perf_counter()
    method = methods.build_method(config, chat, memory_mib)
    sums = ScoreSums(method.layers, config.normalise)
    checks: list[pd.DataFrame] = []
    checked = checked_ids(pairs)
    waves = refined = 0
    ready = time.perf_counter()
    for pair, result in track(_results(method, pairs, encoded, checked), "attributing", len(pairs)):
        sums.add(pair.role, pair.attack_category, half_of(pair.id), result.scores, result.scale)
        waves += len(result.waves)
        refined += result.refined
        if result.difference is not None:
            checks.append(completeness_rows(pair, result))
    seconds = time.perf_counter() - ready
    completeness = pd.concat(checks, ignore_index=True) if checks else completeness_rows(None, None)
    facts = {
        "pairs": len(pairs),
        "pairs_safety": len(_of_role(pairs, "safety")),
        "pairs_utility": len(_of_role(pairs, "utility")),
        "seconds_per_pair": seconds / max(1, len(pairs)),
        "seconds_to_build": ready - started,
    }
    if method.engine is not None:
        facts |= {
            "waves_per_pair": waves / max(1, len(pairs)),
            "layers_refined_per_pair": refined / max(1, len(pairs)),
            "memory_halvings": method.engine.budget.halvings,
            **completeness_facts(completeness),
        }
    return ShardScores(sums.table(), {name: float(value) for name, value in facts.items()}, completeness)


def facts_over_shards(shards: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the facts of all shards together, and `shards`, their number.

    The result has the largest of maxima, the sum of counts and seconds, and means weighted by the numbers of pairs.
    """
    found = {"shards": float(len(shards))}
    for name in dict.fromkeys(name for facts in shards for name in facts):
        having = [facts for facts in shards if name in facts]
        values = [facts[name] for facts in having]
        weights = WEIGHTS.get(name) or ("pairs" if name.endswith("_per_pair") else "")
        if name.endswith("_max"):
            found[name] = max(values)
        elif weights:
            sizes = [facts.get(weights, 1.0) for facts in having]
            found[name] = sum(map(operator.mul, values, sizes)) / max(1.0, sum(sizes))
        else:
            found[name] = float(sum(values))
    return found


def checked_ids(pairs: Sequence[PromptPair]) -> set[str]:
    """Return the ids of a shard's pairs whose completeness is checked: the first of each role."""
    return {pair.id for role in ("safety", "utility") for pair in _of_role(pairs, role)[:CHECKED_PAIRS]}


def _results(
    method: methods.ReadyMethod, pairs: Sequence[PromptPair], encoded: Sequence[EncodedPair], checked: set[str]
) -> Iterator[tuple[PromptPair, PairScores]]:
    for places in method.batches(encoded):
        together = [pairs[place] for place in places]
        check = any(pair.id in checked for pair in together)
        results = method.score([encoded[place] for place in places], check)
        yield from zip(together, results, strict=True)


def _of_role(pairs: Sequence[PromptPair], role: str) -> list[PromptPair]:
    return [pair for pair in pairs if pair.role == role]
