"""Neurons of mixtures of experts by layer, expert and index, instead of the layer's flat index."""

from collections.abc import Sequence

from neurontune_core.records import NeuronId

SHARED = "shared"
ExpertShapes = Sequence[tuple[int, int]]
"""The routed experts of every layer and the neurons of each, `(0, 0)` in a dense layer; empty for a dense model."""


def expert_of(neuron: NeuronId, shapes: ExpertShapes) -> tuple[str, int]:
    """Return the number of a neuron's expert and the neuron's index there.

    The flat index of neuron i of expert e is `e * neurons of an expert + i`; the neurons of the shared expert,
    `SHARED`, have the last indices. The expert is "" in a dense layer.
    """
    count, width = shapes[neuron.layer] if neuron.layer < len(shapes) else (0, 0)
    if not count:
        return "", neuron.index
    expert = min(neuron.index // width, count)
    return SHARED if expert == count else str(expert), neuron.index - expert * width


def neuron_in_words(neuron: NeuronId, expert: str, place: int) -> str:
    """Return the name of a neuron within its layer: `17`, `expert 3, 17` or `shared expert, 17`."""
    if not expert:
        return str(neuron.index)
    return f"shared expert, {place}" if expert == SHARED else f"expert {expert}, {place}"
