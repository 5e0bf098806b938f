"""The outer step as a Gauss-Newton step: alpha fits all margins measured so far, as they were linearised."""

import torch
from torch import Tensor

from neurontune_core.config import ScalingConfig
from neurontune_core.scaling.margins import Margins

ITERATIONS = 30
MEASURED_SHARE = 0.75
"""How much of the KL is taken as measured, in all directions; for the rest the neurons are taken one by one. Of
thousands of factors most directions are in no measurement, and the fit would hide there."""


def weights_of(margins: Margins, config: ScalingConfig) -> Tensor:
    """Return each margin's weight `[margin]`: as if there were as many of each kind as there are openings to rise.

    Refusing weighs 1, not refusing `lambda`, and that the response stays `response_weight`, `MEASURED_SHARE` of it
    here.
    """
    harmful = (margins.safety == 1) & (margins.first == 1)
    weights = torch.zeros_like(margins.safety)
    for role, weight in ((1, 1.0), (0, config.utility_weight)):
        for first in (1, 0):
            kind = (margins.safety == role) & (margins.first == first)
            each = MEASURED_SHARE * config.response_weight if (role, first) == (0, 0) else weight
            weights[kind] = each * harmful.sum() / kind.sum().clamp(min=1)
    return weights


def stiffness(margins: Margins, config: ScalingConfig) -> Tensor:
    """Return how strongly the KL holds each factor at 1 where neurons are taken one by one `[neuron]`.

    `r_j = (1 - MEASURED_SHARE) response_weight n mean_i(slope_ij^2)`, over the margins i that are to stay; n openings
    are to rise.
    """
    stay = (margins.safety == 0) & (margins.first == 0)
    count = ((margins.safety == 1) & (margins.first == 1)).sum()
    each = margins.slope[stay].square().sum(0) / stay.sum().clamp(min=1)
    return (1 - MEASURED_SHARE) * config.response_weight * count * each


def solve(margins: Margins, alpha: Tensor, config: ScalingConfig) -> Tensor:
    """Return the factors `[neuron]` that minimise the weighted losses of all margins and the distance from 1.

    `argmin_alpha sum_i w_i l_i(m_i(alpha)) + sum_j ((1 / w^2 + r_j) (alpha_j - 1)^2 + damping / w^2 (alpha_j - a_j)^2)
    / 2` with w the `prior_width`, convex in alpha; by L-BFGS from `alpha` (a), where the model was measured last:
    margins are linear only near there. Without damping it is a logistic regression's maximum a posteriori estimate.
    """
    precision = config.prior_width**-2
    held = precision + stiffness(margins, config)
    scale, weights = held.rsqrt(), weights_of(margins, config)
    last = alpha.detach() - 1
    place = (last / scale).requires_grad_()
    optimiser = torch.optim.LBFGS([place], max_iter=ITERATIONS, history_size=20, line_search_fn="strong_wolfe")

    def objective() -> Tensor:
        optimiser.zero_grad()
        moved = scale * place
        value = (weights * margins.losses(1 + moved)).sum() + place.square().sum() / 2
        value = value + config.damping * precision * (moved - last).square().sum() / 2
        value.backward()
        return value

    optimiser.step(objective)
    return 1 + scale * place.detach()
