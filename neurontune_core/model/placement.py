"""Spread one model over several devices."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate import dispatch_model
from torch import Tensor, nn
from transformers import AutoConfig, PreTrainedModel

from neurontune_core.errors import InputError
from neurontune_core.model.checks.config import build_skeleton
from neurontune_core.model.devices import Devices, is_quantised, memory_of, stored_parts
from neurontune_core.model.quantised import quantise_layers, rounded_while_loading
from neurontune_core.neurons import decoder_layers, layers_path


def device_map(model: nn.Module, memory: dict[int | str, int], dtype: torch.dtype) -> dict[str, int | str]:
    """Return the device of every part of a model: layers in order, everything else on the first device.

    Embedding, final norm and head are on the same device, so that ids and logits are on one device.

    Args:
        model: the model, with or without weights.
        memory: bytes of weights that each device may hold, in their order: CUDA devices by index, then `cpu`.
        dtype: number format to which weights are converted; quantised weights keep theirs.

    Raises:
        InputError: the devices cannot hold the model.
    """
    layers = decoder_layers(model)
    path = layers_path(model)
    inside = {id(weight) for weight in layers.parameters()}
    rest = {id(weight): _size(weight, dtype) for weight in model.parameters() if id(weight) not in inside}
    first = next(iter(memory))
    sizes = [sum(_size(weight, dtype) for weight in layer.parameters()) for layer in layers]
    left = memory | {first: memory[first] - sum(rest.values())}
    cards = {device: size for device, size in left.items() if device != "cpu"}
    rounded = any(map(is_quantised, model.parameters()))  # torchao's weights cannot be copied from the processor
    room = cards if rounded and cards else left
    spread = _filled(sizes, cards, evenly=True) or _filled(sizes, room, evenly=False)
    if spread is None or left[first] < 0:
        more = "a card, because weights of model.quantization do not stay on cpu" if rounded else "a device or cpu"
        total = sum(memory[each] for each in room)
        raise InputError(
            f"runtime.device: {', '.join(map(str, room))} may hold {total / 2**30:.3g} GiB of weights, and the "
            f"model has {(sum(sizes) + sum(rest.values())) / 2**30:.3g} GiB; add {more}, or raise runtime.max_memory"
        )
    placed = {name: first for name in _outside(model, path)}
    return placed | {f"{path}.{layer}": device for layer, device in enumerate(spread)}


def _size(weight: Tensor, dtype: torch.dtype) -> int:
    if is_quantised(weight):
        return sum(part.nbytes for part in stored_parts(weight))
    return weight.numel() * dtype.itemsize


def _filled(sizes: Sequence[int], room: Mapping[int | str, int], evenly: bool) -> list[int | str] | None:
    """Return the device of each layer: about equal shares, or one device filled after another; None if too small."""
    spread: list[int | str] = []
    for number, (device, most) in enumerate(room.items()):
        held, share = 0, sum(sizes[len(spread) :]) / (len(room) - number)
        while len(spread) < len(sizes) and held + (size := sizes[len(spread)]) <= most:
            if evenly and held + size / 2 > share:
                break
            spread.append(device)
            held += size
    return spread if len(spread) == len(sizes) else None


def _outside(model: nn.Module, path: str) -> list[str]:
    """Return the largest modules that neither are nor contain the list of layers."""
    return [
        name
        for name, _ in model.named_modules()
        if name
        and name != path
        and not path.startswith(f"{name}.")
        and not name.startswith(f"{path}.")
        and (parent := name.rpartition(".")[0]) in ("", *_ancestors(path))
        and parent != path
    ]


def _ancestors(path: str) -> list[str]:
    parts = path.split(".")
    return [".".join(parts[:end]) for end in range(1, len(parts))]


def straight_onto(
    folder: Path, devices: Devices, most: dict[str, float], dtype: torch.dtype, quantization: str
) -> dict[str, Any]:
    """Return the arguments for `from_pretrained` to read each weight directly onto its device, and to round it there.

    The device of each layer is computed without weights, and the processor never holds the whole model.

    Raises:
        InputError: the devices cannot hold the model, or its layers cannot be rounded.
    """
    empty = build_skeleton(AutoConfig.from_pretrained(folder, trust_remote_code=False)).requires_grad_(False)
    rounding = {}
    if quantization != "none":
        rounding["quantization_config"] = rounded_while_loading(empty, quantization)
        quantise_layers(empty.to(dtype), quantization)  # type: ignore[arg-type]  # transformers hides torch's signature
    return {"device_map": device_map(empty, memory_of(devices, most), dtype), **rounding}


def place(model: PreTrainedModel, devices: Devices, most: dict[str, float]) -> PreTrainedModel:
    """Return a model on its device, or with its layers spread over several devices."""
    if len(devices) == 1:
        moved: Any = model.to(devices[0])  # type: ignore[arg-type]  # transformers hides torch's signature
        return moved
    spread = device_map(model, memory_of(devices, most), model.dtype)
    return dispatch_model(model, spread)
