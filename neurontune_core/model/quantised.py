"""A model whose layers have weights in 8 or 4 bits, by torchao; the gradients of its inputs are exact."""

from importlib.util import find_spec
from typing import Any

from torch import nn
from transformers import PreTrainedModel, TorchAoConfig

from neurontune_core.errors import InputError
from neurontune_core.experts import is_routed, run_apart
from neurontune_core.model.rounded_products import recompute
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
    """Round linear maps and experts of all decoder layers to 8 or 4 bits, in place; nothing else is rounded.

    The activations are not rounded, so a map is linear in them, and its gradient is that of the rounded weights.

    Raises:
        InputError: torchao is not installed, or it does not support the layers' linear maps.
    """
    check_library(quantization)
    from torchao.quantization import FqnToConfig, quantize_

    quantize_(model, FqnToConfig(_rounding(model, quantization)), filter_fn=None)
    use_rounded(model)


def use_rounded(model: PreTrainedModel) -> None:
    """Make a model whose weights are rounded use them without keeping dequantised copies; its experts run one by one.

    transformers' own ways of running experts together cannot read rounded weights.
    """
    recompute(model)
    run_apart(model)


def rounded_while_loading(model: PreTrainedModel, quantization: str) -> TorchAoConfig:
    """Return the setting of `from_pretrained` that rounds each weight when it is read, as `quantise_layers` does.

    `use_rounded` has to be called on the model that it returns.

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

    It needs no torchao, and no loaded weights.

    Raises:
        InputError: no weight of the layers can be rounded.
    """
    groups = _groups(model, quantization)
    rounded = sum(model.get_parameter(name).numel() for name in groups)
    share = rounded / sum(weight.numel() for weight in model.parameters())
    sizes = " or ".join(str(size) for size in GROUPS if size in groups.values())
    kind = f"4-bit integers (a scale for {sizes} weights" if sizes else "8-bit integers (a scale a row"
    return f"{share:.1%} were rounded to {kind}, by torchao)"


def _rounding(model: PreTrainedModel, quantization: str) -> dict[str, Any]:
    """Return torchao's setting for each weight of the layers that can be rounded, by its name in the model."""
    from torchao.quantization import Int8WeightOnlyConfig

    from neurontune_core.model.torchao_weights import EightBitExperts, FourBitWeights

    def setting(name: str, group: int) -> Any:
        if group:
            return FourBitWeights(group)
        return EightBitExperts() if model.get_parameter(name).dim() == 3 else Int8WeightOnlyConfig()

    return {name: setting(name, group) for name, group in _groups(model, quantization).items()}


def _groups(model: PreTrainedModel, quantization: str) -> dict[str, int]:
    """Return how many weights share a scale in each weight that can be rounded; 0 for a scale a row (8 bits)."""
    found: dict[str, int] = {}
    for path, module in decoder_layers(model).named_modules(prefix=layers_path(model)):
        for name, weight in module.named_parameters(recurse=False):
            if not (name == "weight" and isinstance(module, nn.Linear)) and not (
                weight.dim() == 3 and is_routed(module)
            ):
                continue
            if quantization == "int8":
                found[f"{path}.{name}"] = 0
            elif group := next((size for size in GROUPS if weight.shape[-1] % size == 0), 0):
                found[f"{path}.{name}"] = group
    if not found:
        raise InputError(
            f"model.quantization: {type(model).__name__} has no weights in its layers that can be rounded to "
            f"{quantization}; set it to none"
        )
    return found
