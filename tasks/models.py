"""The model of this process: loaded once, used by one stage at a time."""

import gc
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import lru_cache
from typing import Any

import torch
from prefect.concurrency.sync import concurrency
from pydantic import BaseModel
from transformers.utils import logging as transformers_logging

from neurontune_core.config import RuntimeConfig
from neurontune_core.model import source
from neurontune_core.model.devices import Devices, choose_devices, devices_in_words
from neurontune_core.model.load import ChatModel, load
from neurontune_core.model.settings import ModelConfig
from neurontune_core.model.source import ModelReference
from neurontune_core.transient import is_out_of_memory

LEASE_SECONDS = 60
"""Seconds until the concurrency slot of a killed run is free again; a running process renews its slot."""

_in_use = threading.Lock()
_Place = tuple[ModelReference, str, Devices, bool, int | None, tuple[tuple[str, float], ...]]
_loaded: dict[_Place, ChatModel] = {}


@lru_cache(maxsize=8)
def describe(config: ModelConfig) -> ModelReference:
    """Return the pinned reference of a model, read once a process.

    Raises:
        InputError: the model does not exist, is not readable, or has a layer without MLP neurons.
    """
    return source.describe(config)


def device_in_words(runtime: RuntimeConfig) -> str:
    """Return the device of a run, or its devices, in words."""
    return devices_in_words(choose_devices(runtime.device))


def with_device(settings: BaseModel, runtime: RuntimeConfig) -> dict[str, Any]:
    """Return the settings of a part of a stage, for its manifest, with the device that computes it.

    No key has the device, so a part is reused whichever device made it.
    """
    return settings.model_dump(mode="json") | {"device": device_in_words(runtime)}


@contextmanager
def loaded(reference: ModelReference, runtime: RuntimeConfig, working: bool) -> Iterator[ChatModel]:
    """Yield the model to one stage, in its exact number format or (`working`) in that for generating and training.

    Stages put hooks on the model, so a second stage in the same process waits. After running out of memory the model
    is unloaded, so that a retry starts with free device memory.

    Raises:
        InputError: the device does not exist.
    """
    devices = choose_devices(runtime.device)
    with _in_use, _turn(devices[0], runtime.concurrency_limit):
        memory = tuple(sorted(runtime.max_memory.items()))
        place = (reference, runtime.root, devices, working, runtime.batch_tokens, memory)
        if runtime.threads is not None:
            torch.set_num_threads(runtime.threads)
        if place not in _loaded:
            _unload()
            transformers_logging.disable_progress_bar()
            _loaded[place] = load(reference, runtime.root, devices, working, runtime.max_memory, runtime.batch_tokens)
        try:
            yield _loaded[place]
        except RuntimeError as error:
            if is_out_of_memory(error):
                _unload()
            raise


def _unload() -> None:
    """Give the memory of the loaded model back to the device, whose free memory decides where layers are placed."""
    _loaded.clear()
    gc.collect()  # accelerate's hooks make cycles of references
    torch.cuda.empty_cache()


def _turn(device: torch.device, limit: str | None) -> AbstractContextManager[None]:
    """Wait for a slot of the device's Prefect concurrency limit; without such a limit nothing waits."""
    name = limit or ("gpu" if device.type == "cuda" else None)
    return concurrency(name, occupy=1, lease_duration=LEASE_SECONDS) if name else nullcontext()
