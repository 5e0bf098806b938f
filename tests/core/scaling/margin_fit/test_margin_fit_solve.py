"""The solution of the convex problem, against scipy on the problem written out plainly."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from neurontune_core.records import NeuronId, NeuronSet
from neurontune_core.scaling.bounds import role_bounds
from neurontune_core.scaling.margin_fit.margins import KINDS, Kind, Margins
from neurontune_core.scaling.margin_fit.solve import solve, stiffness, weights_of
from neurontune_core.scaling.settings import MarginFitSettings

Settings = Callable[..., MarginFitSettings]
NEURONS = NeuronSet(tuple(NeuronId(0, i) for i in range(3)), tuple(NeuronId(1, i) for i in range(2)))


def made_up(kinds: list[Kind], neurons: int = 5) -> Margins:
    generator = torch.Generator().manual_seed(0)
    return Margins(
        torch.randn(len(kinds), neurons, generator=generator, dtype=torch.float64),
        torch.randn(len(kinds), generator=generator, dtype=torch.float64),
        torch.tensor([KINDS.index(kind) for kind in kinds]),
        tuple(f"e{i}" for i in range(len(kinds))),
    )


MARGINS = made_up(["refuse", "answer", "keep"] * 10)


def objective_of(config: MarginFitSettings) -> Callable[[np.ndarray, np.ndarray], float]:
    """The sum that is minimised, for ten margins of three kinds each, term by term."""
    slope, offset = MARGINS.slope.numpy(), MARGINS.offset.numpy()
    precision = config.prior_width**-2
    stiff = (1 - config.joint_share) * config.response_weight * 10 * (slope[2::3] ** 2).mean(0)

    def objective(alpha: np.ndarray, last: np.ndarray) -> float:
        total = 0.0
        for row in range(30):
            value = offset[row] + slope[row] @ (alpha - 1)
            if row % 3 == 0:
                total += np.logaddexp(0, -value)
            elif row % 3 == 1:
                total += config.utility_weight * np.logaddexp(0, value)
            else:
                total += config.joint_share * config.response_weight * value**2 / 2
        for factor, start, own in zip(alpha, last, stiff, strict=True):
            total += (precision + own) * (factor - 1) ** 2 / 2
            total += config.damping * precision * (factor - start) ** 2 / 2
        return float(total)

    return objective


@pytest.mark.parametrize("sign", ["free", "by_role", "against_role"])
@pytest.mark.parametrize("damping", [0.0, 2.0])
def test_solution_equals_scipys(margin_fit: Settings, damping: float, sign: str) -> None:
    config = margin_fit(
        utility_weight=0.5, prior_width=0.7, damping=damping, response_weight=0.1, sign=sign, iterations=500
    )
    rising = {"free": (None, None), "by_role": (1, None), "against_role": (None, 1)}
    falling = {"free": (None, None), "by_role": (None, 1), "against_role": (1, None)}
    bounds = [rising[sign]] * 3 + [falling[sign]] * 2
    starts = {"free": 3.0, "by_role": 1.0, "against_role": 1.0}
    for start in (1.0, starts[sign]):
        last = np.full(5, start)
        expected = minimize(
            objective_of(config), np.ones(5), last, method="SLSQP", bounds=bounds,
            options={"ftol": 1e-13, "maxiter": 500},
        ).x  # fmt: skip
        found = solve(MARGINS, torch.from_numpy(last), role_bounds(NEURONS, config), config).numpy()
        np.testing.assert_allclose(found, expected, atol=1e-4)
        assert np.abs(expected - 1).max() > 0.1
        for factor, (low, high) in zip(found, bounds, strict=True):
            assert (low is None or factor >= low) and (high is None or factor <= high)
    if sign != "free":
        assert (found == 1).any(), "a bound holds exactly where it holds at all"


def test_the_free_solution_crosses_both_bounds(margin_fit: Settings) -> None:
    """Otherwise the bounds would not be tried here."""
    config = margin_fit(utility_weight=0.5, prior_width=0.7, damping=0.0, response_weight=0.1)
    found = solve(MARGINS, torch.ones(5).double(), role_bounds(NEURONS, config), config)
    for part in (found[:3], found[3:]):
        assert part.min() < 1 - 1e-3 or part.max() > 1 + 1e-3
    assert found.min() < 1 < found.max()


@pytest.mark.parametrize(("joint_share", "response_weight"), [(0.75, 0.1), (0.0, 0.3), (1.0, 0.1)])
def test_stiffness_is_the_part_of_the_kl_that_is_not_joint(
    margin_fit: Settings, joint_share: float, response_weight: float
) -> None:
    config = margin_fit(joint_share=joint_share, response_weight=response_weight)
    each = (MARGINS.slope[2::3] ** 2).mean(0)
    expected = (1 - joint_share) * response_weight * 10 * each
    torch.testing.assert_close(stiffness(MARGINS, config), expected)
    keep = weights_of(MARGINS, config)[2::3]
    assert keep.tolist() == pytest.approx([joint_share * response_weight] * 10)


def test_kinds_of_margins_weigh_as_if_there_were_as_many_of_each(margin_fit: Settings) -> None:
    margins = made_up(["refuse"] * 4 + ["finish"] + ["answer"] * 3 + ["keep"] * 2)
    found = weights_of(margins, margin_fit(utility_weight=0.3, response_weight=0.1, joint_share=0.75))
    torch.testing.assert_close(found, torch.tensor([1, 1, 1, 1, 4, 0.4, 0.4, 0.4, 0.15, 0.15]).double())


def test_without_some_kinds_the_others_are_fitted(margin_fit: Settings) -> None:
    """A first step may have no kept response, and most steps no finished refusal."""
    config = margin_fit(prior_width=1.0, damping=0.0)
    margins = made_up(["refuse", "answer"] * 5)
    assert stiffness(margins, config).tolist() == [0] * 5
    found = solve(margins, torch.ones(5).double(), role_bounds(NEURONS, config), config)
    assert torch.isfinite(found).all()
    assert (found - 1).abs().max() > 0.1
    weights = weights_of(margins, config)
    assert float((weights * margins.losses(found)).sum()) < float(
        (weights * margins.losses(torch.ones(5).double())).sum()
    )


def test_damping_holds_the_factors_near_where_the_model_was_measured(margin_fit: Settings) -> None:
    last = torch.tensor([2.0, 0.5, 1.0, 1.5, 0.0]).double()
    moved = []
    for damping in (0.0, 30.0, 1e6):
        config = margin_fit(damping=damping, prior_width=1.0)
        moved.append(float((solve(MARGINS, last, role_bounds(NEURONS, config), config) - last).norm()))
    assert moved[0] > moved[1] > moved[2] and moved[2] < 1e-3
