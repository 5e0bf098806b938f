"""The sign that a neuron's role sets."""

from collections.abc import Callable
from math import inf

import pytest
import torch

from neurontune_core.records import NeuronId, NeuronSet
from neurontune_core.scaling.bounds import bounded, role_bounds
from neurontune_core.scaling.settings import MamlSettings

SETS = NeuronSet((NeuronId(0, 0), NeuronId(0, 1)), (NeuronId(1, 0),))


@pytest.mark.parametrize(
    ("sign", "low", "high", "brought"),
    [
        ("free", [-inf, -inf, -inf], [inf, inf, inf], [0.5, 1.5, 1.5]),
        ("by_role", [1, 1, -inf], [inf, inf, 1], [1, 1.5, 1]),
        ("against_role", [-inf, -inf, 1], [1, 1, inf], [0.5, 1, 1.5]),
    ],
)
def test_bounds_by_hand(
    maml: Callable[..., MamlSettings], sign: str, low: list[float], high: list[float], brought: list[float]
) -> None:
    config = maml(sign=sign)
    assert [bound.tolist() for bound in role_bounds(SETS, config)] == [low, high]
    for dtype in (torch.float32, torch.float64):
        found = bounded(torch.tensor([0.5, 1.5, 1.5], dtype=dtype), SETS, config)
        assert found.tolist() == brought and found.dtype == dtype


def test_one_kind_of_neuron_alone(maml: Callable[..., MamlSettings]) -> None:
    low, high = role_bounds(NeuronSet((), SETS.safety), maml(sign="by_role"))
    assert (low.tolist(), high.tolist()) == ([-inf, -inf], [1, 1])
