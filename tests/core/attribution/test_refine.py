"""More nodes where a path bends: which layers get them, and what that does to completeness."""

import numpy as np
import pytest
import torch
from attribution_cases import (
    DENSE,
    encoded_pairs,
    float64_throughout,
    in_own_units,
    prompt_pair,
    relative_difference,
    tiny_chat,
)

from neurontune_core.attribution import engine as engines
from neurontune_core.attribution import setup
from neurontune_core.attribution.completeness import WANTED_GAP, completeness_rows
from neurontune_core.attribution.paths import Path
from neurontune_core.attribution.quadrature import legendre_gauss_radau
from neurontune_core.attribution.refine import CAUTION, estimated_gap, highest_coefficient, weights_between
from neurontune_core.attribution.settings import AttributionConfig

SMOOTH = [family for family in DENSE if family != "opt"]


@pytest.mark.parametrize("nodes", [2, 4, 7, 13])
def test_weights_between_integrate_polynomials_from_each_point_to_the_next(nodes):
    points, _ = legendre_gauss_radau(nodes)
    polynomial = np.polynomial.Polynomial(np.random.default_rng(nodes).normal(size=nodes))
    found = weights_between(points) @ polynomial(np.array(points))
    np.testing.assert_allclose(found, np.diff(polynomial.integ()(np.array(points))), rtol=1e-9)


@pytest.mark.parametrize("nodes", [1, 2, 4, 7])
def test_highest_coefficient_is_that_of_the_legendre_series(nodes):
    points, _ = legendre_gauss_radau(nodes)
    series = np.polynomial.Legendre(np.random.default_rng(nodes).normal(size=nodes), domain=[0, 1])
    assert highest_coefficient(points) @ series(np.array(points)) == pytest.approx(series.coef[-1])


CURVES = {
    "exponential": (lambda t: np.exp(-2 * t), lambda t: -2 * np.exp(-2 * t)),
    "logistic": (lambda t: 1 / (1 + np.exp(4 - 9 * t)), lambda t: 9 / (4 * np.cosh(2 - 4.5 * t) ** 2)),
    "pole": (lambda t: 1 / (1 + 9 * t**2), lambda t: -18 * t / (1 + 9 * t**2) ** 2),
}


@pytest.mark.parametrize("probability", [True, False])
@pytest.mark.parametrize("nodes", [2, 3, 4, 5, 7])
@pytest.mark.parametrize("name", CURVES)
def test_the_estimate_is_not_below_the_gap_nor_far_above_a_large_one(name, nodes, probability):
    value, slope = (function for function in CURVES[name])
    points, weights = legendre_gauss_radau(nodes)
    places = np.array(points)
    gap = abs(np.dot(weights, slope(places)) - (value(1.0) - value(0.0)))
    # one neuron, which is all there is: its contribution is the slope of P, or of log P where P is what is attributed
    logs = np.log(value(places)) if probability else value(places)
    contribution = slope(places) / value(places) if probability else slope(places)
    path = Path(points, weights, torch.tensor(logs)[:, None], torch.tensor(contribution)[:, None, None])
    scores = torch.tensor([np.dot(weights, slope(places))])
    found = estimated_gap(path, scores, 0, 0.0, probability, noise=0.0)
    assert gap <= CAUTION * found
    assert gap < WANTED_GAP or CAUTION * found < 30 * gap


def test_a_first_factor_below_the_noise_counts_as_nothing():
    points, weights = legendre_gauss_radau(4)
    places = torch.tensor(points, dtype=torch.float64)
    path = Path(points, weights, torch.exp(-places)[:, None], -torch.exp(-places)[:, None, None])
    scores = torch.tensor([np.exp(-1) - 1])
    assert 0 < estimated_gap(path, scores, 0, 0.0, False, noise=0.0) < 1e-3
    assert estimated_gap(path, scores, 0, 0.0, False, noise=1e-2) == 0


def test_one_node_shows_nothing_to_estimate_from():
    chat, pairs = tiny_chat("llama"), encoded_pairs()
    engine = setup.build_engine(AttributionConfig(nodes=1), chat, 1024)
    assert [each.refined for each in engines.attribute(engine, pairs, wanted_gap=WANTED_GAP)] == [0] * len(pairs)


@pytest.mark.parametrize("objective", ["probability", "log_probability"])
@pytest.mark.parametrize("family", SMOOTH)
def test_refining_closes_the_gaps_of_random_models(family, objective):
    with float64_throughout():
        chat, pairs = tiny_chat(family, layers=2), encoded_pairs()[2:]
        engine = setup.build_engine(AttributionConfig(objective=objective), chat, 1024)
        results = engines.attribute(engine, pairs, with_difference=True, wanted_gap=WANTED_GAP)
    # an estimate decides, so a gap of a few times the wanted one can remain; without refining they reach 0.8
    assert max(completeness_rows(prompt_pair(0), each)["relative_gap"].max() for each in results) < 5 * WANTED_GAP


def test_without_known_ends_bent_layers_get_closer_and_the_others_stay():
    with float64_throughout():
        chat, pairs = tiny_chat("phi3"), encoded_pairs()
        engine = setup.build_engine(AttributionConfig(), chat, 1024)
        exact = engines.attribute(setup.build_engine(AttributionConfig(nodes=64), chat, 1024), pairs)
        plain = engines.attribute(engine, pairs)
        refined = engines.attribute(engine, pairs, wanted_gap=WANTED_GAP)
    assert sum(result.refined for result in refined) > 0
    for before, after, wanted in zip(plain, refined, exact, strict=True):
        assert before.refined == 0
        parts = [each.scores.split(48) for each in (before, after)]
        changed = sum(not torch.equal(*layer) for layer in zip(*parts, strict=True))
        assert changed == after.refined
        errors = [relative_difference(in_own_units(each), in_own_units(wanted)) for each in (before, after)]
        assert errors[1] < errors[0] / 5 if after.refined else errors[1] == errors[0]


def test_refined_scores_do_not_depend_on_split_or_batch():
    with float64_throughout():
        chat, pairs = tiny_chat("llama"), encoded_pairs()
        engine = setup.build_engine(AttributionConfig(nodes=2), chat, 1024)
        together = engines.attribute(engine, pairs, wanted_gap=WANTED_GAP)
        assert any(result.refined for result in together)
        engine.budget.row_layers = 1
        for pair, expected in zip(pairs, together, strict=True):
            (alone,) = engines.attribute(engine, [pair], wanted_gap=WANTED_GAP)
            assert alone.refined == expected.refined
            assert relative_difference(in_own_units(alone), in_own_units(expected)) < 1e-9


def test_half_formats_are_left_as_they_are():
    chat, pairs = tiny_chat("llama", torch.bfloat16), encoded_pairs()
    engine = setup.build_engine(AttributionConfig(nodes=2), chat, 1024)
    assert [each.refined for each in engines.attribute(engine, pairs, wanted_gap=WANTED_GAP)] == [0] * len(pairs)
