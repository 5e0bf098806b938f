"""Margins: their losses by hand, and joining measurements."""

import math

import pytest
import torch

from neurontune_core.scaling.margin_fit.margins import KINDS, Margins, join


def margins(names: list[str], kinds: list[str], start: float = 0.0) -> Margins:
    """Margins whose slopes and offsets tell which measurement they are of."""
    count = len(names)
    offset = torch.arange(count, dtype=torch.float64) + start
    slope = torch.stack([offset + 0.25, offset + 0.5], dim=1)
    return Margins(slope, offset, torch.tensor([KINDS.index(kind) for kind in kinds]), tuple(names))  # type: ignore[arg-type]


def test_losses_by_hand() -> None:
    """At factors (1.5, 0), with slopes (1, 2), margins move by 0.5 - 2 = -1.5 from where they are at 1."""
    found = Margins(
        torch.tensor([[1.0, 2.0]] * 4, dtype=torch.float64),
        torch.tensor([0.5, 1.0, 2.0, 3.0], dtype=torch.float64),
        torch.tensor([KINDS.index(kind) for kind in ("refuse", "finish", "answer", "keep")]),
        ("a", "a", "b", "b"),
    )
    alpha = torch.tensor([1.5, 0.0], dtype=torch.float64)
    assert found.values(alpha).tolist() == [-1.0, -0.5, 0.5, 1.5]
    expected = [math.log1p(math.exp(1)), math.log1p(math.exp(0.5)), math.log1p(math.exp(0.5)), 1.5**2 / 2]
    assert found.losses(alpha).tolist() == pytest.approx(expected)
    assert found.of("answer").tolist() == [False, False, True, False]


def test_a_margin_measured_anew_replaces_its_older_measurement() -> None:
    older = margins(["a", "b", "c", "b"], ["refuse", "answer", "refuse", "keep"])
    newer = margins(["d", "b", "c"], ["refuse", "answer", "finish"], start=10)
    joined = join([older, newer])
    assert joined.names == [
        ("a", KINDS.index("refuse")),
        ("c", KINDS.index("refuse")),
        ("b", KINDS.index("keep")),
        ("d", KINDS.index("refuse")),
        ("b", KINDS.index("answer")),
        ("c", KINDS.index("finish")),
    ], "of another kind, a margin is another one"
    assert joined.offset.tolist() == [0, 2, 3, 10, 11, 12]
    assert joined.slope[:, 0].tolist() == [0.25, 2.25, 3.25, 10.25, 11.25, 12.25]


def test_joining_one_is_that_one_and_the_last_of_three_counts() -> None:
    one = margins(["a", "b"], ["refuse", "answer"])
    assert join([one]).offset.tolist() == [0, 1]
    third = join([one, margins(["a"], ["refuse"], 10), margins(["b", "a"], ["answer", "refuse"], 20)])
    assert third.offset.tolist() == [20, 21] and third.examples == ("b", "a")
