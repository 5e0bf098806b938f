"""The memory that the wavefront may use, and the memory that one token takes in one layer."""

import psutil
import torch
from torch import Tensor
from transformers import PreTrainedModel

from neurontune_core.attribution.encode import EncodedPair, make_batch
from neurontune_core.attribution.wavefront import Wave, make_context, run_wave
from neurontune_core.errors import InputError
from neurontune_core.model.devices import cuda_devices_of, device_of, is_quantised, weight_bytes
from neurontune_core.model.head import Head
from neurontune_core.neurons import decoder_layers

CPU_SHARE_OF_WEIGHTS = 0.4
"""Activations kept for the backward pass, relative to the weights; the peak is then well under 1.5 times the model."""
CUDA_SHARE_OF_FREE = 0.6
SMALLEST_BUDGET = 64 << 20
FULL_BATCH_TOKENS = 8192
"""Number of tokens in the last layer above which a GPU's matrix products do not become more efficient."""


def activation_budget(model: PreTrainedModel) -> int:
    """Return how many bytes of activations may be kept: a share of the weights on a CPU, of free memory on a GPU."""
    if cards := cuda_devices_of(model):
        # every row goes through all GPUs, so the GPU with the least free memory limits the number of rows
        unused = [torch.cuda.memory_reserved(card) - torch.cuda.memory_allocated(card) for card in cards]
        free = [torch.cuda.mem_get_info(card)[0] for card in cards]
        return int(min(map(sum, zip(free, unused, strict=True))) * CUDA_SHARE_OF_FREE)
    weights = weight_bytes(model)
    available = psutil.virtual_memory().available
    return max(SMALLEST_BUDGET, min(int(weights * CPU_SHARE_OF_WEIGHTS), available // 2))


def pairs_per_batch(device: torch.device, row_positions: int, rows: int, bytes_per_pair: float, budget: int) -> int:
    """Return how many pairs go through the model together: one on a CPU; enough to fill a GPU if memory allows.

    Args:
        device: the device of the model.
        row_positions: positions of the longest row.
        rows: rows of one pair in the last layer.
        bytes_per_pair: activations of one pair when all its layers and points run together.
        budget: bytes of activations allowed.
    """
    if device.type == "cpu":
        return 1
    wanted = FULL_BATCH_TOKENS // (row_positions * rows)
    return max(1, min(wanted, int(budget / bytes_per_pair)))


def bytes_per_token_layer(model: PreTrainedModel, head: Head) -> float:
    """Measure the bytes autograd keeps for one token in one decoder layer, with a small wave.

    Raises:
        InputError: the model's code cannot run a wave.
    """
    tokens = tuple(place % head.weight.shape[0] for place in range(8))
    context = make_context(model, make_batch([EncodedPair("probe", tokens, tokens, tokens)], device_of(model)), False)
    first, layers = min(context.query_values), len(decoder_layers(model))
    kept: dict[int, int] = {}
    own = {each.untyped_storage().data_ptr() for each in model.parameters() if not is_quantised(each)}

    def note(tensor: Tensor) -> Tensor:
        if is_quantised(tensor):
            return tensor
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    try:
        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            run_wave(model, head, context, Wave(range(first + 1), (0.5,)))
    except RuntimeError as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise
        raise InputError(
            f"model: {type(model).__name__} fails if rows are added to its batch between two layers ({error}), so it "
            f"cannot be attributed; choose another decoder"
        ) from error
    return max(1.0, sum(kept.values()) / (2 * len(tokens) * (layers - first)))
