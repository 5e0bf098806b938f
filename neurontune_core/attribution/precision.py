"""Number formats of intermediate results, and running a model in a wider format than that of its weights."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map

from neurontune_core.model.devices import is_quantised

_NARROWING = (Tensor.float, Tensor.half, Tensor.bfloat16)
_ROWS_AT_ONCE = 8192
"""Rows of a weight matrix that are widened at once; a whole widened head may need more memory than the model."""


def at_least_float32(dtype: torch.dtype) -> torch.dtype:
    """Return float32 for the half formats, else the format itself."""
    return torch.promote_types(dtype, torch.float32)


def widest(device: torch.device) -> torch.dtype:
    """Return the widest floating-point format of a device: Apple's GPUs have no float64."""
    return torch.float32 if device.type == "mps" else torch.float64


class Widened(TorchFunctionMode):
    """Within this context a model works in a wider format: float64 instead of float32, float32 instead of a half one.

    Weights are widened operation by operation, so that there is never a second copy of the model. Parts of a model that
    convert to float32 (norms, rotary embeddings) stay in the wider format. Works only for forward passes.
    """

    def __init__(self, dtype: torch.dtype, device: torch.device) -> None:
        super().__init__()
        self._format = widest(device) if dtype.itemsize >= torch.float32.itemsize else torch.float32

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Run an operation of torch with its arguments widened."""
        name = getattr(func, "__name__", "")
        if name == "__get__":
            return func(*args, **(kwargs or {}))
        if name.endswith("grouped_mm"):
            func = _grouped_product
        if func in _NARROWING:
            return args[0].to(self._format)
        if func is torch.nn.functional.embedding:  # an embedding selects rows, so the whole table need not be widened
            return func(*args, **(kwargs or {})).to(self._format)
        if func is torch.nn.functional.linear:
            return self._linear(args[0].to(self._format), *args[1:], **(kwargs or {}))
        return func(*tree_map(self._widened, args), **tree_map(self._widened, kwargs or {}))

    def _linear(self, input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        weight = weight.dequantize() if is_quantised(weight) else weight
        parts = [input @ rows.to(self._format).T for rows in weight.split(_ROWS_AT_ONCE)]
        product = parts[0] if len(parts) == 1 else torch.cat(parts, -1)
        return product if bias is None else product + bias.to(self._format)

    def _widened(self, argument: Any) -> Any:
        if isinstance(argument, Tensor) and self._narrow(argument.dtype) and not is_quantised(argument):
            return argument.to(self._format)
        return self._format if isinstance(argument, torch.dtype) and self._narrow(argument) else argument

    def _narrow(self, dtype: torch.dtype) -> bool:
        return dtype.is_floating_point and dtype.itemsize < self._format.itemsize


def _grouped_product(left: Tensor, right: Tensor, offs: Tensor, bias: None = None, out_dtype: None = None) -> Tensor:
    """Return the result of torch's grouped matrix product, which does not support float64."""
    sizes = offs.diff(prepend=offs.new_zeros(1)).tolist()
    return torch.cat([rows @ matrix for rows, matrix in zip(left.split(sizes), right, strict=True)])
