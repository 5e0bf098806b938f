"""Floating-point operations of attribution, counted by formula: one multiplication and one addition are two."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from neurontune_core.attribution.encode import EncodedPair
from neurontune_core.attribution.split import Wave
from neurontune_core.experts import active_experts, is_routed
from neurontune_core.neurons import bank_module, banks, decoder_layers


@dataclass(frozen=True)
class Sizes:
    """The sizes that the count depends on: the weights of each layer's linear maps, its down projection, and the head.

    Of a mixture of experts, only the experts to which a token is routed are counted.
    """

    linear: tuple[int, ...]
    down: tuple[int, ...]
    head: int
    attention_channels: int
    key_value_channels: int


def sizes_of(model: PreTrainedModel) -> Sizes:
    """Return the sizes of a model."""
    config = model.config.get_text_config()
    heads = config.num_attention_heads
    channels = getattr(config, "head_dim", None) or config.hidden_size // heads
    if getattr(config, "v_head_dim", None):  # latent attention: keys are longer than values, the mean counts
        channels = (config.qk_nope_head_dim + config.qk_rope_head_dim + config.v_head_dim) / 2
    kept = getattr(config, "num_key_value_heads", None) or heads
    layers, found = decoder_layers(model), banks(model)
    down = {layer: sum(_down(bank_module(model, bank)) for bank in mine) for layer, mine in found.items()}
    return Sizes(
        linear=tuple(sum(map(_used, layer.modules())) for layer in layers),
        down=tuple(down.get(layer, 0) for layer in range(len(layers))),
        head=_weights(model.get_output_embeddings()),
        attention_channels=round(heads * channels),
        key_value_channels=round(kept * channels),
    )


def forward_flops(sizes: Sizes, positions: int) -> float:
    """Return the operations of one forward pass over a text, without the head."""
    attention = 4 * positions**2 * sizes.attention_channels
    return sum(2 * positions * linear + attention for linear in sizes.linear)


def wave_flops(sizes: Sizes, wave: Wave, prefix: int, row: int, with_gradient: bool = True) -> float:
    """Return the operations of one wave of one pair.

    The backward pass goes through the layers from the first path on, and only for gradients of their inputs: it takes
    as much work as the forward pass. It computes the attention scores of the prefix again, and no gradient of the
    prefix's keys and values.
    """
    total, rows = 0.0, 1
    chosen = [layer for layer in wave.layers if sizes.down[layer]]
    for layer, linear in enumerate(sizes.linear):
        rows += len(wave.moving) if layer in chosen else 0
        tokens = rows * row
        total += 2 * tokens * linear + 4 * tokens * (prefix + row) * sizes.attention_channels
        if with_gradient and layer in chosen[:1]:
            total += 2 * tokens * sizes.down[layer]
        elif with_gradient and chosen and layer > chosen[0]:
            total += 2 * tokens * linear + (6 * prefix + 10 * row) * tokens * sizes.attention_channels
    return total + (4 if with_gradient else 2) * rows * row * sizes.head


def pair_flops(sizes: Sizes, pair: EncodedPair, waves: Sequence[Wave], every_position: bool) -> float:
    """Return the operations of one pair: query, prefix and all its waves."""
    prefix, row = len(pair.prompt) - 1, len(pair.response)
    total = forward_flops(sizes, prefix) + forward_flops(sizes, len(pair.query) + (row - 1 if every_position else 0))
    return total + sum(wave_flops(sizes, wave, prefix, row) for wave in waves)


def check_flops(sizes: Sizes, pair: EncodedPair, layers: Sequence[int]) -> float:
    """Return the operations of one pair's completeness check: forward passes from the starts of all paths."""
    start = Wave(layers, (0.0,))
    return wave_flops(sizes, start, len(pair.prompt) - 1, len(pair.response), with_gradient=False)


def one_pass_flops(sizes: Sizes, positions: int, response: int, layers: Sequence[int], gradient: bool) -> float:
    """Return the operations of one forward pass over a text, and with `gradient` also those of head and backward pass.

    Args:
        sizes: the sizes of the model.
        positions: length of the text, the response included.
        response: number of positions that predict response tokens.
        layers: the attributed layers; the backward pass ends at the down projection of the first one.
        gradient: whether there is a backward pass.
    """
    total = forward_flops(sizes, positions)
    if not gradient:
        return total
    chosen = [layer for layer in layers if sizes.down[layer]]
    total += 2 * positions * sizes.down[chosen[0]] + 4 * response * sizes.head
    above = sizes.linear[chosen[0] + 1 :]
    return total + sum(2 * positions * linear + 8 * positions**2 * sizes.attention_channels for linear in above)


def _used(module: nn.Module) -> int:
    """Return by how many weights of its own (not of its submodules) a module multiplies a token."""
    if isinstance(module, nn.Linear | Conv1D):
        return _weights(module)
    if is_routed(module):
        each = sum(weight[0].numel() for weight in module.parameters(recurse=False) if weight.dim() == 3)
        return each * active_experts(module)
    weight = getattr(module, "weight", None)  # a router that is not torch's Linear
    return weight.numel() if isinstance(weight, nn.Parameter) and weight.dim() == 2 else 0


def _down(module: nn.Module) -> int:
    """Return by how many weights of a down projection, or of the experts' down projections, a token is multiplied."""
    if not is_routed(module):
        return _weights(module)
    return module.down_proj[0].numel() * active_experts(module)  # type: ignore[index]


def _weights(module: nn.Module) -> int:
    return module.weight.numel()  # type: ignore[operator]
