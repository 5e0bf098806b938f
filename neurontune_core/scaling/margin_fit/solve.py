"""Solve a convex problem: find the factors that minimise the losses of all margins measured so far."""

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor

from neurontune_core.scaling.margin_fit.margins import Kind, Margins
from neurontune_core.scaling.settings import MarginFitSettings

Bounds = tuple[Tensor, Tensor]


def kind_weights(settings: MarginFitSettings) -> dict[Kind, float]:
    """Return the weight of each kind; `keep` gets only `joint_share` of its weight, `stiffness` gets the rest."""
    return {
        "refuse": 1.0,
        "finish": 1.0,
        "answer": settings.utility_weight,
        "keep": settings.joint_share * settings.response_weight,
    }


def weights_of(margins: Margins, settings: MarginFitSettings) -> Tensor:
    """Return each margin's weight `[margin]`, so that every kind counts as if it had as many margins as `refuse`."""
    count = margins.of("refuse").sum()
    weights = torch.zeros_like(margins.offset)
    for kind, weight in kind_weights(settings).items():
        chosen = margins.of(kind)
        weights[chosen] = weight * count / chosen.sum().clamp(min=1)
    return weights


def stiffness(margins: Margins, settings: MarginFitSettings) -> Tensor:
    """Return the ridge penalty of each factor `[neuron]`: the diagonal of the KL's Hessian.

    `r_j = (1 - joint_share) response_weight n mean_i(slope_ij^2)`, over the margins i of the kind `keep`; n is the
    number of margins of the kind `refuse`. There are thousands of factors and fewer margins, so most directions change
    no measured margin. Without this penalty the fit could move freely in those directions, and the KL would rise.
    """
    keep = margins.of("keep")
    each = margins.slope[keep].square().sum(0) / keep.sum().clamp(min=1)
    return (1 - settings.joint_share) * settings.response_weight * margins.of("refuse").sum() * each


def solve(margins: Margins, alpha: Tensor, bounds: Bounds, settings: MarginFitSettings) -> Tensor:
    """Return the factors `[neuron]` within the bounds that minimise the margins' losses and the distance from 1.

    `argmin_alpha sum_i w_i l_i(m_i(alpha)) + sum_j ((1 / w^2 + r_j) (alpha_j - 1)^2 + damping / w^2 (alpha_j - a_j)^2)
    / 2` with w the `prior_width`, by L-BFGS-B from `alpha` (a), the factors at which the model was measured last.
    Damping keeps the result near a, because margins are linear only in a neighbourhood. Without damping and bounds this
    is the maximum a posteriori estimate of a logistic regression.
    """
    precision = settings.prior_width**-2
    scale = (precision + stiffness(margins, settings)).rsqrt()
    weights = weights_of(margins, settings)
    last = alpha.detach() - 1

    def objective(place: np.ndarray) -> tuple[float, np.ndarray]:
        at = torch.from_numpy(place).to(scale).requires_grad_()
        moved = scale * at
        value = (weights * margins.losses(1 + moved)).sum() + at.square().sum() / 2
        value = value + settings.damping * precision * (moved - last).square().sum() / 2
        (gradient,) = torch.autograd.grad(value, at)
        return float(value.detach()), gradient.double().cpu().numpy()

    low, high = (((bound.to(scale) - 1) / scale).double().cpu().numpy() for bound in bounds)
    start = (last / scale).double().cpu().numpy().clip(low, high)
    with torch.enable_grad():
        found = minimize(
            objective,
            start,
            jac=True,
            method="L-BFGS-B",
            bounds=np.stack([low, high], axis=1),
            options={"maxiter": settings.iterations, "maxcor": 20},
        )
    # rounding may leave a factor just outside its bound
    result = 1 + scale * torch.from_numpy(found.x).to(scale)
    return torch.minimum(torch.maximum(result, bounds[0].to(result)), bounds[1].to(result))
