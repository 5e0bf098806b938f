"""The outer step: alpha moves by what query batches say of the factors after the inner steps."""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from neurontune_core.config import ScalingConfig
from neurontune_core.errors import NumericalError
from neurontune_core.model.load import ChatModel
from neurontune_core.records import NeuronSet, Role
from neurontune_core.scaling.checkpoint import Progress
from neurontune_core.scaling.gauss_newton import solve
from neurontune_core.scaling.gradient import adapt, episode_gradient
from neurontune_core.scaling.losses import Example
from neurontune_core.scaling.margins import Margins, join, measure, openings_of

REST_EVERY = 9
"""Gauss-Newton: in every so many steps the rests of refusals are measured too. They depend little on the prompt, and
cost as much again."""

Batches = Sequence[tuple[list[Example], list[Example]]]
"""Support and query of each episode of a step."""


def outer_step(
    progress: Progress,
    batches: Batches,
    base: Mapping[str, Tensor],
    neurons: NeuronSet,
    config: ScalingConfig,
    chat: ChatModel,
    batch_tokens: int,
) -> dict[str, float]:
    """Move alpha by one outer step and return the step's row of the curve.

    Raises:
        NumericalError: a gradient is not finite; the message names the step.
    """
    take = _adam_step if config.outer_optimiser == "adam" else _gauss_newton_step
    losses, gradient = take(progress, batches, base, neurons, config, chat, batch_tokens)
    with torch.no_grad():
        progress.alpha.copy_(bounded(progress.alpha, config))
    return {
        "step": float(progress.steps),
        "loss": losses["safety"] + config.utility_weight * losses["utility"],
        "safety_loss": losses["safety"],
        "utility_loss": losses["utility"],
        "gradient_norm": float(gradient.norm()),
        "alpha_mean_shift": float((progress.alpha.detach() - 1).abs().mean()),
    }


def bounded(alpha: Tensor, config: ScalingConfig) -> Tensor:
    """Return factors `[neuron]` brought within the bounds of the configuration."""
    return alpha.clamp(-math.inf if config.alpha_min is None else config.alpha_min, config.alpha_max)


def step_size(first: float, step: int, steps: int) -> float:
    """Return the step size at a step counted from 0: it falls from `first` to 0 on a cosine."""
    return first * (1 + math.cos(math.pi * step / steps)) / 2


def _adam_step(
    progress: Progress,
    batches: Batches,
    base: Mapping[str, Tensor],
    neurons: NeuronSet,
    config: ScalingConfig,
    chat: ChatModel,
    batch_tokens: int,
) -> tuple[dict[Role, float], Tensor]:
    alpha = progress.alpha
    gradient = config.pull_back * (alpha.detach() - 1)
    losses: dict[Role, float] = {"safety": 0.0, "utility": 0.0}
    for support, query in batches:
        part, values = episode_gradient(chat, neurons, alpha, support, query, base, config, batch_tokens)
        gradient += part / len(batches)
        for role, value in values.items():
            losses[role] += value / len(batches)
    _check(gradient, progress.steps, config)
    for group in progress.optimiser.param_groups:
        group["lr"] = step_size(config.outer_learning_rate, progress.steps, config.steps)
    alpha.grad = gradient
    progress.optimiser.step()
    return losses, gradient


def _gauss_newton_step(
    progress: Progress,
    batches: Batches,
    base: Mapping[str, Tensor],
    neurons: NeuronSet,
    config: ScalingConfig,
    chat: ChatModel,
    batch_tokens: int,
) -> tuple[dict[Role, float], Tensor]:
    alpha = progress.alpha.detach()
    new: Margins | None = None
    openings = openings_of(chat, config)
    rest = progress.steps % REST_EVERY == 0
    for support, query in batches:
        adapted = adapt(chat, neurons, alpha, support, base, config, batch_tokens).detach()
        found = measure(chat, neurons, alpha, adapted, query, base, batch_tokens, config.opening_tokens, openings, rest)
        new = found if new is None else join(new, found)
    assert new is not None  # a step has an episode at least
    _check(new.slope, progress.steps, config)
    progress.margins = new if progress.margins is None else join(progress.margins, new)
    with torch.enable_grad():
        place = alpha.clone().requires_grad_()
        each = new.losses(place)
        opening = new.first == 1
        sums = {role: each[opening & (new.safety == flag)].mean() for role, flag in (("safety", 1), ("utility", 0))}
        (gradient,) = torch.autograd.grad(sums["safety"] + config.utility_weight * sums["utility"], place)
    with torch.no_grad():
        progress.alpha.copy_(solve(progress.margins, alpha, config))
    return {"safety": float(sums["safety"].detach()), "utility": float(sums["utility"].detach())}, gradient


def _check(gradient: Tensor, step: int, config: ScalingConfig) -> None:
    if not bool(torch.isfinite(gradient).all()):
        raise NumericalError(
            f"scaling: the gradient at step {step} is not finite; lower scaling.outer_learning_rate "
            f"({config.outer_learning_rate}) or scaling.inner_learning_rate ({config.inner_learning_rate})"
        )
