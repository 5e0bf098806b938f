"""Slopes of a function, to compare gradients with."""

from collections.abc import Callable

import torch
from torch import Tensor


def slopes(function: Callable[[Tensor], Tensor], place: Tensor, step: float = 1e-4) -> Tensor:
    """Central differences of a scalar function."""
    found = []
    for number in range(len(place)):
        shift = torch.zeros_like(place)
        shift[number] = step
        found.append((function(place + shift) - function(place - shift)).detach() / (2 * step))
    return torch.stack(found)
