"""Adaptive quadrature: layers whose path integral is inaccurate are integrated again with more nodes.

Along the paths of most layers the integrand is smooth, and three nodes are exact to 1e-4; along a few paths it is not.
The completeness error is the difference between the sum of a layer's scores and the change of the probability. It is
estimated from nodes that were already evaluated, so the estimate needs no forward pass. Each pair is refined
separately, so sums do not depend on how pairs are divided into shards.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from numpy.polynomial import legendre
from numpy.typing import NDArray
from torch import Tensor

from neurontune_core.attribution.paths import Collected, Path, layer_scores, run_waves
from neurontune_core.attribution.quadrature import legendre_gauss_radau
from neurontune_core.attribution.setup import Engine
from neurontune_core.attribution.split import cut
from neurontune_core.attribution.wavefront import Context, Wave

DOUBLINGS = 4
"""Most doublings of a layer's rows. Integrands with kinks (ReLU) converge slowly, however many nodes they get."""
CAUTION = 4.0
"""Safety factor of the error estimate, which is right only to an order of magnitude."""
SMALLEST_SHARE = 0.01
"""The error of a layer is relative to the layer's own change, or to this share of the pair's largest change if that is
larger: if a layer hardly changes the probability, its error is mostly rounding of the gradients."""
NOISE = {torch.float64: 1e-10, torch.float32: 3e-5}
"""Relative rounding error of a probability; smaller error estimates are noise. Half formats are never refined."""


def refine(
    engine: Engine,
    context: Context,
    whole: Collected,
    parts: Sequence[dict[int, Tensor]],
    scales: Sequence[float],
    wanted_gap: float,
    limit: int,
) -> tuple[list[Wave], list[int]]:
    """Integrate layers again, with twice the rows each time, while their estimated gap is over `wanted_gap`.

    Args:
        engine: what `setup.build_engine` returned.
        context: the batch.
        whole: the paths of the batch with the engine's own nodes.
        parts: scores of each pair's layers, in units of `exp(scale)`; replaced where a layer is integrated again.
        scales: the `scale` of each pair: its scores are in units of `exp(scale)`.
        wanted_gap: the largest allowed gap, as `completeness` measures it; 0 allows any gap.
        limit: row-layers that may be kept at once.

    Returns:
        The additional waves, and for each pair the number of layers integrated again.
    """
    refined: list[set[int]] = [set() for _ in parts]
    if wanted_gap <= 0 or engine.model.dtype not in NOISE:
        return [], [0] * len(parts)
    waves: list[Wave] = []
    paths, nodes = whole.paths, len(engine.points)
    waiting = {place: list(paths) for place in range(len(parts))}
    for doubling in range(DOUBLINGS + 1):
        for place, asked in waiting.items():
            still = {layer: paths[layer] for layer in asked}
            waiting[place] = _incomplete(engine, still, place, scales[place], parts[place], wanted_gap)
        waiting = {place: bent for place, bent in waiting.items() if bent}
        if not waiting or doubling == DOUBLINGS:
            break
        # the path's end costs no row
        nodes = 2 * nodes - 1
        points, weights = legendre_gauss_radau(nodes)
        wanted = sorted({layer for bent in waiting.values() for layer in bent})
        finer = run_waves(engine, context, cut(wanted, len(engine.widths), points, limit), points, weights)
        paths = finer.paths
        waves += finer.waves
        for place, bent in waiting.items():
            refined[place].update(bent)
            for layer in bent:
                parts[place][layer] = layer_scores(engine, paths[layer], place, scales[place])
    return waves, [len(each) for each in refined]


def _incomplete(
    engine: Engine, paths: dict[int, Path], place: int, scale: float, parts: dict[int, Tensor], wanted_gap: float
) -> list[int]:
    """Return the layers of a pair whose estimated gap is larger than `wanted_gap`."""
    largest = max(abs(float(part.sum())) for part in parts.values())
    bent = []
    for layer, path in paths.items():
        scores = parts[layer]
        found = estimated_gap(path, scores, place, scale, engine.probability, NOISE[engine.model.dtype])
        if CAUTION * found > wanted_gap * max(abs(float(scores.sum())), SMALLEST_SHARE * largest):
            bent.append(layer)
    return bent


def estimated_gap(path: Path, scores: Tensor, place: int, scale: float, probability: bool, noise: float) -> float:
    """Estimate the completeness error of a layer's scores for one pair, in units of `exp(scale)`.

        e = sum_k |integral from t_k to t_(k+1) of p - (P(t_(k+1)) - P(t_k))| * |a_(n-1)| / |C|

    with P the probability along the path, p the polynomial through the slopes dP/dt of the n nodes t_k, a_(n-1) the
    vector of the neurons' highest Legendre coefficients, C the vector of their scores. The first factor is the error of
    interpolation, of order n. Radau quadrature is exact for n - 1 degrees more than interpolation. The second factor
    assumes that over these degrees the Legendre coefficients decay as much as from the first to the last known
    coefficient.

    Args:
        path: the layer's path.
        scores: the scores C `[neuron]` from the path's nodes.
        place: the pair's place in the batch.
        scale: values are in units of `exp(scale)`.
        probability: True if P is the probability, False if it is its logarithm.
        noise: rounding error of P; an interpolation error below it gives 0.
    """
    values = path.log_probability[:, place] - scale
    slopes = path.contribution[:, place]
    if probability:
        values = values.exp()
        slopes = slopes * values[:, None]
    between, highest = (
        torch.tensor(each(path.points), dtype=values.dtype, device=values.device)
        for each in (weights_between, highest_coefficient)
    )
    interpolation = float((between @ slopes.sum(-1) - values.diff()).abs().sum())
    if interpolation <= noise:
        return 0.0
    return interpolation * float((highest @ slopes).norm() / scores.norm().clamp_min(1e-300))


@lru_cache
def weights_between(points: tuple[float, ...]) -> NDArray[np.float64]:
    """Return weights `[interval, point]` that integrate the interpolant from each point to the next point."""
    # legint works on the coefficients of every Legendre polynomial at once, a column each
    integrals = legendre.legval(2 * np.asarray(points) - 1, legendre.legint(np.eye(len(points))))
    return np.diff(integrals, axis=1).T / 2 @ _legendre_coefficients(points)


def highest_coefficient(points: tuple[float, ...]) -> NDArray[np.float64]:
    """Return weights `[point]` that give the highest Legendre coefficient of the interpolant through the points."""
    return _legendre_coefficients(points)[-1]


@lru_cache
def _legendre_coefficients(points: tuple[float, ...]) -> NDArray[np.float64]:
    """Return weights `[degree, point]` that give the interpolant's Legendre coefficients on [0, 1]."""
    return np.linalg.inv(legendre.legvander(2 * np.asarray(points) - 1, len(points) - 1))
