"""Mixtures of experts: routed experts run expert by expert, so that their neurons can be seen and changed.

transformers keeps the experts of a layer as stacked weights in one module, whose computation is looked up in an
interface. A function of our own is registered there and switched on while a change of neurons is in place.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel
from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS

from neurontune_core.model.devices import is_quantised
from neurontune_core.model.rounded_products import product

IMPLEMENTATION = "neurontune_experts"


@dataclass(frozen=True)
class Routing:
    """Maps the channels of activations `[batch, position, channel]` to the neurons of a bank.

    Attributes:
        width: neurons of an expert.
        count: number of experts.
        experts: the experts that every token is routed to, `[batch, position, slot]`, whose neurons are the channels
            one expert after the other; None where every neuron of the bank is a channel.
    """

    width: int
    count: int = 1
    experts: Tensor | None = None

    def part(self, rows: slice, positions: slice) -> "Routing":
        """Return the routing of some rows and positions."""
        return self if self.experts is None else Routing(self.width, self.count, self.experts[rows, positions])

    def take(self, values: Tensor) -> Tensor:
        """Return values of neurons, `[neuron]`, `[batch, neuron]` or `[batch, position, neuron]`, for every channel."""
        if self.experts is None:
            return values[:, None] if values.dim() == 2 else values
        table = values.reshape(-1, self.width)  # [row * position * expert, neuron]
        return table.index_select(0, self._rows(values.shape[:-1])).view(*self.experts.shape[:2], -1)

    def spread(self, values: Tensor) -> Tensor:
        """Return channels `[batch, position, channel]` as neurons `[batch, position, neuron]`.

        Neurons of experts that a token is not routed to are 0.
        """
        return values if self.experts is None else self._summed(values, values.shape[:2])

    def total(self, values: Tensor, by_row: bool) -> Tensor:
        """Return the sum of channels over positions, `[batch, neuron]`, and over rows if not `by_row`, `[neuron]`."""
        if self.experts is None:
            return values.sum(1 if by_row else (0, 1))
        return self._summed(values, values.shape[:1] if by_row else torch.Size())

    def _rows(self, lead: torch.Size) -> Tensor:
        """Return the rows of a table `[lead * expert, neuron]` that the slots are, flat."""
        assert self.experts is not None
        offsets = torch.arange(lead.numel(), device=self.experts.device) * self.count
        return (self.experts + offsets.view(*lead, *[1] * (3 - len(lead)))).flatten()

    def _summed(self, values: Tensor, lead: torch.Size) -> Tensor:
        table = values.new_zeros(lead.numel() * self.count, self.width)
        return table.index_add(0, self._rows(lead), values.reshape(-1, self.width)).view(*lead, -1)


Edit = Callable[[Tensor, Routing], Tensor]
"""A change of a bank's activations `[batch, position, channel]`."""


def is_routed(module: nn.Module) -> bool:
    """Tell whether a module holds stacked experts that are run through transformers' interface for experts."""
    weight = getattr(module, "down_proj", None)
    known = hasattr(module, "is_transposed") and hasattr(module, "num_experts")
    return known and isinstance(weight, Tensor) and weight.dim() == 3 and weight.is_floating_point()


def outputs_and_width(module: nn.Module) -> tuple[int, int]:
    """Return how many channels the experts of a module write to, and how many neurons each has."""
    weight: Tensor = module.down_proj  # type: ignore[assignment]
    return (weight.shape[2], weight.shape[1]) if module.is_transposed else (weight.shape[1], weight.shape[2])


def run_apart(model: PreTrainedModel) -> None:
    """Make a model run its experts one after the other: slower, but in any format, float64 and rounded included."""
    for module in model.modules():
        if is_routed(module):
            module.config._experts_implementation = IMPLEMENTATION  # type: ignore[union-attr]


def active_experts(module: nn.Module) -> int:
    """Return how many experts a token is routed to, by the model's configuration; by default all."""
    chosen = getattr(module.config, "num_experts_per_tok", None)
    return chosen if isinstance(chosen, int) else module.num_experts  # type: ignore[return-value]


@contextmanager
def edited_experts(module: nn.Module, edit: Edit, positions: Callable[[], int]) -> Iterator[None]:
    """Pass the activations of routed experts through a function; undone on exit.

    Args:
        module: the experts, `is_routed`.
        edit: the function.
        positions: returns how many positions a row has, because the experts are given tokens of all rows in one line.
    """
    config: Any = module.config
    before = config._experts_implementation
    edits: Any = getattr(module, "neuron_edits", [])
    config._experts_implementation = IMPLEMENTATION
    module.neuron_edits = [*edits, (edit, positions)]  # type: ignore[assignment]
    try:
        yield
    finally:
        module.neuron_edits = edits
        config._experts_implementation = before


