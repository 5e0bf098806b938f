"""Products with rounded weights, which are dequantised for each product and again in the backward pass.

torchao's own linear map keeps the dequantised weight until the backward pass, so a wave would hold all layers
unrounded.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from neurontune_core.model.devices import is_quantised


class RoundedLinear(nn.Linear):
    """A linear map with a rounded weight; `recompute` turns an ordinary one into it."""

    def forward(self, input: Tensor) -> Tensor:
        """Return `input W^T + b`."""
        if torch.is_grad_enabled() and input.requires_grad:
            return product(input, self.weight.dequantize, self.bias)
        return super().forward(input)


def recompute(model: nn.Module) -> None:
    """Make the linear maps of a model that have rounded weights dequantise them again in the backward pass."""
    for module in model.modules():
        if type(module) is nn.Linear and is_quantised(module.weight):
            module.__class__ = RoundedLinear


def product(rows: Tensor, matrix: Callable[[], Tensor], bias: Tensor | None) -> Tensor:
    """Return `rows M^T + bias`, whose gradient is exact; `matrix` returns M `[output, input]` and is called again."""
    result: Tensor = _Product.apply(rows, matrix, bias)
    return result


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, matrix: Callable[[], Tensor], bias: Tensor | None) -> Tensor:
        ctx.matrix = matrix
        return functional.linear(rows, matrix(), bias)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return gradient @ ctx.matrix(), None, None
