"""A model whose decoder layers hold their linear maps in 8 or 4 bits, by torchao; gradients go through them exactly."""

from importlib.util import find_spec

import torch
from torch import nn
from transformers import PreTrainedModel

from neurontune_core.errors import InputError
from neurontune_core.neurons import decoder_layers

GROUP = 32
"""Weights of a row that share a scale in 4 bits."""
WORDS = {"int8": "8-bit integers (a scale a row, by torchao)", "int4": "4-bit integers (a scale for 32, by torchao)"}


def check_library(quantization: str) -> None:
    """Tell whether torchao is installed, where it is needed.

    Raises:
        InputError: it is not.
    """
    if quantization != "none" and find_spec("torchao") is None:
        raise InputError(
            f"model.quantization: {quantization!r} needs torchao; pip install 'neurontune[quantised]', or set it to none"
        )


def quantise_layers(model: PreTrainedModel, quantization: str) -> None:
    """Round the linear maps of all decoder layers to 8 or 4 bits, in place; embedding, norms and head stay as they are.

    The activations are not rounded, so that a map is linear in them, and its gradient is exactly that of its weights.

    Raises:
        InputError: torchao is not installed, or the layers have no linear maps that it knows.
    """
    check_library(quantization)
    from torchao.quantization import Int8WeightOnlyConfig, IntxWeightOnlyConfig, quantize_
    from torchao.quantization.granularity import PerGroup

    layers = decoder_layers(model)
    group = GROUP if quantization == "int4" else 1

    def fits(module: nn.Module, path: str) -> bool:
        return isinstance(module, nn.Linear) and module.in_features % group == 0

    if not any(fits(module, "") for module in layers.modules()):
        raise InputError(
            f"model.quantization: {type(model).__name__} has no linear maps of a multiple of {group} inputs in its "
            f"layers, which alone can be rounded; set it to none"
        )
    four = IntxWeightOnlyConfig(weight_dtype=torch.int4, granularity=PerGroup(GROUP))
    quantize_(layers, Int8WeightOnlyConfig() if quantization == "int8" else four, filter_fn=fits)
