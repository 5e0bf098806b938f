"""Scale neurons by factors: while a model runs, or permanently in its weights."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from neurontune_core.errors import InputError
from neurontune_core.experts import Edit, Routing
from neurontune_core.model.devices import is_quantised
from neurontune_core.neurons.edit import by_bank, edited_banks
from neurontune_core.neurons.find import Bank, bank_module, output_column
from neurontune_core.records import NeuronSet, ScalingFactors


@contextmanager
def scaled(model: nn.Module, neurons: NeuronSet, alpha: Tensor) -> Iterator[None]:
    """Multiply every selected neuron's activation by its factor: `a_j <- alpha_j a_j` (section 3.4 of the paper).

    Args:
        model: the model to modulate.
        neurons: the selected neurons; `alpha` is in the order of `neurons.all`.
        alpha: factors `[neuron]`, or `[row, neuron]` for a batch whose rows have their own; gradients flow into it.

    Raises:
        InputError: the model has no such neuron.
    """
    edits: dict[Bank, Edit] = {}
    for bank, (indices, places) in by_bank(model, neurons).items():
        index = torch.tensor(indices, device=alpha.device)
        factors = alpha[..., torch.tensor(places, device=alpha.device)]
        edits[bank] = partial(_scale, factors=factors, index=index)
    with edited_banks(model, edits):
        yield


def _scale(values: Tensor, routing: Routing, factors: Tensor, index: Tensor) -> Tensor:
    return _Scale.apply(values, factors.to(values.device), index.to(values.device), routing)


class _Scale(torch.autograd.Function):
    """`a_j <- a_j + (alpha_j - 1) a_j` for the selected neurons.

    bfloat16 can represent alpha - 1 = 0.003 but not alpha = 1.003, so this form is exact enough without a wider format.
    Only the selected neurons' activations are summed for the gradient.
    """

    @staticmethod
    def forward(ctx: Any, values: Tensor, factors: Tensor, index: Tensor, routing: Routing) -> Tensor:
        """Scale activations `[batch, position, channel]` by factors `[selected]` or `[batch, selected]`."""
        ctx.save_for_backward(values, factors, index)
        ctx.routing = routing
        return _scaled_by(values, factors, index, routing)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        """Return the gradients of values and factors, themselves differentiable."""
        values, factors, index = ctx.saved_tensors
        routing: Routing = ctx.routing
        of_values = _scaled_by(gradient, factors, index, routing) if ctx.needs_input_grad[0] else None
        of_factors = None
        if ctx.needs_input_grad[1]:
            by_row = factors.dim() == 2
            if routing.experts is None:
                each = gradient.index_select(-1, index).to(factors.dtype) * values.index_select(-1, index)
                of_factors = routing.total(each, by_row)
            else:
                of_factors = routing.total(gradient.to(factors.dtype) * values, by_row).index_select(-1, index)
        return of_values, of_factors, None, None


def _scaled_by(values: Tensor, factors: Tensor, index: Tensor, routing: Routing) -> Tensor:
    precise = factors.to(torch.promote_types(factors.dtype, values.dtype))
    shifts = values.new_zeros(*factors.shape[:-1], routing.count * routing.width)
    shifts = shifts.index_copy(-1, index, (precise - 1).to(values.dtype))
    return torch.addcmul(values, values, routing.take(shifts))


@contextmanager
def modulated(model: nn.Module, scaling: ScalingFactors, strength: float = 1.0) -> Iterator[None]:
    """Scale selected neurons by `1 + strength (alpha - 1)` inside this context; undone on exit, also after an error.

    Args:
        model: the base model.
        scaling: the factors.
        strength: without unit; 0 is the base model, 1 the tuned one.

    Raises:
        InputError: the model has no such neuron.
    """
    alpha = torch.from_numpy(scaling.alpha)
    with scaled(model, scaling.neurons, 1 + strength * (alpha - 1)):
        yield


def fold(model: nn.Module, scaling: ScalingFactors) -> None:
    """Multiply the selected columns of the down projections by their factors, in place: the deployed form.

    Scaling neuron j by alpha_j equals scaling column j of the down projection, so the folded model needs no hook.

    Args:
        model: the base model, changed in place.
        scaling: the factors.

    Raises:
        InputError: the model has no such neuron.
    """
    with torch.no_grad():
        for bank, (indices, places) in by_bank(model, scaling.neurons).items():
            module = bank_module(model, bank)
            if any(weight.is_meta or is_quantised(weight) for weight in module.parameters()):
                raise InputError(
                    "model: its weights are offloaded or quantised, so factors cannot be folded into them; load the "
                    "whole model"
                )
            for index, factor in zip(indices, scaling.alpha[places].tolist(), strict=True):
                column = output_column(module, bank, index)
                column.copy_(column.float() * factor)
