"""Bounds of the factors, which depend on the neuron's role and on `scaling.sign`."""

import math

import torch
from torch import Tensor

from neurontune_core.records import NeuronSet
from neurontune_core.scaling.settings import TrainingSettings


def role_bounds(neurons: NeuronSet, settings: TrainingSettings) -> tuple[Tensor, Tensor]:
    """Return the least and the greatest value of every factor `[neuron]`, by `scaling.sign`.

    `by_role`: safety factors at least 1, utility factors at most 1; `against_role`: safety factors at most 1, utility
    factors at least 1; `free`: no bounds.
    """
    safety = torch.arange(len(neurons.all)) < len(neurons.safety)
    rising = {"by_role": safety, "against_role": ~safety}.get(settings.sign)
    if rising is None:
        return torch.full((len(safety),), -math.inf), torch.full((len(safety),), math.inf)
    return torch.where(rising, 1.0, -math.inf), torch.where(rising, math.inf, 1.0)


def bounded(alpha: Tensor, neurons: NeuronSet, settings: TrainingSettings) -> Tensor:
    """Return factors `[neuron]`, each clamped to its bounds."""
    low, high = (bound.to(alpha) for bound in role_bounds(neurons, settings))
    return torch.minimum(torch.maximum(alpha, low), high)
