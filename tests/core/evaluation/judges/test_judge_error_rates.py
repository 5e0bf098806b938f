import math

import numpy as np
import pytest

from neurontune_core.evaluation.judges import judge_by_name
from neurontune_core.evaluation.judges.error_rates import MEASURED, correct_rate, rogan_gladen


@pytest.mark.parametrize("true", [0.0, 0.2, 0.77, 1.0])
@pytest.mark.parametrize(("positive", "negative"), [(0.0, 0.0), (0.1, 0.3), (0.25, 0.05)])
def test_the_correction_inverts_the_error(true: float, positive: float, negative: float) -> None:
    observed = true * (1 - negative) + (1 - true) * positive
    assert rogan_gladen(observed, positive, negative) == pytest.approx(true)


def test_the_correction_stays_a_rate() -> None:
    assert rogan_gladen(0.02, 0.1, 0.1) == 0.0
    assert rogan_gladen(0.99, 0.1, 0.1) == 1.0
    assert math.isnan(rogan_gladen(0.5, 0.6, 0.4))


def test_the_range_holds_every_error_rate_within_its_interval() -> None:
    corrected = correct_rate(0.6, "rules 11", "safety")
    assert corrected is not None
    assert corrected.value == pytest.approx((0.6 - 2 / 70) / (1 - 2 / 70 - 9 / 450))
    # Wilson intervals of 2 of 70 and 9 of 450
    grid = [rogan_gladen(0.6, p, n) for p in np.linspace(0.00787, 0.09832, 9) for n in np.linspace(0.01056, 0.03757, 9)]
    assert (corrected.low, corrected.high) == pytest.approx((min(grid), max(grid)), abs=1e-3)
    assert corrected.low < corrected.value < corrected.high


def test_the_shipped_judges_are_measured_and_no_other() -> None:
    for judge in map(judge_by_name, ("rules", "keyword")):
        assert f"{judge.name} {judge.version}" in MEASURED
    assert correct_rate(0.5, "rules 0", "safety") is None
    for sides in MEASURED.values():
        assert sum(side.complied + side.refused for side in sides.values()) == 1170
