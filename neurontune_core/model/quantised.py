"""A model whose decoder layers hold their linear maps in 8 or 4 bits, by torchao; gradients go through them exactly."""

from importlib.util import find_spec

import torch
from torch import nn
from transformers import PreTrainedModel

from neurontune_core.errors import InputError
from neurontune_core.neurons import decoder_layers

GROUPS = (32, 16, 8)
"""Weights of a row that share a scale in 4 bits: as many of these as divide the row."""
WORDS = {
    "int8": "8-bit integers (a scale a row, by torchao)",
    "int4": "4-bit integers (a scale for 32 weights, by torchao)",
}


def check_library(quantization: str) -> None:
    """Tell whether torchao is installed, where it is needed.

    Raises:
        InputError: it is not.
    """
    if quantization != "none" and find_spec("torchao") is None:
        raise InputError(
            f"model.quantization: {quantization!r} needs torchao; pip install 'neurontune[quantised]', or set "
            f"it to none"
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
    left = {module for module in layers.modules() if isinstance(module, nn.Linear)}
    done = False
    for group in GROUPS if quantization == "int4" else (1,):
        fitting = {module for module in left if module.in_features % group == 0}
        config = (
            Int8WeightOnlyConfig()
            if quantization == "int8"
            else IntxWeightOnlyConfig(weight_dtype=torch.int4, granularity=PerGroup(group))  # type: ignore[attr-defined]
        )
        quantize_(layers, config, filter_fn=lambda module, path, fitting=fitting: module in fitting)
        left, done = left - fitting, done or bool(fitting)
    if not done:
        raise InputError(
            f"model.quantization: {type(model).__name__} has no linear maps in its layers that can be rounded to "
            f"{quantization}; set it to none"
        )