def _run(module: Any, hidden_states: Tensor, top_k_index: Tensor, top_k_weights: Tensor) -> Tensor:
    """Return what the experts add, `[token, hidden]`: the experts' own computation, with edited activations.

    Args:
        module: the experts.
        hidden_states: input `[token, hidden]`.
        top_k_index: the experts of every token, `[token, slot]`.
        top_k_weights: what their outputs are multiplied by, `[token, slot]`.
    """
    tokens, slots = top_k_index.shape
    experts = top_k_index.flatten()
    order = experts.argsort(stable=True)  # the expert's tokens come together
    back = order.argsort()
    multiply = (_together if _without_waiting(module) else _apart)(module, experts[order])
    raised = multiply("gate_up_proj" if module.has_gate else "up_proj", hidden_states[order // slots])
    values = (module._apply_gate(raised) if module.has_gate else module.act_fn(raised))[back]
    for edit, positions in getattr(module, "neuron_edits", []):
        width, rows = values.shape[-1], tokens // positions()
        routing = Routing(width, module.num_experts, top_k_index.reshape(rows, -1, slots))
        values = edit(values.reshape(rows, -1, slots * width), routing).reshape(-1, width)
    lowered = multiply("down_proj", values[order])
    if module.has_post_expert_norm:
        lowered = module.post_expert_norm(lowered)
    weighted = lowered[back] * top_k_weights.reshape(-1, 1)
    return weighted.view(tokens, slots, -1).sum(1).to(hidden_states.dtype)


_Multiply = Callable[[str, Tensor], Tensor]
"""Applies the linear maps of a name to rows, which are sorted by expert: to each row that of its expert."""


def _without_waiting(module: Any) -> bool:
    """Tell whether a GPU can multiply all experts' rows in one kernel, so that it need not tell how many there are.

    torch has such a kernel for bfloat16 alone; for other formats its own code waits for the numbers of rows.
    """
    weight: Tensor = module.down_proj
    return weight.device.type == "cuda" and weight.dtype is torch.bfloat16 and not is_quantised(weight)


def _together(module: Any, chosen: Tensor) -> _Multiply:
    """Return a function that multiplies all experts' rows at once; `chosen` is the expert of each row, ascending."""
    every = torch.arange(module.num_experts, device=chosen.device)
    ends = torch.searchsorted(chosen, every, right=True).to(torch.int32)

    def multiply(name: str, rows: Tensor) -> Tensor:
        weights: Tensor = getattr(module, name)
        matrices = weights if module.is_transposed else weights.transpose(1, 2)
        found = functional.grouped_mm(rows, matrices, offs=ends)
        return found + getattr(module, f"{name}_bias")[chosen] if module.has_bias else found

    return multiply


def _apart(module: Any, chosen: Tensor) -> _Multiply:
    """Return a function that multiplies the rows of one expert after the other; `chosen` as in `_together`."""
    counts: list[int] = chosen.bincount(minlength=module.num_experts).tolist()

    def multiply(name: str, rows: Tensor) -> Tensor:
        # what the module has now: accelerate takes an offloaded weight away before the backward pass
        weights: Tensor = getattr(module, name)
        biases = getattr(module, f"{name}_bias") if module.has_bias else None
        # rounded weights are not kept dequantised for the backward pass
        one_product = product if is_quantised(weights) else _plain_product
        return torch.cat(
            [
                one_product(
                    part,
                    partial(_matrix, weights, expert, module.is_transposed),
                    None if biases is None else biases[expert],
                )
                for expert, part in enumerate(rows.split(counts))
                if len(part)
            ]
        )

    return multiply


def _plain_product(rows: Tensor, matrix: Callable[[], Tensor], bias: Tensor | None) -> Tensor:
    return functional.linear(rows, matrix(), bias)


def _matrix(weights: Tensor, expert: int, transposed: bool) -> Tensor:
    """Return an expert's linear map `[output, input]`, dequantised."""
    if is_quantised(weights):
        # in their own number format, also inside a mode that widens operations; torchao cuts no inference tensors
        with torch._C.DisableTorchFunction(), torch.inference_mode(False):
            matrix = weights[expert : expert + 1].dequantize()[0]
    else:
        matrix = weights[expert]
    return matrix.T if transposed else matrix


ALL_EXPERTS_FUNCTIONS.register(IMPLEMENTATION, _run)
