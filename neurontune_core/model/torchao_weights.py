"""Weights that torchao does not round by itself: two 4-bit integers in a byte, and stacked experts. It needs torchao.

On a processor torchao keeps a byte for each 4-bit integer, which would take as much memory as 8 bits.

accelerate moves tensors of torchao's kind whole if "torchao" is in the name of their module, as it is here.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils._python_dispatch import return_and_correct_aliasing
from torchao.core.config import AOBaseConfig
from torchao.quantization import Int8Tensor, IntxUnpackedToInt8Tensor
from torchao.quantization.granularity import PerRow
from torchao.quantization.transform_module import register_quantize_module_handler
from torchao.utils import TorchAOBaseTensor

_ZERO = 8
"""Added to an integer from -8 to 7 before it is packed."""


class FourBits(TorchAOBaseTensor):
    """A weight of 4-bit integers, with a scale for every `group` of them along the last dimension.

    A byte has two neighbours, the first in its lower half. The integers and scales are those of torchao.
    """

    tensor_data_names = ["packed", "scale"]  # noqa: RUF012  # torchao copies the list
    tensor_attribute_names = ["group"]  # noqa: RUF012

    def __new__(cls, packed: Tensor, scale: Tensor, group: int) -> "FourBits":
        """Return a tensor that looks like the unrounded weight."""
        shape = (*packed.shape[:-1], 2 * packed.shape[-1])
        made: FourBits = torch.Tensor._make_wrapper_subclass(cls, shape, dtype=scale.dtype, device=packed.device)
        return made

    def __init__(self, packed: Tensor, scale: Tensor, group: int) -> None:
        super().__init__()
        self.packed, self.scale, self.group = packed, scale, group

    @staticmethod
    def rounded(weight: Tensor, group: int) -> "FourBits":
        """Return a weight `[..., row, column]` rounded to 4 bits; the columns are divisible by `group`, an even number.

        Its sides before the last have a scale each.
        """
        block = (*[1] * (weight.dim() - 1), group)
        found = IntxUnpackedToInt8Tensor.from_hp(weight, block, torch.int4)  # type: ignore[attr-defined]
        low, high = (found.qdata + _ZERO).to(torch.uint8).unflatten(-1, (-1, 2)).unbind(-1)
        return FourBits(low | high << 4, found.scale, group)

    def dequantize(self) -> Tensor:
        """Return the weight in its own number format."""
        integers = torch.stack([self.packed & 15, self.packed >> 4], -1).to(torch.int8) - _ZERO
        groups = integers.flatten(-2).unflatten(-1, (-1, self.group))
        return (groups.to(self.scale.dtype) * self.scale[..., None]).flatten(-2)


@FourBits.implements(torch.ops.aten.linear.default)
@FourBits.implements_torch_function(functional.linear)
def _linear(func: Any, types: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    rows, weight, *bias = args
    return functional.linear(rows, weight.dequantize(), *bias, **kwargs)


@FourBits.implements(torch.ops.aten.slice.Tensor)
def _slice(func: Any, types: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> FourBits:
    """Return some of the experts of a stack."""
    weight, dimension, *ends = args
    assert dimension == 0 and weight.dim() > 2
    part: FourBits = return_and_correct_aliasing(
        func, args, kwargs, weight._apply_fn_to_data(lambda stored: func(stored, 0, *ends))
    )
    return part


@dataclass
class FourBitWeights(AOBaseConfig):
    """A linear map or stacked experts in 4 bits, with a scale for every `group` weights along the last dimension."""

    group: int


@dataclass
class EightBitExperts(AOBaseConfig):
    """Stacked experts in 8 bits, with a scale for every row."""


@register_quantize_module_handler(FourBitWeights)
def _round_to_four(module: nn.Module, config: FourBitWeights, *, parameter_name: str = "weight") -> nn.Module:
    return _replaced(module, parameter_name, FourBits.rounded(module.get_parameter(parameter_name), config.group))


@register_quantize_module_handler(EightBitExperts)
def _round_to_eight(module: nn.Module, config: EightBitExperts, *, parameter_name: str) -> nn.Module:
    return _replaced(module, parameter_name, Int8Tensor.from_hp(module.get_parameter(parameter_name), PerRow()))


def _replaced(module: nn.Module, name: str, weight: Tensor) -> nn.Module:
    setattr(module, name, nn.Parameter(weight, requires_grad=False))
    return module
