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
    """What the count depends on: weights of each layer's linear maps, of its down projection, of the head.

    Of experts those are counted that a token is sent to.
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

    The layers from the first path on are run backwards too, for gradients of their inputs alone: as much work again.
    Attention to the prefix makes its scores once more on the way back, and gives no gradient to keys and values.
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
    """Return the operations of one pair's completeness check: the starts of all paths, forwards alone."""
    start = Wave(layers, (0.0,))
    return wave_flops(sizes, start, len(pair.prompt) - 1, len(pair.response), with_gradient=False)


def one_pass_flops(sizes: Sizes, positions: int, response: int, layers: Sequence[int], gradient: bool) -> float:
    """Return the operations of one pass forward over a text, and with `gradient` of the head and the way back.

    Args:
        sizes: of the model.
        positions: length of the text, the response included.
        response: how many positions predict response tokens.
        layers: the attributed layers; the way back ends at the down projection of the first.
        gradient: whether there is a way back.
    """
    total = forward_flops(sizes, positions)
    if not gradient:
        return total
    chosen = [layer for layer in layers if sizes.down[layer]]
    total += 2 * positions * sizes.down[chosen[0]] + 4 * response * sizes.head
    above = sizes.linear[chosen[0] + 1 :]
    return total + sum(2 * positions * linear + 8 * positions**2 * sizes.attention_channels for linear in above)


def _used(module: nn.Module) -> int:
    """Return how many weights of its own a module multiplies a token by."""
    if isinstance(module, nn.Linear | Conv1D):
        return _weights(module)
    if is_routed(module):
        each = sum(weight[0].numel() for weight in module.parameters(recurse=False) if weight.dim() == 3)
        return each * active_experts(module)
    weight = getattr(module, "weight", None)  # a router that is no linear map of torch's
    return weight.numel() if isinstance(weight, nn.Parameter) and weight.dim() == 2 else 0


def _down(module: nn.Module) -> int:
    """Return how many weights of a down projection, or of the experts' ones, a token is multiplied by."""
    if not is_routed(module):
        return _weights(module)
    return module.down_proj[0].numel() * active_experts(module)  # type: ignore[index]


def _weights(module: nn.Module) -> int:
    return module.weight.numel()  # type: ignore[operator]
