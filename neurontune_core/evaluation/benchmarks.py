"""Benchmarks: groups of prompts a model should refuse, or should answer.

`shipped` is the test split of the run's own pairs, in seven groups. A file in `benchmark_files` describes each public
set and names its dataset. The queries of a public set are asked plain (`advbench`) or wrapped in attacks
(`advbench/heldout`), and so are those of a user's file (`mine.csv`, `benign:mine.csv`, `mine.csv/heldout`).
"""

from collections import defaultdict
from collections.abc import Sequence

import pandas as pd

from neurontune_core.data_names import ENDINGS, HUB, check_distinct, check_entry, own_data, short_name
from neurontune_core.errors import InputError, nearest_first
from neurontune_core.evaluation.public_sets import (
    SHIPPED,
    Library,
    needed,
    public_benchmarks,
    public_prompts,
    sample,
    trained_categories,
)
from neurontune_core.evaluation.settings import EvaluationConfig
from neurontune_core.records import PromptPair

HARMFUL = ("harmful_plain", "harmful_attacked", "harmful_heldout_attack")
BENIGN = ("benign_ordinary", "benign_borderline")
WRAPPED = ("benign_attacked", "benign_heldout_attack")
GROUPS = HARMFUL + BENIGN + WRAPPED
BORDERLINE = "borderline/"
"""Prefix of the category of a harmless query that sounds harmful."""


def test_prompts(
    pairs: Sequence[PromptPair], config: EvaluationConfig, library: Library | None = None
) -> dict[str, list[PromptPair]]:
    """Return the prompts of all benchmarks by group, at most `prompts_per_benchmark` each, drawn by the seed.

    An attack category that occurs in no training pair counts as held out.

    Raises:
        InputError: unknown benchmark or attack set, or the benchmarks together lack harmful or harmless prompts.
    """
    check_benchmarks(config)
    chosen: dict[str, list[PromptPair]] = {}
    for name in config.benchmarks:
        if name == SHIPPED:
            chosen |= shipped_prompts(pairs, config)
        else:
            chosen[short_name(name)] = public_prompts(name, pairs, config, needed(library, name))
    roles = {pair.role for members in chosen.values() for pair in members}
    for role, kind in (("safety", "harmful"), ("utility", "harmless")):
        if role not in roles:
            raise InputError(
                f"evaluation.benchmarks: no {kind} prompt in {', '.join(config.benchmarks)}; raise "
                f"pairs.test_fraction, or add a benchmark with {kind} prompts"
            )
    return chosen


def shipped_prompts(pairs: Sequence[PromptPair], config: EvaluationConfig) -> dict[str, list[PromptPair]]:
    """Return a sample of each group of the test split."""
    trained = trained_categories(pairs)
    groups: dict[str, list[PromptPair]] = defaultdict(list)
    for pair in pairs:
        if pair.split == "test":
            groups[group_of(pair, trained)].append(pair)
    return {name: sample(groups[name], name, config) for name in GROUPS if name in groups}


def group_of(pair: PromptPair, trained: set[str]) -> str:
    """Return the group a test prompt belongs to; `trained` holds the attack categories of the training split."""
    if pair.attack_name:
        role = "harmful" if pair.role == "safety" else "benign"
        return f"{role}_attacked" if pair.attack_category in trained else f"{role}_heldout_attack"
    if pair.role == "safety":
        return "harmful_plain"
    return "benign_borderline" if pair.query_category.startswith(BORDERLINE) else "benign_ordinary"


def check_benchmarks(config: EvaluationConfig) -> None:
    """Check the names of the benchmarks.

    Raises:
        InputError: a benchmark or a source is unknown, none is named, or one is named twice.
    """
    known = [SHIPPED, *public_benchmarks()]
    own = {name: each for name in (*config.benchmarks, *config.attacks) if (each := own_data(name))}
    files = sorted({each.name for each in own.values()})
    if unknown := sorted(set(config.sources) - {*public_benchmarks(), *files}):
        choice = ", ".join([*public_benchmarks(), *files])
        raise InputError(f"evaluation.sources.{unknown[0]}: unknown public set; choose among {choice}")
    for name in config.benchmarks:
        dataset, slash, attack_set = name.partition("/")
        if name in own or name.startswith(HUB):
            check_entry("evaluation.benchmarks", own[name].place if name in own else name, known, "benchmark")
        elif dataset not in known or (dataset == SHIPPED and slash) or (slash and not attack_set):
            raise InputError(
                f"evaluation.benchmarks: unknown {name!r}; choose among {nearest_first(dataset, known)}, "
                f"the public ones also as NAME/ATTACKS, e.g. advbench/heldout, or give a file of your own as FILE, or "
                f"benign:FILE, that ends in {', '.join(ENDINGS)}"
            )
    if len(set(config.benchmarks)) < len(config.benchmarks):
        raise InputError(f"evaluation.benchmarks: one is named twice in {', '.join(config.benchmarks)}; name it once")
    check_distinct("evaluation.benchmarks", config.benchmarks)
    if not config.attacks or not config.benchmarks:
        empty = "attacks" if config.benchmarks else "benchmarks"
        raise InputError(f"evaluation.{empty}: the list is empty; name at least one, e.g. shipped")


def are_ordinary(prompts: pd.DataFrame) -> pd.Series:
    """Return which prompts are harmless, plain, and do not sound harmful, `[prompt]`."""
    plain = (prompts["role"] == "utility") & (prompts["attack_name"] == "")
    return plain & ~prompts["query_category"].str.startswith(BORDERLINE)
