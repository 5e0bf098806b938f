"""(IA)3 on the MLP neurons (Liu et al. 2022, https://arxiv.org/abs/2205.05638): every neuron has a learned factor."""

from dataclasses import dataclass, replace
from typing import Any, Self

from neurontune_core.baselines.adapters import Adapter


@dataclass(frozen=True)
class Ia3(Adapter):
    """A factor for each neuron, `a <- l * a`, before the down projections: scaling without a selection of neurons."""

    def settings(self, transposed: bool) -> Any:
        """Return peft's configuration; the weights of `transposed` projections are `[input, output]`."""
        from peft import IA3Config

        targets = list(self.targets)
        return IA3Config(target_modules=targets, feedforward_modules=targets, fan_in_fan_out=transposed)

    def weakened(self, share: float) -> Self:
        """Return the adapter with the factors `1 + share (l - 1)`."""
        return replace(self, weights={name: 1 + share * (value - 1) for name, value in self.weights.items()})
