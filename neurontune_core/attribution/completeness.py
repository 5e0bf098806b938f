"""The completeness check: the scores of a layer add up to the change of the probability they explain."""

import pandas as pd

from neurontune_core.attribution.pair_scores import PairScores
from neurontune_core.attribution.refine import SMALLEST_SHARE
from neurontune_core.records import PromptPair

WANTED_GAP = 1e-3

COLUMNS = ("pair", "role", "layer", "attributed", "difference", "relative_gap")


def completeness_rows(pair: PromptPair | None, result: PairScores | None) -> pd.DataFrame:
    """Return a row a layer: `sum_i C_i`, `P(v_pq) - P(v_q)`, and their gap relative to the latter.

        relative_gap = |sum_i C_i - difference| / max(|difference|, 0.01 * largest |difference| of the pair)

    Values are in the units of `PairScores`; without arguments the table is empty.
    """
    if pair is None or result is None or result.attributed is None or result.difference is None:
        return pd.DataFrame({name: [] for name in COLUMNS})
    attributed, difference = result.attributed.cpu().numpy(), result.difference.cpu().numpy()
    size = abs(difference)
    reference = size.clip(min=SMALLEST_SHARE * size.max())
    gap = abs(attributed - difference)
    relative = (gap / reference.clip(min=1e-300)) if size.max() > 0 else gap
    columns = (pair.id, pair.role, result.layers, attributed, difference, relative)
    return pd.DataFrame(dict(zip(COLUMNS, columns, strict=True)))


def completeness_facts(rows: pd.DataFrame) -> dict[str, float]:
    """Return how many pairs were checked, the mean and largest relative gap, and the share of gaps under 1e-3."""
    if rows.empty:
        return {"completeness_pairs": 0.0}
    return {
        "completeness_pairs": float(rows["pair"].nunique()),
        "completeness_gap_mean": float(rows["relative_gap"].mean()),
        "completeness_gap_max": float(rows["relative_gap"].max()),
        "completeness_share_within": float((rows["relative_gap"] < WANTED_GAP).mean()),
    }
