"""The outer step as a Gauss-Newton step: alpha fits all margins measured so far, as they were linearised."""

import torch
from torch import Tensor

from neurontune_core.config import ScalingConfig
from neurontune_core.scaling.margins import Margins

ITERATIONS = 100


def weights_of(margins: Margins, config: ScalingConfig) -> Tensor:
    """Return each margin's weight `[margin]`: as if there were as many of each kind as there are openings to rise.

    Safety weighs 1 and utility `lambda`; the second margins, measured of some examples only, weigh as if of all.
    """
    harmful = (margins.safety == 1) & (margins.first == 1)
    weights = torch.zeros_like(margins.safety)
    for role, weight in ((1, 1.0), (0, config.utility_weight)):
        for first in (1, 0):
            kind = (margins.safety == role) & (margins.first == first)
            weights[kind] = weight * harmful.sum() / kind.sum().clamp(min=1)
    return weights


def prior_widths(margins: Margins, config: ScalingConfig) -> Tensor:
    """Return how far from 1 each factor is expected `[neuron]`: `prior_width` for a neuron of middling slopes.

    `w_j = prior_width * 2 median(s) / (s_j + median(s))`, s_j the root mean square of neuron j's slopes: a factor to
    which the outputs are sensitive is moved less.
    """
    steepness = margins.slope.square().mean(0).sqrt()
    middle = steepness.median().clamp(min=torch.finfo(steepness.dtype).tiny)
    return config.prior_width * 2 * middle / (steepness + middle)


def solve(margins: Margins, alpha: Tensor, config: ScalingConfig) -> Tensor:
    """Return the factors `[neuron]` that minimise the weighted losses of all margins and the distance from 1.

    `argmin_alpha sum_i w_i l_i(m_i(alpha)) + sum_j (((alpha_j - 1) / w_j)^2 + damping ((alpha_j - a_j) / w_j)^2) / 2`,
    convex in alpha; by L-BFGS from `alpha` (a), where the model was measured last: margins are linear only near there.
    Without damping it is the maximum a posteriori estimate of a logistic regression.
    """
    widths, weights = prior_widths(margins, config), weights_of(margins, config)
    start = (alpha.detach() - 1) / widths
    place = start.clone().requires_grad_()
    optimiser = torch.optim.LBFGS([place], max_iter=ITERATIONS, history_size=20, line_search_fn="strong_wolfe")

    def objective() -> Tensor:
        optimiser.zero_grad()
        value = (weights * margins.losses(1 + widths * place)).sum() + place.square().sum() / 2
        value = value + config.damping * (place - start).square().sum() / 2
        value.backward()
        return value

    optimiser.step(objective)
    return 1 + widths * place.detach()
