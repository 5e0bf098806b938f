"""Merge the shards' score tables into one; sums add, so the result does not depend on the sharding."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from neurontune_core.errors import InputError, NumericalError

VERSION = 1
KEYS = ["role", "attack_category", "layer", "neuron", "half"]
SUMS = ["score_sum", "score_sq_sum", "count"]


def check_complete(found: Mapping[int, int], shards: int) -> None:
    """Check that each shard occurs exactly once, before their sums are added.

    Args:
        found: how many tables there are of each shard, counted from 0.
        shards: number of shards the pairs were divided into.

    Raises:
        InputError: shards are missing, or there more than once; the message lists them, counted from 1.
    """
    missing = [str(shard + 1) for shard in range(shards) if not found.get(shard)]
    repeated = [str(shard + 1) for shard, times in found.items() if times > 1]
    if missing:
        raise InputError(
            f"scores: {len(missing)} of {shards} shards are missing: shard {', '.join(missing)}; compute them with "
            f"`neurontune shard RUN INDEX` or run the pipeline again"
        )
    if repeated or len(found) > shards:
        raise InputError(
            f"scores: given more than once, or of another run: shard {', '.join(repeated) or max(found) + 1}"
        )


def merge_tables(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return one table with the sums of all shards, sorted by role, attack category, layer, neuron and half.

    Sums of float64 sums: the same, up to rounding, however the pairs were divided into shards.

    Args:
        tables: `attribute_shard(...).table` of every shard.

    Raises:
        InputError: no table, or one without the columns of a score table.
        NumericalError: a table holds NaN or infinity, which summing would hide.
    """
    if not tables:
        raise InputError("scores: no shard table to merge; run the attribution stage first")
    for number, table in enumerate(tables):
        if missing := set(KEYS + SUMS) - set(table.columns):
            raise InputError(f"scores: shard {number} lacks the columns {sorted(missing)}; recompute that shard")
        if not np.isfinite(table[SUMS].to_numpy(dtype=np.float64)).all():
            raise NumericalError(f"scores: shard {number} has scores that are not finite; recompute that shard")
    # a shard without pairs has columns without a type, which would take the type from the others'
    filled = [table for table in tables if len(table)] or list(tables)
    merged = pd.concat(filled, ignore_index=True)[KEYS + SUMS]
    return merged.groupby(KEYS, sort=True, observed=True, as_index=False)[SUMS].sum()
