"""The paths of a batch: the results of its waves, collected layer by layer, and the scores."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache, partial

import torch
from torch import Tensor

from neurontune_core.attribution.precision import widest
from neurontune_core.attribution.setup import Engine
from neurontune_core.attribution.split import run_within
from neurontune_core.attribution.wavefront import Context, Wave, run_wave


@dataclass
class Path:
    """One layer's path for all pairs of a batch.

    Attributes:
        points, weights: points and weights of the quadrature rule.
        log_probability: log P of the response at every point `[point, pair]`.
        contribution: `(v_pq - v_q)_i * d log P / d v_i` `[point, pair, neuron]`.
    """

    points: tuple[float, ...]
    weights: tuple[float, ...]
    log_probability: Tensor
    contribution: Tensor


@dataclass
class Collected:
    """The results of the waves of a batch: a path for each layer, log P(v_pq) `[pair]`, and the waves that were run."""

    paths: dict[int, Path]
    clean: Tensor
    waves: list[Wave] = field(default_factory=list)


def run_waves(
    engine: Engine, context: Context, waves: Sequence[Wave], points: tuple[float, ...], weights: tuple[float, ...]
) -> Collected:
    """Run waves and collect their results, layer by layer."""
    pairs = len(context.batch.row)
    zeros = partial(torch.zeros, dtype=widest(engine.device), device=engine.device)
    collected = Collected({}, zeros(pairs))
    run = partial(run_wave, engine.model, engine.head, context)

    @cache
    def places_of(own: tuple[float, ...]) -> Tensor:
        return torch.tensor([points.index(point) for point in own], device=engine.device)

    for wave in waves:
        places_of(wave.points)  # made before the waves, because a copy from a list to a GPU waits for what runs there
    for wave, result in run_within(run, waves, len(engine.widths), engine.budget):
        chosen = places_of(wave.points)
        collected.clean = result.clean
        collected.waves.append(wave)
        for place, layer in enumerate(result.layers):
            path = collected.paths.get(layer)
            if path is None:
                shape = (len(points), pairs)
                path = Path(points, weights, zeros(shape), zeros(*shape, engine.widths[layer]))
                collected.paths[layer] = path
            path.log_probability[chosen] = result.log_probability[place]
            path.contribution[chosen] = result.contribution[place]
    collected.paths = dict(sorted(collected.paths.items()))
    return collected


def layer_scores(engine: Engine, path: Path, place: int, scale: float) -> Tensor:
    """Return C of one layer's neurons for one pair, in units of `exp(scale)`."""
    logs = path.log_probability[:, place]
    factors = torch.tensor(path.weights, dtype=logs.dtype, device=logs.device)
    if engine.probability:
        factors = factors * (logs - scale).exp()
    return factors @ path.contribution[:, place]
