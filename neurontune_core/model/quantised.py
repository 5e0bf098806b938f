"""A model whose layers have linear maps in 8 or 4 bits, by torchao; the gradients of its inputs are exact."""

from importlib.util import find_spec
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel, TorchAoConfig

from neurontune_core.errors import InputError
from neurontune_core.neurons import decoder_layers, layers_path

GROUPS = (32, 16, 8)
"""Weights of a row that share a scale in 4 bits: as many of these as divide the row."""


def check_library(quantization: str) -> None:
    """Check that torchao is installed, if it is needed.

    Raises:
        InputError: it is not installed.
    """
    if quantization != "none" and find_spec("torchao") is None:
        raise InputError(
            f"model.quantization: {quantization!r} needs torchao; pip install 'neurontune[quantised]', or set "
            f"it to none"
        )


def quantise_layers(model: PreTrainedModel, quantization: str) -> None:
    """Round the linear maps of all decoder layers to 8 or 4 bits, in place; embedding, norms and head are not rounded.

    The activations are not rounded, so a map is linear in them, and its gradient is that of the rounded weights.

    Raises:
        InputError: torchao is not installed, or it does not support the layers' linear maps.
    """
    check_library(quantization)
    from torchao.quantization import quantize_

    for name, config in _rounding(model, quantization).items():
        quantize_(model.get_submodule(name), config, filter_fn=lambda module, path: True)


def rounded_while_loading(model: PreTrainedModel, quantization: str) -> TorchAoConfig:
    """Return the setting of `from_pretrained` that rounds each map when it is read, as `quantise_layers` does.

    Args:
        model: the model without weights.
        quantization: `int8` or `int4`.

    Raises:
        InputError: as `quantise_layers`.
    """
    check_library(quantization)
    from torchao.quantization import FqnToConfig

    return TorchAoConfig(FqnToConfig(_rounding(model, quantization)))


def rounding_in_words(model: PreTrainedModel, quantization: str) -> str:
    """Return which share of a model's weights is rounded, to what, and how many of them share a scale.

    It needs no torchao, and no loaded weights. Stacked experts are no linear maps, so they are not rounded.

    Raises:
        InputError: no linear map of the layers can be rounded.
    """
    groups = _groups(model, quantization)
    rounded = sum(model.get_parameter(f"{name}.weight").numel() for name in groups)
    share = rounded / sum(weight.numel() for weight in model.parameters())
    sizes = " or ".join(str(size) for size in GROUPS if size in groups.values())
    kind = f"4-bit integers (a scale for {sizes} weights" if sizes else "8-bit integers (a scale a row"
    return f"{share:.1%} were rounded to {kind}, by torchao)"


def _rounding(model: PreTrainedModel, quantization: str) -> dict[str, Any]:
    """Return torchao's setting for each linear map of the layers that can be rounded, by its name in the model."""
    from torchao.quantization import Int8WeightOnlyConfig, IntxWeightOnlyConfig
    from torchao.quantization.granularity import PerGroup

    return {
        name: IntxWeightOnlyConfig(weight_dtype=torch.int4, granularity=PerGroup(group))  # type: ignore[attr-defined]
        if group
        else Int8WeightOnlyConfig()
        for name, group in _groups(model, quantization).items()
    }


def _groups(model: PreTrainedModel, quantization: str) -> dict[str, int]:
    """Return how many weights share a scale in each linear map that can be rounded; 0 for a scale a row (8 bits)."""
    found: dict[str, int] = {}
    for name, module in decoder_layers(model).named_modules(prefix=layers_path(model)):
        if not isinstance(module, nn.Linear):
            continue
        if quantization == "int8":
            found[name] = 0
        elif group := next((size for size in GROUPS if module.in_features % size == 0), 0):
            found[name] = group
    if not found:
        raise InputError(
            f"model.quantization: {type(model).__name__} has no linear maps in its layers that can be rounded to "
            f"{quantization}; set it to none"
        )
    return found
