"""The cells of a causal study: which set of neurons is changed, how, and which prompts are asked then."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from neurontune_core.causal.settings import CausalConfig
from neurontune_core.errors import InputError

BASE, EMPTY = "no change", "empty set"
SAFETY, OPPOSING, UTILITY = "safety", "opposing", "utility"
"""Sets made of a ranking, at every count: the first neurons of safety, its last ones, the first of utility."""
RANDOM = "random"
SELECTED_SAFETY, SELECTED_UTILITY = "selected safety", "selected utility"
Kind = Literal["plain", "attacked", "harmless"]
"""Of prompts: harmful ones, harmful ones in an attack, harmless ones."""
ORDINARY = "benign_ordinary"
"""The group of prompts on whose answers the KL is measured."""
ZERO, MEAN, PATCH = "zero", "mean", "patch"


@dataclass(frozen=True)
class Cell:
    """One set under one intervention.

    Attributes:
        neurons: name of the set; of random ones `random N`, matched layer by layer to the set in `matched`.
        share: neurons of the set as a share of all neurons; 0 for the selected sets, which have their own size.
        intervention: `zero`, `mean`, `patch`, or `x F`: times the factor F.
        groups: benchmarks whose prompts are asked.
        matched: the set that a random one is matched to; "" for others.
    """

    neurons: str
    share: float
    intervention: str
    groups: tuple[str, ...]
    matched: str = ""


def plan_cells(config: CausalConfig, kinds: Mapping[str, Kind]) -> list[Cell]:
    """Return the cells of a study, the model without a change first.

    Silencing asks whether the model still refuses plain harmful prompts, amplification and patching whether it refuses
    attacked ones; what silencing and amplification do to harmless prompts is asked of every set but the random ones.
    The utility set, which carries answers to harmless prompts, and the selected sets, of their own size, are only
    silenced; random sets are amplified only by the middle factor.

    Args:
        config: counts, interventions, factors, draws.
        kinds: the groups of prompts, and what kind each is of.

    Raises:
        InputError: nothing is left to be asked.
    """
    plain, attacked, harmless = ([name for name, kind in kinds.items() if kind == wanted] for wanted in get_args(Kind))
    middle = f"x {sorted(config.factors)[len(config.factors) // 2]:g}" if config.factors else ""
    asked: dict[str, tuple[list[str], list[str]]] = {}  # (of every set, of all but random ones)
    for kind in config.interventions:
        if kind in (ZERO, MEAN):
            asked[kind] = (plain, harmless)
        elif kind == PATCH:
            asked[kind] = (attacked, [])
        else:
            asked |= {f"x {factor:g}": (attacked, harmless) for factor in sorted(config.factors)}
    asked = {name: groups for name, groups in asked.items() if any(groups)}
    if not asked:
        raise InputError(
            f"causal.interventions: {', '.join(config.interventions) or 'none'} applies to none of the groups "
            f"{', '.join(kinds) or 'none'}; choose other interventions, or change causal.groups"
        )
    cells = [Cell(BASE, 0.0, BASE, tuple(kinds))]
    cells += [Cell(EMPTY, 0.0, name, tuple(own or rest)) for name, (own, rest) in asked.items()]
    for name, (own, rest) in asked.items():
        for share in config.counts:
            ranked = (SAFETY, OPPOSING, UTILITY) if name in (ZERO, MEAN) and rest else (SAFETY, OPPOSING)
            cells += [Cell(neurons, share, name, (*own, *rest)) for neurons in ranked]
            cells += _random(config, SAFETY, share, name, own, middle)
        if name == ZERO:
            cells += [Cell(neurons, 0.0, name, (*own, *rest)) for neurons in (SELECTED_SAFETY, SELECTED_UTILITY)]
            cells += _random(config, SELECTED_SAFETY, 0.0, name, own, middle)
    return cells


def _random(
    config: CausalConfig, matched: str, share: float, intervention: str, groups: Sequence[str], middle: str
) -> list[Cell]:
    if not groups or (intervention.startswith("x") and intervention != middle):
        return []
    return [Cell(f"{RANDOM} {draw + 1}", share, intervention, tuple(groups), matched) for draw in range(config.draws)]


def in_shard(cells: Sequence[Cell], shard: int, shards: int) -> list[Cell]:
    """Return every `shards`-th cell from number `shard` on, so that each shard gets its part of every kind."""
    return list(cells[shard::shards])
