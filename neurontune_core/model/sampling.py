"""Sampling at temperature 1 with one random stream for each name, so that other rows of a batch have no influence."""

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


class Sampler:
    """Draws the next token of every row from the row's own stream of random numbers, named by `names`."""

    def __init__(self, names: Sequence[str]) -> None:
        """Start the streams; a name's digest is its seed."""
        seeds = [int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") for name in names]
        self._streams = [np.random.default_rng(seed) for seed in seeds]

    def __call__(self, logits: Tensor, places: Sequence[int]) -> Tensor:
        """Return a token `[row]` for logits `[row, vocabulary]`: the first whose cumulative probability exceeds `u`.

        Args:
            logits: of the next token.
            places: which of the names each row is.
        """
        cumulative = logits.double().softmax(-1).cumsum(-1)
        drawn = torch.tensor([[self._streams[place].random()] for place in places], dtype=torch.float64)
        found = torch.searchsorted(cumulative, drawn.to(logits.device) * cumulative[:, -1:], right=True)
        return found[:, 0].clamp(max=logits.shape[-1] - 1)
