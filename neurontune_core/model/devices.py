"""The devices of a model: which exist, and on which its input and its weights are."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from typing import Any

import psutil
import torch
from torch import Tensor, nn

from neurontune_core.errors import InputError
from neurontune_core.shown_text import quoted

SHARE_FOR_WEIGHTS = 0.7
"""Of a device's free memory, where a model is spread over several; the rest is for activations."""

Devices = tuple[torch.device, ...]
"""Devices of one model, each filled before the next; the processor, if included, holds the remaining layers."""


def choose_devices(name: str) -> Devices:
    """Return the torch devices of a name, e.g. `cuda:0,cuda:1,cpu`.

    `auto` takes all CUDA devices, and the processor for layers that do not fit; without CUDA, MPS or the processor.

    Raises:
        InputError: a device does not exist, or is named twice.
    """
    if name == "auto":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if count:
            return (*(torch.device("cuda", index) for index in range(count)), torch.device("cpu"))
        return (torch.device("mps" if torch.backends.mps.is_available() else "cpu"),)
    devices = tuple(_device(each.strip()) for each in name.split(","))
    if len(devices) > 1:  # `cuda` means the GPU `cuda:0`, also in `runtime.max_memory`
        devices = tuple(torch.device("cuda", each.index or 0) if each.type == "cuda" else each for each in devices)
    if len(set(devices)) < len(devices):
        raise InputError(f"runtime.device: {name!r} names a device twice; name each once")
    if len(devices) > 1 and any(device.type not in ("cuda", "cpu") for device in devices):
        raise InputError(
            f"runtime.device: {name!r} spreads the model over devices other than CUDA devices and cpu; use only these"
        )
    if len(devices) > 1 and devices[0].type == "cpu":
        raise InputError(
            f"runtime.device: {name!r} begins with cpu, which holds the layers that do not fit on the GPUs; name cpu "
            f"last"
        )
    return devices


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
    except RuntimeError:
        device = torch.device("meta")
    if device.type not in ("cpu", "cuda", "mps"):
        raise InputError(
            f"runtime.device: {quoted(name)} is not a device; use auto, cpu, cuda, cuda:0, cuda:0,cuda:1 or mps"
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise InputError(f"runtime.device: {name!r} is not available; use auto")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InputError(
            f"runtime.device: {name!r} is not available ({torch.cuda.device_count()} CUDA devices); use auto"
        )
    return device


def devices_in_words(devices: Devices) -> str:
    """Return devices with the names of the GPUs, to record what computed a result."""
    words = [
        f"{device} ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else str(device)
        for device in devices
    ]
    if len(devices) > 1 and devices[-1].type == "cpu":
        words[-1] = "cpu for layers that do not fit"
    return ", ".join(words)


def check_memory(devices: Devices, most: Mapping[str, float]) -> None:
    """Check that `runtime.max_memory` names only devices over which the model is spread.

    Raises:
        InputError: it names another device, or the model is on one device.
    """
    names = [str(device) for device in devices]
    if most and len(names) == 1:
        raise InputError(
            f"runtime.max_memory: {quoted(str(dict(most)))} limits the devices over which a model is spread, and this "
            f"run has one device, {names[0]}; set it to {{}}, or name several devices in runtime.device"
        )
    if other := sorted(set(most) - set(names)):
        raise InputError(
            f"runtime.max_memory: {quoted(other[0])} is not a device of this run; choose among {', '.join(names)}"
        )


def memory_of(devices: Devices, most: dict[str, float]) -> dict[int | str, int]:
    """Return how many bytes of weights each device may hold: `most` in GiB by name, or a share of its free memory."""
    memory: dict[int | str, int] = {}
    for device in devices:
        name: int | str = device.type if device.type == "cpu" else device.index or 0
        given = most.get(str(device))
        if given is not None:
            memory[name] = int(given * 2**30)
        elif device.type == "cpu":
            memory[name] = int(psutil.virtual_memory().available * SHARE_FOR_WEIGHTS)
        else:
            memory[name] = int(torch.cuda.mem_get_info(device)[0] * SHARE_FOR_WEIGHTS)
    return memory


def device_of(model: nn.Module) -> torch.device:
    """Return the device of a model's input, also if weights are offloaded."""
    spread = getattr(model, "hf_device_map", None)
    if not spread:
        device: torch.device = next(model.parameters()).device
        return device
    main = next((device for device in spread.values() if str(device) not in ("cpu", "disk")), "cpu")
    return torch.device("cuda", main) if isinstance(main, int) else torch.device(main)


def cuda_devices_of(model: nn.Module) -> list[torch.device]:
    """Return the CUDA devices that a model is on."""
    spread = getattr(model, "hf_device_map", None)
    found = spread.values() if spread else [next(model.parameters()).device]
    devices = {torch.device("cuda", each) if isinstance(each, int) else torch.device(each) for each in found
               if str(each) != "disk"}  # fmt: skip
    return sorted((device for device in devices if device.type == "cuda"), key=str)


def weight_of(module: nn.Module, name: str = "weight") -> Tensor:
    """Return a module's weight, dequantised if it is quantised.

    If accelerate has offloaded it, this is a copy on the device on which it runs.

    Raises:
        InputError: it is not loaded at all.
    """
    weight: Tensor = getattr(module, name)
    if weight.is_meta:
        weight = _offloaded(module, name)
    return weight.dequantize() if is_quantised(weight) else weight


def _offloaded(module: nn.Module, name: str) -> Tensor:
    """Return a copy of a weight that accelerate has offloaded, on the device on which it runs."""
    hook: Any = getattr(module, "_hf_hook", None)
    if hook is None or getattr(hook, "weights_map", None) is None:
        raise InputError(f"model: the weights of {type(module).__name__} are not loaded; load the model whole")
    stored: Tensor = hook.weights_map[name]
    return stored.to(hook.execution_device)


def is_quantised(weight: Tensor) -> bool:
    """Tell whether a weight is quantised, that is a tensor made of several inner tensors."""
    return hasattr(weight, "__tensor_flatten__")


def weight_bytes(model: nn.Module) -> int:
    """Return the bytes of a model's weights; tied weights count once."""
    return sum(bytes_by_device(model).values())


def bytes_by_device(model: nn.Module) -> dict[str, int]:
    """Return the bytes of a model's weights on each device (`cuda:0`, `cpu`, `disk`); tied weights count once."""
    spread: dict[str, Any] = getattr(model, "hf_device_map", None) or {"": device_of(model)}
    sizes: dict[str, int] = {}
    for name, weight in _untied(model).items():
        where = spread[max((part for part in spread if f"{name}.".startswith(f"{part}." if part else "")), key=len)]
        device = f"cuda:{where}" if isinstance(where, int) else str(where)
        sizes[device] = sizes.get(device, 0) + sum(each.nbytes for each in stored_parts(weight))
    return sizes


def unrounded_bytes(model: nn.Module) -> int:
    """Return the bytes that a model's weights have before they are rounded, as it is read."""
    return sum(weight.numel() * weight.dtype.itemsize for weight in _untied(model).values())


def _untied(model: nn.Module) -> dict[str, Tensor]:
    """Return a model's weights by name; of tied weights the first."""
    found: dict[int, tuple[str, Tensor]] = {}
    for name, weight in model.named_parameters():
        place = id(weight) if is_quantised(weight) or weight.is_meta else weight.data_ptr()
        found.setdefault(place, (name, weight))
    return dict(found.values())


def is_spread(model: nn.Module) -> bool:
    """Tell whether a model's layers are on several devices, or offloaded."""
    return bool(getattr(model, "hf_device_map", None))


def stored_parts(weight: Tensor) -> list[Tensor]:
    """Return the tensors of a weight: itself, or for a quantised weight the rounded numbers and the scales."""
    if not is_quantised(weight):
        return [weight]
    names: list[str] = getattr(weight, "__tensor_flatten__")()[0]  # noqa: B009  # torch does not declare it
    return [getattr(weight, name) for name in names]


@contextmanager
def loading_apart(model: nn.Module) -> Iterator[None]:
    """Have accelerate load offloaded weights in their own number format, also inside a mode that widens operations."""
    hooks: list[Any] = [module._hf_hook for module in model.modules() if hasattr(module, "_hf_hook")]
    for hook in hooks:
        hook.pre_forward, hook.post_forward = _without_modes(hook.pre_forward), _without_modes(hook.post_forward)
    try:
        yield
    finally:
        for hook in hooks:
            del hook.pre_forward, hook.post_forward


def _without_modes(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def called(*arguments: Any, **named: Any) -> Any:
        with torch._C.DisableTorchFunction():
            return function(*arguments, **named)

    return called
