"""Controls: neurons chosen otherwise than by their score, to see what attribution contributes."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Chosen = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Safety and utility neurons by their place in the order of layer and index."""


def random_neurons(counts: tuple[int, int], total: int, seed: int) -> Chosen:
    """Return `counts` safety and utility neurons, drawn from all neurons with equal probability."""
    drawn = np.random.default_rng(seed).permutation(total)
    return drawn[: counts[0]], drawn[counts[0] : sum(counts)]


def matched_random(chosen: Chosen, neurons_per_layer: Sequence[int], seed: int | Sequence[int]) -> Chosen:
    """Return random sets with as many neurons in each layer as the chosen sets, drawn from the neurons not chosen.

    If a layer has too few neurons that were not chosen, all of them are taken. The two random sets are disjoint.
    """
    generator = np.random.default_rng(seed)
    ends = np.cumsum(neurons_per_layer)
    is_free = np.ones(ends[-1], dtype=bool)
    is_free[np.concatenate(chosen)] = False
    drawn = []
    for places in chosen:
        parts = []
        for end, width in zip(ends, neurons_per_layer, strict=True):
            wanted = int(np.count_nonzero((places >= end - width) & (places < end)))
            others = end - width + np.flatnonzero(is_free[end - width : end])
            parts.append(generator.choice(others, min(wanted, len(others)), replace=False))
        drawn.append(np.concatenate(parts).astype(np.int64))
        is_free[drawn[-1]] = False
    return drawn[0], drawn[1]


def shuffled(scores: NDArray[np.float64], neurons_per_layer: Sequence[int], seed: int) -> NDArray[np.float64]:
    """Return scores `[neuron]` permuted at random within each layer."""
    generator = np.random.default_rng(seed)
    parts = np.split(scores, np.cumsum(neurons_per_layer)[:-1])
    return np.concatenate([generator.permutation(part) for part in parts])


def whole_layers(
    safety: NDArray[np.float64],
    utility: NDArray[np.float64],
    counts: tuple[int, int],
    neurons_per_layer: Sequence[int],
) -> Chosen:
    """Return all neurons of the layers with the highest sum of scores, as many layers as come nearest to the counts.

    Each role asked for gets at least one layer; safety chooses first, and no layer serves both.
    """
    ends = np.cumsum(neurons_per_layer)
    layers = [np.arange(end - width, end) for end, width in zip(ends, neurons_per_layer, strict=True)]
    width = float(np.mean([size for size in neurons_per_layer if size]))
    taken: set[int] = set()
    chosen = []
    for scores, count in zip((safety, utility), counts, strict=True):
        sums = [scores[places].sum() if len(places) else -np.inf for places in layers]
        ranked = [int(layer) for layer in np.argsort(-np.array(sums), kind="stable") if int(layer) not in taken]
        best = sorted(ranked[: max(1, round(count / width))] if count else [])
        taken.update(best)
        chosen.append(np.concatenate([layers[layer] for layer in best]) if best else np.array([], dtype=np.int64))
    return chosen[0], chosen[1]
