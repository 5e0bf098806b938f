"""One model over several devices: which layer goes where."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from accelerate import dispatch_model
from torch import Tensor, nn
from transformers import PreTrainedModel

from neurontune_core.errors import InputError
from neurontune_core.model.devices import Devices, is_quantised, memory_of, stored_parts
from neurontune_core.neurons import decoder_layers, layers_path


def device_map(model: nn.Module, memory: dict[int | str, int], dtype: torch.dtype) -> dict[str, int | str]:
    """Return where every part of a model goes: layers in their order, all else on the first device.

    Embedding, final norm and head stay together, so that ids go in and logits come out on one device.

    Args:
        model: the model, with or without weights.
        memory: bytes of weights that each device may hold, in their order: CUDA devices by index, then `cpu`.
        dtype: number format the weights are to have; quantised ones stay as they are.

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
    spread = _filled(sizes, cards, evenly=True) or _filled(sizes, left, evenly=False)
    if spread is None or left[first] < 0:
        raise InputError(
            f"runtime.device: {', '.join(map(str, memory))} may hold {sum(memory.values()) / 2**30:.3g} GiB of "
            f"weights, and the model has {(sum(sizes) + sum(rest.values())) / 2**30:.3g} GiB; add a device or cpu, or "
            f"raise runtime.max_memory"
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
    """Return the largest modules that are not, and do not hold, the list of layers."""
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


def place(model: PreTrainedModel, devices: Devices, most: dict[str, float]) -> PreTrainedModel:
    """Return a model moved onto its device, or, over several, its layers where they fit."""
    if len(devices) == 1:
        moved: Any = model.to(devices[0])  # type: ignore[arg-type]  # transformers hides torch's signature
        return moved
    spread = device_map(model, memory_of(devices, most), model.dtype)
    return dispatch_model(model, spread)
