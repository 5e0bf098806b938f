"""Stacked experts in 8 and 4 bits: how torchao is told to round a tensor `[expert, row, column]`. It needs torchao."""

from dataclasses import dataclass

import torch
from torch import nn
from torchao.core.config import AOBaseConfig
from torchao.quantization import Int8Tensor, IntxUnpackedToInt8Tensor
from torchao.quantization.granularity import PerRow
from torchao.quantization.transform_module import register_quantize_module_handler


@dataclass
class RoundedExperts(AOBaseConfig):
    """Experts with a scale for every `group` weights along the last dimension, in 4 bits; 0 for a row, in 8 bits."""

    group: int


@register_quantize_module_handler(RoundedExperts)
def _round(module: nn.Module, config: RoundedExperts, *, parameter_name: str) -> nn.Module:
    weight = module.get_parameter(parameter_name)
    rounded = (
        IntxUnpackedToInt8Tensor.from_hp(weight, (1, 1, config.group), torch.int4)  # type: ignore[attr-defined]
        if config.group
        else Int8Tensor.from_hp(weight, PerRow())
    )
    setattr(module, parameter_name, nn.Parameter(rounded, requires_grad=False))
    return module
