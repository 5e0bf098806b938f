"""Split the wavefront so that its activations fit in memory; the result does not depend on the split."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import torch

from neurontune_core.attribution.wavefront import Wave

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass
class Budget:
    """Memory budget: how many row-layers (one row of each pair, in one decoder layer) the backward pass may keep.

    When the device runs out of memory, the budget is halved permanently, so that not every pair repeats the failure.
    """

    row_layers: int
    halvings: int = 0


def row_layers(wave: Wave, layers: int) -> int:
    """Return how many row-layers a wave keeps: the clean row's, and those of a row for each point from its layer on."""
    return sum(len(wave.moving) * (layers - layer) for layer in wave.layers) + layers - wave.layers[0]


def cut(chosen: Sequence[int], layers: int, points: Sequence[float], limit: int) -> list[Wave]:
    """Return waves of the chosen decoder layers, of `layers` in all; each wave is within `limit` row-layers.

    Waves are split by layers first; if a single layer is too large, its points are divided.

    With the same memory, few layers at all points give larger matrix products than all layers at few points, because
    then the first layers of a wave already have many rows. A wave of one layer and one point is never split.
    """
    waves: list[Wave] = []
    start = 0
    while start < len(chosen):
        stop = start + 1
        while stop < len(chosen) and row_layers(Wave(chosen[start : stop + 1], tuple(points)), layers) <= limit:
            stop += 1
        if stop == start + 1:
            waves += _cut_layer(chosen[start:stop], layers, points, limit)
        else:
            waves.append(Wave(chosen[start:stop], tuple(points)))
        start = stop
    return waves


def _cut_layer(alone: Sequence[int], layers: int, points: Sequence[float], limit: int) -> list[Wave]:
    """Return waves of one layer, each with a part of the points and within `limit` row-layers.

    The path's end costs no row and goes with the first points.
    """
    moving, end = Wave(alone, tuple(points)).moving, tuple(point for point in points if point == 1.0)
    size = max(1, limit // (layers - alone[0]) - 1)
    parts = [moving[start : start + size] for start in range(0, len(moving), size)] or [()]
    return [Wave(alone, part + (end if place == 0 else ())) for place, part in enumerate(parts)]


def halve(wave: Wave) -> list[Wave]:
    """Return the two halves of a wave, by points if it has several, else by layers; the smallest wave stays whole."""
    if len(wave.points) > 1:
        middle = len(wave.points) // 2
        return [Wave(wave.layers, wave.points[:middle]), Wave(wave.layers, wave.points[middle:])]
    if len(wave.layers) > 1:
        middle = len(wave.layers) // 2
        return [Wave(wave.layers[:middle], wave.points), Wave(wave.layers[middle:], wave.points)]
    return [wave]


def run_within(
    run: Callable[[Wave], Result], waves: Sequence[Wave], layers: int, budget: Budget
) -> Iterator[tuple[Wave, Result]]:
    """Run waves and yield each with its result; if the device runs out of memory, halve the wave and the budget.

    Raises:
        torch.OutOfMemoryError: the smallest wave does not fit.
    """
    waiting = list(waves)
    while waiting:
        wave = waiting.pop(0)
        halves = halve(wave)
        result = unless_out_of_memory(partial(run, wave), len(halves) > 1)
        if result is not None:
            yield wave, result
            continue
        budget.row_layers = max(1, row_layers(wave, layers) // 2)
        budget.halvings += 1
        waiting = halves + waiting


def in_halves(run: Callable[[Sequence[Item]], list[Result]], items: Sequence[Item]) -> list[Result]:
    """Return the results of `run` on all items at once, or on each half separately if memory is too small.

    Raises:
        torch.OutOfMemoryError: a single item does not fit.
    """
    results = unless_out_of_memory(lambda: run(items), len(items) > 1)
    if results is not None:
        return results
    middle = len(items) // 2
    return in_halves(run, items[:middle]) + in_halves(run, items[middle:])


def unless_out_of_memory(run: Callable[[], Result], recoverable: bool) -> Result | None:
    """Return the result of `run`, or None if it ran out of memory and the caller can retry with less."""
    try:
        return run()
    except (RuntimeError, MemoryError) as error:
        memory = isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)
        if not (memory and recoverable):
            raise
    # here and not in the handler, where the exception's traceback still refers to the failed run's tensors
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return None
