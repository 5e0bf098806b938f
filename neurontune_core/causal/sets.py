"""The sets of neurons of a causal study: the ends of a ranking, and random ones matched layer by layer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neurontune_core.causal.cells import OPPOSING, RANDOM, SAFETY, SELECTED_SAFETY, SELECTED_UTILITY, UTILITY
from neurontune_core.records import NeuronId, NeuronSet, Role, neurons_at, places_of
from neurontune_core.selection.controls import matched_random

Places = NDArray[np.int64]


@dataclass(frozen=True)
class Sets:
    """What the sets are made of.

    Attributes:
        strengths: how strongly every neuron carries its role (`selection.ranking`), by role, `[neuron]`.
        selected: the neurons selected for tuning.
        neurons_per_layer: `[layer]`.
        seed: of the random draws.
    """

    strengths: Mapping[Role, NDArray[np.float64]]
    selected: NeuronSet
    neurons_per_layer: Sequence[int]
    seed: int

    def neurons(self, name: str, share: float, matched: str = "") -> tuple[NeuronId, ...]:
        """Return the neurons of a set (`cells.Cell`); none for the model without a change and for the empty set."""
        return neurons_at(self._places(name, share, matched), self.neurons_per_layer)

    def _places(self, name: str, share: float, matched: str) -> Places:
        if name.startswith(RANDOM):
            chosen = self._places(matched, share, "")
            nothing = np.array([], dtype=np.int64)
            # the same draw for every intervention, another draw for every count
            seed = [self.seed, int(name.removeprefix(RANDOM)), len(chosen)]
            return np.sort(matched_random((chosen, nothing), self.neurons_per_layer, seed)[0])
        if name in (SELECTED_SAFETY, SELECTED_UTILITY):
            selected = self.selected.safety if name == SELECTED_SAFETY else self.selected.utility
            return places_of(selected, self.neurons_per_layer)
        if name not in (SAFETY, OPPOSING, UTILITY):
            return np.array([], dtype=np.int64)
        strength = self.strengths["utility" if name == UTILITY else "safety"]
        order = np.argsort(strength if name == OPPOSING else -strength, kind="stable")
        return np.sort(order[: max(1, round(share * sum(self.neurons_per_layer)))])
