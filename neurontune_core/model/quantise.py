"""Weights rounded to a few bits, as in a quantised model, and restored."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D


def round_to_nearest(weight: Tensor, bits: int, channel: int = 0) -> Tensor:
    """Return a matrix rounded to `2^bits - 1` levels in each output channel, `s round(w / s)`.

    `s = max |w| / (2^(bits - 1) - 1)` over the channel, which lies along dimension `channel`; zero stays zero.
    """
    levels = 2 ** (bits - 1) - 1
    wide = weight.float()
    step = wide.abs().amax(dim=1 - channel, keepdim=True) / levels
    return torch.where(step > 0, (wide / step).round() * step, wide).to(weight.dtype)


def quantise(model: PreTrainedModel, bits: int) -> None:
    """Round the weights of all linear maps but the output head in place; embeddings, norms and biases stay."""
    with torch.no_grad():
        for module in _linear_maps(model):
            module.weight.copy_(round_to_nearest(module.weight, bits, 1 if isinstance(module, Conv1D) else 0))


@contextmanager
def weights_kept(model: PreTrainedModel) -> Iterator[None]:
    """Restore the weights of all linear maps on exit, after an error too."""
    kept = [(module.weight, module.weight.detach().clone()) for module in _linear_maps(model)]
    try:
        yield
    finally:
        with torch.no_grad():
            for weight, before in kept:
                weight.copy_(before)


def _linear_maps(model: PreTrainedModel) -> list[nn.Linear | Conv1D]:
    head = model.get_output_embeddings()
    return [module for module in model.modules() if isinstance(module, nn.Linear | Conv1D) and module is not head]
