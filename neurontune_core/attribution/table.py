"""Sums of pair scores, and the score table made from the sums."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from neurontune_core.artifacts import text_digest

COLUMNS = ("role", "attack_category", "layer", "neuron", "half", "score_sum", "score_sq_sum", "count")


def half_of(pair_id: str) -> int:
    """Return the half (0 or 1) that a pair belongs to for split-half agreement, from a digest of its id."""
    return int(text_digest(pair_id)[:8], 16) % 2


class ScoreSums:
    """Sums of scores and squared scores, float64, per role, attack category, half and neuron.

    With `normalise` each pair's scores, over all attributed neurons, are first scaled to unit L2 norm. Without it they
    keep their own units: probabilities, log-probabilities or activations.
    """

    def __init__(self, widths: Mapping[int, int], normalise: bool) -> None:
        """Take the number of neurons of each attributed layer, and whether pairs are scaled to unit norm."""
        self._widths, self._normalise = widths, normalise
        self._sums: dict[tuple[str, str, int], tuple[Tensor, Tensor, int]] = {}

    def add(self, role: str, attack_category: str, half: int, scores: Tensor, scale: float) -> None:
        """Add the scores of one pair, float64 `[neuron]`, in units of `exp(scale)`."""
        norm = scores.norm()
        if not self._normalise:
            scores = scores * float(np.exp(scale))
        elif norm > 0:
            scores = scores / norm
        key = (role, attack_category, half)
        total, squares, count = self._sums.get(key, (torch.zeros_like(scores), torch.zeros_like(scores), 0))
        self._sums[key] = (total + scores, squares + scores.square(), count + 1)

    def table(self) -> pd.DataFrame:
        """Return the score table: a row per role, attack category, half and neuron, sorted."""
        layers = np.repeat(list(self._widths), list(self._widths.values()))
        indices = np.concatenate([np.arange(width) for width in self._widths.values()])
        parts = [
            pd.DataFrame(
                {
                    "role": role,
                    "attack_category": category,
                    "layer": layers.astype(np.int32),
                    "neuron": indices.astype(np.int32),
                    "half": np.int8(half),
                    "score_sum": total.cpu().numpy(),
                    "score_sq_sum": squares.cpu().numpy(),
                    "count": np.int64(count),
                }
            )
            for (role, category, half), (total, squares, count) in sorted(self._sums.items(), key=lambda item: item[0])
        ]
        return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(COLUMNS))
