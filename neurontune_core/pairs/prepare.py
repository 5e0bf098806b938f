"""Everything about the pairs that needs no model: queries loaded and split, attacks seen in training and held out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from neurontune_core.data.categories import ATTACK_TYPES
from neurontune_core.data.corpus import Attack, Query
from neurontune_core.data.near_copies import near_copy_groups
from neurontune_core.data.queries import Rejected
from neurontune_core.pairs import load
from neurontune_core.pairs.load import Source
from neurontune_core.pairs.settings import PairsConfig
from neurontune_core.pairs.splits import assign_splits, check_holdouts, check_splits, is_held_out
from neurontune_core.records import Split


@dataclass(frozen=True)
class Prepared:
    """Queries with their splits and near-copy groups, and the attacks training may see (`seen`) or not (`unseen`)."""

    queries: list[Query]
    groups: list[int]
    splits: dict[str, Split]
    seen: list[Attack]
    unseen: list[Attack]
    refusals: list[str]
    rejected: list[Rejected]
    sources: list[Source]


def prepare(config: PairsConfig, fit: Callable[[Sequence[str]], load.Unfit] = load.all_fit) -> Prepared:
    """Load and split the queries of a configuration, those left out that the model cannot take (`load.load`).

    Raises:
        InputError: unknown dataset or category, a missing or unreadable file, or a split without queries.
    """
    loaded = load.load_queries(config, fit)
    check_holdouts(loaded.attacks, config)
    groups = list(_groups(tuple(query.conversation.text for query in loaded.queries)))
    splits = assign_splits(loaded.queries, groups, config)
    check_splits(loaded.queries, groups, splits)
    return Prepared(
        queries=loaded.queries,
        groups=groups,
        splits=splits,
        seen=[attack for attack in loaded.attacks if not is_held_out(attack, config)],
        unseen=[_filed_under_holdout(attack, config) for attack in loaded.attacks if is_held_out(attack, config)],
        refusals=loaded.refusals,
        rejected=loaded.rejected,
        sources=loaded.sources,
    )


@lru_cache(maxsize=1)
def _groups(texts: tuple[str, ...]) -> tuple[int, ...]:
    # a run groups its queries when its input is checked and again when its pairs are built: mostly the same ones
    return tuple(near_copy_groups(texts))


def _filed_under_holdout(attack: Attack, config: PairsConfig) -> Attack:
    """Return an attack of several categories filed under a held-out one, so that it counts as an unseen attack."""
    main = next(category for category in attack.categories if category in config.holdout_attack_categories)
    also = tuple(category for category in attack.categories if category != main)
    return replace(attack, category=main, type=ATTACK_TYPES.get(main, attack.type), also=also)
