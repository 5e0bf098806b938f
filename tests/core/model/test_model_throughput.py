"""Counted operations, seconds and the share of a measured peak."""

import pytest
import torch

from neurontune_core.model.throughput import MeasuredWork, counted, matmul_peak, timed

CPU = torch.device("cpu")


def test_operations_of_products_forward_and_backward_by_hand() -> None:
    left, right = torch.randn(3, 5, requires_grad=True), torch.randn(5, 7)
    work = MeasuredWork()
    with counted(work):
        (left @ right).sum().backward()
    # 2 m k n forward; the gradient of `left` alone, as much again
    assert work.flops == 2 * 3 * 5 * 7 * 2 and work.seconds > 0
    with counted(work):
        right.T @ right
    assert work.flops == 2 * 3 * 5 * 7 * 2 + 2 * 7 * 5 * 7


def test_share_by_hand() -> None:
    assert MeasuredWork(30.0, 2.0).share_of(60.0) == 0.25
    assert MeasuredWork().share_of(60.0) == 0.0


def test_a_measured_peak_is_at_least_what_one_product_reaches() -> None:
    peak = matmul_peak(CPU, torch.float32, size=64, repeats=3)
    assert 1e6 < peak < 1e16
    result, seconds = timed(lambda: 7, CPU)
    assert result == 7 and seconds >= 0


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_peak_of_other_formats(dtype: torch.dtype) -> None:
    assert matmul_peak(CPU, dtype, size=32, repeats=1) > 0
