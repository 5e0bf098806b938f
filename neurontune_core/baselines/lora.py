"""LoRA: low-rank matrices added to the weights, with about as many numbers as there are factors."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from neurontune_core.baselines.adapters import Adapter, paths
from neurontune_core.model.load import ChatModel
from neurontune_core.neurons import coverage
from neurontune_core.records import NeuronId

RANK = 1


@dataclass(frozen=True)
class Lora(Adapter):
    """Low-rank matrices, `W <- W + B A`, on the down projections of some layers."""

    def settings(self, transposed: bool) -> Any:
        """Return peft's configuration; the weights of `transposed` projections are `[input, output]`."""
        from peft import LoraConfig

        return LoraConfig(r=RANK, lora_alpha=RANK, target_modules=list(self.targets), fan_in_fan_out=transposed)

    def weakened(self, share: float) -> Self:
        """Return the adapter with `share * B`, which scales the product that is added to the weights."""
        weights = {name: share * value if "lora_B" in name else value for name, value in self.weights.items()}
        return replace(self, weights=weights)

    def without_reading(self, neurons: Sequence[NeuronId]) -> Self:
        """Return the adapter whose matrices A are 0 in the columns of these neurons."""
        weights = {name: value.clone() for name, value in self.weights.items()}
        for target in self.targets:
            layer = next(int(part) for part in target.split(".") if part.isdigit())
            columns = [neuron.index for neuron in neurons if neuron.layer == layer]
            for name in weights:
                if f"{target}.lora_A" in name:
                    weights[name][:, columns] = 0  # [rank, neuron]
        return replace(self, weights=weights)


def targets_for(chat: ChatModel, parameters: int) -> tuple[str, ...]:
    """Return paths of evenly spread down projections whose rank-1 matrices together have about `parameters` numbers."""
    rows = [row for row in coverage(chat.model) if not row.problem]
    hidden = chat.model.config.get_text_config().hidden_size
    each = RANK * (rows[0].neurons + hidden)
    count = min(max(1, round(parameters / each)), len(rows))
    return paths(chat, [rows[math.floor((i + 0.5) * len(rows) / count)].layer for i in range(count)])
