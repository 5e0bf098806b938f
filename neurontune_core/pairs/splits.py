"""Train, validation and test by query; near copies stay together, and attacks of held-out categories are unseen."""

import random
from collections import defaultdict
from collections.abc import Sequence

from neurontune_core.data.corpus import Attack, Query
from neurontune_core.errors import InputError
from neurontune_core.pairs.settings import PairsConfig
from neurontune_core.records import Split


def assign_splits(queries: Sequence[Query], groups: Sequence[int], config: PairsConfig) -> dict[str, Split]:
    """Return the split of every query id; `groups` numbers the near copies (`near_copy_groups`).

    A group of near copies gets one split. Groups are dealt out category by category, each to the split that lacks most
    of its share, so that every category is spread over the splits and every role meets the fractions.
    """
    members: dict[int, list[int]] = defaultdict(list)
    for index, group in enumerate(groups):
        members[group].append(index)
    splits: dict[str, Split] = {}
    strata: dict[tuple[str, str], list[list[int]]] = defaultdict(list)
    for group, indices in members.items():
        strata[(queries[group].role, queries[group].category)].append(indices)
    for role in ("safety", "utility"):
        dealt: list[list[int]] = []
        for stratum in sorted(stratum for stratum in strata if stratum[0] == role):
            random.Random(f"{config.seed}/{stratum}").shuffle(strata[stratum])
            dealt += strata[stratum]
        splits.update({queries[i].id: split for i, split in _deal(dealt, config)})
    return splits


def check_splits(queries: Sequence[Query], groups: Sequence[int], splits: dict[str, Split]) -> None:
    """Check that each role can be trained and tested on, and that near copies are in one split.

    Raises:
        InputError: they do not; the message names the queries or the field.
    """
    for query, group in zip(queries, groups, strict=True):
        if splits[query.id] != splits[queries[group].id]:
            raise InputError(f"pairs: {queries[group].id} and {query.id} are near copies in different splits")
    for role, field in (("safety", "harmful"), ("utility", "benign")):
        own = [group for query, group in zip(queries, groups, strict=True) if query.role == role]
        alike = f" (its {len(own)} queries are near copies, kept together)" if len(set(own)) < 3 < len(own) else ""
        for split in ("train", "test"):
            if not any(query.role == role and splits[query.id] == split for query in queries):
                raise InputError(
                    f"pairs.{field}: no query is left for split {split!r}{alike}; add a dataset, raise its "
                    "limit, or change pairs.test_fraction"
                )


def check_holdouts(attacks: Sequence[Attack], config: PairsConfig) -> None:
    """Check that what is to be held out exists and leaves something to train on.

    Raises:
        InputError: unknown category, nothing left, or fractions that leave no training split.
    """
    known = {category for attack in attacks for category in attack.categories}
    if unknown := set(config.holdout_attack_categories) - known:
        raise InputError(
            "pairs.holdout_attack_categories: "
            f"unknown {sorted(unknown)}; choose among {', '.join(sorted(known))}, "
            "or [] to hold out none"
        )
    if attacks and all(is_held_out(attack, config) for attack in attacks):
        raise InputError("pairs.holdout_attack_categories: no attack is left to train on; hold out fewer categories")
    if config.validation_fraction + config.test_fraction >= 1:
        raise InputError(
            "pairs.validation_fraction, pairs.test_fraction: together "
            f"{config.validation_fraction + config.test_fraction:g} leave no training split; keep their sum below 1"
        )


def is_held_out(attack: Attack, config: PairsConfig) -> bool:
    """Return whether any of an attack's categories is held out."""
    return any(category in config.holdout_attack_categories for category in attack.categories)


def _deal(groups: Sequence[Sequence[int]], config: PairsConfig) -> list[tuple[int, Split]]:
    """Deal groups out in order, each to the split furthest below its share of what has been dealt so far."""
    shares: dict[Split, float] = {
        "train": 1 - config.validation_fraction - config.test_fraction,
        "validation": config.validation_fraction,
        "test": config.test_fraction,
    }
    counts: dict[Split, int] = dict.fromkeys(shares, 0)
    dealt: list[tuple[int, Split]] = []
    for group in groups:
        total = len(dealt) + len(group)
        split = max(shares, key=lambda name: shares[name] * total - counts[name])
        counts[split] += len(group)
        dealt += [(index, split) for index in group]
    return dealt
