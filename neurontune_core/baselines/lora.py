"""LoRA: low-rank matrices beside the weights, about as many numbers as there are factors."""

import math
from dataclasses import dataclass
from typing import Any

from neurontune_core.baselines.adapters import Adapter, paths
from neurontune_core.model.load import ChatModel
from neurontune_core.neurons import coverage

RANK = 1


@dataclass(frozen=True)
class Lora(Adapter):
    """Low-rank matrices, `W <- W + B A`, on the down projections of some layers."""

    def settings(self, transposed: bool) -> Any:
        """Return peft's configuration; the weights of `transposed` projections are `[input, output]`."""
        from peft import LoraConfig

        return LoraConfig(r=RANK, lora_alpha=RANK, target_modules=list(self.targets), fan_in_fan_out=transposed)


def targets_for(chat: ChatModel, parameters: int) -> tuple[str, ...]:
    """Return paths of evenly spread down projections whose rank-1 matrices together have about `parameters` numbers."""
    rows = [row for row in coverage(chat.model) if not row.problem]
    hidden = chat.model.config.get_text_config().hidden_size
    each = RANK * (rows[0].neurons + hidden)
    count = min(max(1, round(parameters / each)), len(rows))
    return paths(chat, [rows[math.floor((i + 0.5) * len(rows) / count)].layer for i in range(count)])
