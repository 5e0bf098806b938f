"""From pairs to scores: the path integral of every neuron, by as many waves as memory allows."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from transformers import PreTrainedModel

from neurontune_core.attribution import memory
from neurontune_core.attribution.encode import EncodedPair, make_batch
from neurontune_core.attribution.pair_scores import PairScores, check_finite
from neurontune_core.attribution.paths import collect, layer_scores
from neurontune_core.attribution.precision import Widened
from neurontune_core.attribution.quadrature import legendre_gauss_radau
from neurontune_core.attribution.refine import refine
from neurontune_core.attribution.split import Budget, cut, in_halves, row_layers, run_within
from neurontune_core.attribution.verify import check_logits
from neurontune_core.attribution.wavefront import Context, Wave, prepare, run_wave
from neurontune_core.config import AttributionConfig
from neurontune_core.errors import InputError
from neurontune_core.model.head import Head
from neurontune_core.model.load import ChatModel
from neurontune_core.neurons import neuron_counts


@dataclass(frozen=True)
class Engine:
    """A model made ready for attribution: its head, the path's points, and the memory it may use."""

    model: PreTrainedModel
    head: Head
    widths: tuple[int, ...]
    layers: range
    points: tuple[float, ...]
    weights: tuple[float, ...]
    every_position: bool
    probability: bool
    bytes_per_token_layer: float
    budget_bytes: int
    budget: Budget

    @property
    def device(self) -> torch.device:
        """Device of the model."""
        return self.model.device


def first_layer(config: AttributionConfig, layers: int) -> int:
    """Return the first layer to attribute: a layer as it is, a fraction below 1 of all `layers` rounded down.

    Raises:
        InputError: it is neither, or the model has no such layer.
    """
    value = config.first_layer
    if not (float(value).is_integer() or 0 < value < 1):
        raise InputError(f"attribution.first_layer: {value} is neither a layer nor a fraction below 1")
    first = int(value * layers) if 0 < value < 1 else int(value)
    if first >= layers:
        raise InputError(
            f"attribution.first_layer: {value}, but the model has {layers} layers; choose at most {layers - 1}"
        )
    return first


def build(config: AttributionConfig, chat: ChatModel, memory_mib: int | None = None) -> Engine:
    """Make a model ready, and check that its rows and head give the model's own logits.

    Raises:
        InputError: there is no such `first_layer`, a layer has no MLP neurons, or attention or head do not give the
            model's own logits.
    """
    model = chat.model
    widths = tuple(neuron_counts(model))
    first = first_layer(config, len(widths))
    head = Head.of(model)
    check_logits(model, head)
    points, weights = legendre_gauss_radau(config.nodes)
    budget_bytes = memory.activation_budget(model) if memory_mib is None else memory_mib << 20
    return Engine(
        model,
        head,
        widths,
        range(first, len(widths)),
        points,
        weights,
        config.position == "response",
        config.objective == "probability",
        memory.bytes_per_token_layer(model, head),
        budget_bytes,
        Budget(1 << 60),
    )


def batches(engine: Engine, pairs: Sequence[EncodedPair]) -> list[list[int]]:
    """Return the places of pairs that go through the model together, of similar length if they are several."""
    if not pairs:
        return []
    layers, points = len(engine.widths), len(engine.points)
    positions = max(len(pair.response) for pair in pairs)
    whole = row_layers(Wave(engine.layers, engine.points), layers) * positions * engine.bytes_per_token_layer
    rows = len(engine.layers) * (points - 1) + 1
    size = memory.pairs_per_batch(engine.device, positions, rows, whole, engine.budget_bytes)
    order = list(range(len(pairs)))
    if size > 1:
        order.sort(key=lambda place: len(pairs[place].prompt))
    return [order[start : start + size] for start in range(0, len(order), size)]


def row_layer_limit(engine: Engine, row_tokens: int) -> int:
    """Return how many row-layers may be kept at once, for rows of `row_tokens` tokens in all pairs of a batch."""
    return int(min(engine.budget_bytes / (engine.bytes_per_token_layer * row_tokens), engine.budget.row_layers))


def attribute(
    engine: Engine, pairs: Sequence[EncodedPair], with_difference: bool = False, wanted_gap: float = 0.0
) -> list[PairScores]:
    """Return the scores of pairs that are run together as one batch, or as two if memory does not suffice.

        C(n_i^l) = (v_pq - v_q)_i * sum_s w_s dP(y | v^l <- v_q + t_s (v_pq - v_q)) / dv_i^l

    Args:
        engine: what `build` returned.
        pairs: the pairs; all rows of all of them share each wave.
        with_difference: also run both ends of the paths, whose probabilities completeness is checked against.
        wanted_gap: layers whose completeness gap is estimated to be larger get twice the nodes, as often as it takes
            (`refine`); 0: the engine's nodes are used everywhere.

    Raises:
        NumericalError: a score is NaN or infinite; the message names the pair.
    """
    return in_halves(lambda part: _attribute_batch(engine, part, with_difference, wanted_gap), pairs)


def _attribute_batch(
    engine: Engine, pairs: Sequence[EncodedPair], with_difference: bool, wanted_gap: float
) -> list[PairScores]:
    batch = make_batch(pairs, engine.device)
    context = prepare(engine.model, batch, engine.every_position)
    layers = len(engine.widths)
    limit = row_layer_limit(engine, batch.row.numel())
    whole = collect(engine, context, cut(engine.layers, layers, engine.points, limit), engine.points, engine.weights)
    logs = torch.stack([path.log_probability for path in whole.paths.values()])
    # dP = P dlogP; P relative to the pair's largest, so that it cannot underflow
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
    """Return P(v_pq) - P(v_q) of each layer for every pair, or of log P, computed in the wider number format."""
    layers = len(engine.widths)
    run = partial(run_wave, engine.model, engine.head, context, with_gradient=False)
    with Widened(engine.model.dtype, engine.device):
        results = [result for _, result in run_within(run, [Wave(engine.layers, (0.0,))], layers, engine.budget)]
    differences: list[Tensor | None] = []
    for place, scale in enumerate(scales):
        end = results[0].clean[place] - scale
        start = torch.cat([result.log_probability[:, 0] for result in results])[:, place] - scale
        differences.append((end.exp() - start.exp() if engine.probability else end - start).cpu().double())
    return differences
