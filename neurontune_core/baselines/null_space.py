"""Steering that hardly moves harmless states: AlphaSteer (Sheng et al. 2025, https://arxiv.org/abs/2506.07022)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neurontune_core.baselines.steering import visit_states
from neurontune_core.model.likelihood import TokenSequence
from neurontune_core.model.load import ChatModel

NULL_SHARE = 0.5
"""Share of the directions of the residual stream that are used: those in which harmless states are smallest."""
RIDGE = 0.1
"""Ridge penalty, relative to the mean eigenvalue of the harmful states' second moment in the null space."""


@dataclass(frozen=True)
class States:
    """Residual streams after one layer: the sum of `h h^T` over harmless states, their number, and harmful states."""

    moment: Tensor
    count: int
    harmful: Tensor


def harmful_direction(states: States) -> NDArray[np.float32]:
    """Return `w` `[hidden]`, so that `w . h` is about 1 at harmful states and about 0 at harmless ones.

    AlphaSteer learns `Delta = argmin |Delta P H - R|^2 + a |Delta P|^2` with the columns of H harmful states, those of
    R all the refusal direction r, and P the projection onto the null space of the harmless states' covariance. As all
    columns of R are equal, `Delta P = r w^T` with `w = U (Z Z^T + a I)^-1 Z 1`, `Z = U^T H`, `P = U U^T`.
    """
    _, vectors = torch.linalg.eigh(states.moment)  # eigenvalues ascend
    free = vectors[:, : max(1, round(NULL_SHARE * len(vectors)))]
    inside = states.harmful @ free  # [harmful, free]
    gram = inside.T @ inside
    ridge = RIDGE * gram.trace() / len(gram) + torch.finfo(gram.dtype).tiny
    penalised = gram + ridge * torch.eye(len(gram), dtype=gram.dtype)
    return (free @ torch.linalg.solve(penalised, inside.sum(0))).float().numpy()


def moved(states: States, reading: NDArray[np.float32]) -> dict[str, float]:
    """Return `w . h`, the share of the direction that is added: mean of harmful states, RMS of harmless states."""
    w = torch.from_numpy(reading).double()
    harmless = float((w @ states.moment @ w).clamp(min=0) / max(1, states.count)) ** 0.5
    return {"harmful_moved": float((states.harmful @ w).mean()), "harmless_moved": harmless}


def collect_states(
    chat: ChatModel,
    harmful: Sequence[list[int]],
    harmless: Sequence[TokenSequence],
    layers: Sequence[int],
) -> dict[int, States]:
    """Return the states after some layers, float64: harmful ones at the last prompt position, harmless ones everywhere.

    Harmless states are taken at every token of prompt and answer, because steering acts on all tokens.
    """
    hidden = chat.model.config.get_text_config().hidden_size
    moments = {layer: torch.zeros(hidden, hidden, dtype=torch.float64) for layer in layers}
    last: dict[int, list[Tensor]] = {layer: [] for layer in layers}

    def add(layer: int, states: Tensor, mask: Tensor) -> None:
        if layer in moments:
            own = states[mask.bool()].double()
            moments[layer] += (own.T @ own).cpu()

    def keep(layer: int, states: Tensor, mask: Tensor) -> None:
        if layer in last:
            last[layer].append(states[:, -1].double().cpu())

    visit_states(chat, [sequence.tokens for sequence in harmless], add)
    visit_states(chat, harmful, keep)
    count = sum(len(sequence.tokens) for sequence in harmless)
    return {layer: States(moments[layer], count, torch.cat(last[layer])) for layer in layers}
