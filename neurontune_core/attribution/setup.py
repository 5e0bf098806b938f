"""The prepared model: everything that all batches of pairs share, computed once."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

from neurontune_core.attribution import memory
from neurontune_core.attribution.encode import EncodedPair
from neurontune_core.attribution.quadrature import legendre_gauss_radau
from neurontune_core.attribution.settings import AttributionConfig, first_layer
from neurontune_core.attribution.split import Budget, row_layers
from neurontune_core.attribution.verify import check_prefix_logits
from neurontune_core.attribution.wavefront import Wave
from neurontune_core.model.devices import device_of
from neurontune_core.model.head import Head
from neurontune_core.model.load import ChatModel
from neurontune_core.neurons import neuron_counts


@dataclass(frozen=True)
class Engine:
    """A model prepared for attribution: its head, the points of the path, and the memory budget."""

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
        return device_of(self.model)


def build_engine(config: AttributionConfig, chat: ChatModel, memory_mib: int | None = None) -> Engine:
    """Prepare a model, and check that rows on a shared prefix and the head give the model's own logits.

    Raises:
        InputError: there is no such `first_layer`, a layer has no MLP neurons, or attention or head do not give the
            model's own logits.
    """
    model = chat.model
    widths = tuple(neuron_counts(model))
    first = first_layer(config, len(widths))
    head = Head.of(model)
    check_prefix_logits(model, head)
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
    """Return groups of places of pairs that go through the model together; pairs of a group have similar lengths."""
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
    """Return how many row-layers may be kept at once, if the rows of all pairs of a batch have `row_tokens` tokens."""
    return int(min(engine.budget_bytes / (engine.bytes_per_token_layer * row_tokens), engine.budget.row_layers))
