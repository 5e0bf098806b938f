"""How many neurons the rankings of two roles share among their first ones."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from neurontune_core.records import Role
from neurontune_core.selection.ranking import Values

SHARES = (0.0002, 0.001, 0.003, 0.01, 0.03, 0.1)
"""Sizes of the two sets, as fractions of all neurons."""


def overlap_table(strengths: Mapping[str, Mapping[Role, Values]]) -> pd.DataFrame:
    """Return how many of their first neurons both rankings share: a row for each variant and size.

    Two random sets of k among N neurons share k^2 / N on average.

    Args:
        strengths: by variant and role, `[neuron]` (`selection.ranking.Ranking.strength`).

    Returns:
        Columns: variant, share (of all neurons), neurons (k), both (in both sets), by_chance, and correlation
        (Spearman's, of the two rankings over all neurons; the same in all rows of a variant).
    """
    rows: list[dict[str, Any]] = []
    for name, both in strengths.items():
        safety, utility = both["safety"], both["utility"]
        orders = [np.argsort(-strength, kind="stable") for strength in (safety, utility)]
        correlation = float(stats.spearmanr(safety, utility).statistic)
        for share in SHARES:
            count = max(1, round(share * len(safety)))
            shared = len(np.intersect1d(orders[0][:count], orders[1][:count]))
            rows.append(
                {"variant": name, "share": share, "neurons": count, "both": shared}
                | {"by_chance": count**2 / len(safety), "correlation": correlation}
            )
    return pd.DataFrame(rows)


def overlap_rows(table: pd.DataFrame) -> list[dict[str, str]]:
    """Return the table as text."""
    return [
        {
            "variant": str(row["variant"]),
            "first of each ranking": f"{row['share']:.2%} ({row['neurons']:,})",
            "in both": f"{row['both']:,} ({row['both'] / row['neurons']:.0%})",
            "by chance": f"{row['by_chance']:,.1f}",
            "Spearman": f"{row['correlation']:+.2f}",
        }
        for row in table.to_dict("records")
    ]
