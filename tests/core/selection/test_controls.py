"""Controls: neurons chosen otherwise than by their score."""

import numpy as np
import pytest

from neurontune_core.records import NeuronId
from neurontune_core.selection.controls import random_neurons, shuffled, whole_layers
from neurontune_core.selection.select import select_neurons
from neurontune_core.selection.settings import SelectionConfig
from tests.core.selection.test_select_neurons import SAFETY, UTILITY, WIDTHS, table


def test_random_neurons_are_disjoint_and_the_same_for_a_seed() -> None:
    safety, utility = random_neurons((30, 20), 100, 3)
    assert len(safety) == 30 and len(utility) == 20 and not set(safety) & set(utility)
    assert [list(part) for part in random_neurons((30, 20), 100, 3)] == [list(safety), list(utility)]
    assert list(random_neurons((30, 20), 100, 4)[0]) != list(safety)


def test_shuffling_keeps_the_scores_of_every_layer() -> None:
    scores = np.arange(40.0)
    dealt = shuffled(scores, (10, 0, 30), 1)
    assert sorted(dealt[:10]) == list(range(10)) and sorted(dealt[10:]) == list(range(10, 40))
    assert list(dealt) != list(scores)
    assert list(shuffled(scores, (10, 0, 30), 1)) == list(dealt)


@pytest.mark.parametrize(
    ("counts", "safety", "utility"),
    [
        # sums of scores: safety 24 in layer 0, 12 in layer 2; utility 55 and 51
        ((3, 5), [0, 1, 2], [3, 4, 5, 6, 7]),
        ((1, 1), [0, 1, 2], [3, 4, 5, 6, 7]),
        ((0, 1), [], [0, 1, 2]),
        ((8, 0), [0, 1, 2, 3, 4, 5, 6, 7], []),
    ],
)
def test_whole_layers_by_hand(counts: tuple[int, int], safety: list[int], utility: list[int]) -> None:
    found = whole_layers(SAFETY, UTILITY, counts, WIDTHS)
    assert [list(part) for part in found] == [safety, utility]


def test_controls_through_the_settings() -> None:
    def chosen(**changes: object) -> tuple[tuple[NeuronId, ...], tuple[NeuronId, ...]]:
        settings = {"safety_neurons": 3, "utility_neurons": 3} | changes
        found = select_neurons(table(), SelectionConfig.model_validate(settings), WIDTHS)
        assert found.facts["safety_neurons"] == len(found.neurons.safety)
        return found.neurons.safety, found.neurons.utility

    layers = chosen(method="layers")
    assert {neuron.layer for neuron in layers[0]} == {0} and {neuron.layer for neuron in layers[1]} == {2}
    assert len(layers[1]) == 5, "a layer is taken whole"
    by_seed = [chosen(method="shuffled", seed=seed) for seed in range(6)]
    assert len(set(by_seed)) > 1 and by_seed[0] == chosen(method="shuffled")
    assert chosen() not in by_seed[:1]
