"""From pairs to scores: the path integral of every neuron, by as many waves as memory allows."""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from neurontune_core.attribution.encode import EncodedPair, make_batch
from neurontune_core.attribution.pair_scores import PairScores, check_finite
from neurontune_core.attribution.paths import layer_scores, run_waves
from neurontune_core.attribution.precision import Widened
from neurontune_core.attribution.refine import refine
from neurontune_core.attribution.setup import Engine, row_layer_limit
from neurontune_core.attribution.split import cut, in_halves, run_within
from neurontune_core.attribution.wavefront import Context, Wave, make_context, run_wave
from neurontune_core.model.devices import loading_apart


def attribute(
    engine: Engine, pairs: Sequence[EncodedPair], with_difference: bool = False, wanted_gap: float = 0.0
) -> list[PairScores]:
    """Return the scores of pairs that are run together as one batch, or as two if memory does not suffice.

        C(n_i^l) = (v_pq - v_q)_i * sum_s w_s dP(y | v^l <- v_q + t_s (v_pq - v_q)) / dv_i^l

    Args:
        engine: what `setup.build_engine` returned.
        pairs: the pairs; all rows of all of them share each wave.
        with_difference: also compute the probabilities at both ends of the paths, for the completeness check.
        wanted_gap: layers with a larger estimated completeness gap get twice the nodes, again if needed (`refine`);
            0: all layers use the engine's nodes.

    Raises:
        NumericalError: a score is NaN or infinite; the message names the pair.
    """
    return in_halves(lambda part: _attribute_batch(engine, part, with_difference, wanted_gap), pairs)


def _attribute_batch(
    engine: Engine, pairs: Sequence[EncodedPair], with_difference: bool, wanted_gap: float
) -> list[PairScores]:
    batch = make_batch(pairs, engine.device)
    context = make_context(engine.model, batch, engine.every_position)
    layers = len(engine.widths)
    limit = row_layer_limit(engine, batch.row.numel())
    whole = run_waves(engine, context, cut(engine.layers, layers, engine.points, limit), engine.points, engine.weights)
    logs = torch.stack([path.log_probability for path in whole.paths.values()])
    # dP = P dlogP, with P relative to the pair's largest probability, so that it cannot underflow
    scales = torch.maximum(logs.amax((0, 1)), whole.clean).tolist() if engine.probability else [0.0] * len(pairs)
    parts = [{layer: layer_scores(engine, path, place, scale) for layer, path in whole.paths.items()}
             for place, scale in enumerate(scales)]  # fmt: skip
    for pair, mine in zip(pairs, parts, strict=True):
        for each in mine.values():
            check_finite(pair.id, each)
    waves, refined = refine(engine, context, whole, parts, scales, wanted_gap, limit)
    differences = _differences(engine, context, scales) if with_difference else [None] * len(pairs)
    return [
        PairScores(
            id=pair.id,
            scores=torch.cat(list(mine.values())).cpu().double(),
            scale=scale,
            waves=(*whole.waves, *waves),
            layers=tuple(mine),
            attributed=torch.stack([each.sum() for each in mine.values()]).cpu().double(),
            difference=difference,
            refined=number,
        )
        for pair, mine, scale, difference, number in zip(pairs, parts, scales, differences, refined, strict=True)
    ]


def _differences(engine: Engine, context: Context, scales: Sequence[float]) -> list[Tensor | None]:
    """Return P(v_pq) - P(v_q) of each layer for every pair (or the same of log P), in the wider format."""
    layers = len(engine.widths)
    run = partial(run_wave, engine.model, engine.head, context, with_gradient=False)
    with loading_apart(engine.model), Widened(engine.model.dtype, engine.device):
        results = [result for _, result in run_within(run, [Wave(engine.layers, (0.0,))], layers, engine.budget)]
    differences: list[Tensor | None] = []
    for place, scale in enumerate(scales):
        end = results[0].clean[place] - scale
        start = torch.cat([result.log_probability[:, 0] for result in results])[:, place] - scale
        differences.append((end.exp() - start.exp() if engine.probability else end - start).cpu().double())
    return differences
