"""The part of the pairs stage that needs no model: load and split queries, divide attacks into seen and unseen."""

from dataclasses import dataclass, replace
from functools import lru_cache

from neurontune_core.data.categories import ATTACK_TYPES
from neurontune_core.data.corpus import Attack, Query
from neurontune_core.data.near_copies import near_copy_groups
from neurontune_core.data.queries import Rejected
from neurontune_core.pairs import load
from neurontune_core.pairs.load import ReadData, Source, Unfit, no_limit
from neurontune_core.pairs.settings import PairsConfig
from neurontune_core.pairs.splits import assign_splits, check_holdouts, check_splits, is_held_out
from neurontune_core.records import Split


@dataclass(frozen=True)
class Prepared:
    """Queries with splits and near-copy groups, the attacks for training (`seen`), and held-out attacks (`unseen`).

    `data` are the data from which they were made.
    """

    data: ReadData
    queries: list[Query]
    groups: list[int]
    splits: dict[str, Split]
    seen: list[Attack]
    unseen: list[Attack]
    refusals: list[str]
    rejected: list[Rejected]
    sources: list[Source]


def prepare(config: PairsConfig, unfit: Unfit = no_limit, data: ReadData | None = None) -> Prepared:
    """Load and split the queries of a configuration, without those that do not fit the model (`load.load_queries`).

    Without `data` the files are read.

    Raises:
        InputError: unknown dataset or category, a missing or unreadable file, or a split without queries.
    """
    data = data or load.read_data(config)
    loaded = load.load_queries(config, unfit, data)
    check_holdouts(loaded.attacks, config)
    groups = list(_groups(tuple(query.conversation.text for query in loaded.queries)))
    splits = assign_splits(loaded.queries, groups, config)
    check_splits(loaded.queries, groups, splits)
    return Prepared(
        data=data,
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
    # the variants of a study mostly have the same queries, and split them differently
    return tuple(near_copy_groups(texts))


def _filed_under_holdout(attack: Attack, config: PairsConfig) -> Attack:
    """Return an attack of several categories with its held-out one as main category, so that it counts as unseen."""
    main = next(category for category in attack.categories if category in config.holdout_attack_categories)
    also = tuple(category for category in attack.categories if category != main)
    return replace(attack, category=main, type=ATTACK_TYPES.get(main, attack.type), also=also)
