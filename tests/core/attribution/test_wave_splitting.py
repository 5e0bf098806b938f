"""Cutting the wavefront: every layer and point once, within the limit, with the same result, also after running out."""

import itertools
from types import SimpleNamespace

import pytest
import torch
from attribution_cases import encoded_pairs, float64_throughout, in_own_units, relative_difference, tiny_chat

from neurontune_core.attribution import engine as engines
from neurontune_core.attribution import memory, paths, setup
from neurontune_core.attribution.settings import AttributionConfig
from neurontune_core.attribution.split import Budget, cut, halve, row_layers, run_within
from neurontune_core.attribution.wavefront import Wave, run_wave

POINTS = (0.1, 0.5, 0.9)


@pytest.mark.parametrize("layers", [1, 3, 30])
@pytest.mark.parametrize("limit", [1, 7, 40, 200, 500, 1000, 10**9])
@pytest.mark.parametrize("points", [POINTS, (*POINTS, 1.0), (1.0,)], ids=str)
def test_cut_covers_every_layer_and_point_once_within_the_limit(layers, points, limit):
    waves = cut(range(layers), layers, points, limit)
    cells = [(layer, point) for wave in waves for layer in wave.layers for point in wave.points]
    assert sorted(cells) == sorted(itertools.product(range(layers), points))
    for wave in waves:
        assert row_layers(wave, layers) <= limit or (len(wave.layers) == 1 and len(wave.moving) == 1) or not wave.moving


def test_cut_takes_one_wave_if_it_fits_and_divides_layers_before_points():
    whole = row_layers(Wave(range(30), POINTS), 30)
    assert cut(range(30), 30, POINTS, whole) == [Wave(range(30), POINTS)]
    assert cut(range(30), 30, POINTS, whole - 1) == [Wave(range(29), POINTS), Wave(range(29, 30), POINTS)]
    # layer 0 of 30 keeps 4 x 30 row-layers: one too many, so that its points are divided, and those of no other layer
    ends = (*POINTS, 1.0)
    assert cut(range(30), 30, ends, 119)[:3] == [
        Wave(range(1), (0.1, 0.5, 1.0)), Wave(range(1), (0.9,)), Wave(range(1, 2), ends),
    ]  # fmt: skip


def test_cut_runs_the_chosen_layers_alone():
    chosen = (2, 5, 6)
    assert cut(chosen, 8, POINTS, 10**9) == [Wave(chosen, POINTS)]
    # layers 5 and 6 keep 3 x (3 + 2) rows and the clean row three times
    assert cut(chosen, 8, POINTS, 24) == [Wave((2,), POINTS), Wave((5, 6), POINTS)]


def test_row_layers_counts_the_rows_that_run():
    # S=2 in layers 1 and 2 of 3: rows 1+2 in layer 1, 1+4 in layer 2; the path's end is the clean row
    assert row_layers(Wave(range(1, 3), (0.2, 0.8, 1.0)), 3) == (2 + 1) + (4 + 1)


def test_halve_divides_points_then_layers_and_stops_at_one_of_each():
    for wave in (Wave(range(5), POINTS), Wave(range(2, 7), (0.5,))):
        halves = halve(wave)
        assert len(halves) == 2
        assert sum(len(half.layers) * len(half.points) for half in halves) == len(wave.layers) * len(wave.points)
    assert halve(Wave((1, 4, 7), (0.5,))) == [Wave((1,), (0.5,)), Wave((4, 7), (0.5,))]
    smallest = Wave(range(3, 4), (0.5,))
    assert halve(smallest) == [smallest]


@pytest.mark.parametrize("position", ["last", "response"])
def test_scores_do_not_depend_on_the_split(position):
    with float64_throughout():
        chat, pairs = tiny_chat("gemma2", layers=3), encoded_pairs()
        engine = setup.build_engine(AttributionConfig(nodes=3, position=position), chat, 1024)
        whole = engines.attribute(engine, pairs, with_difference=True)
        for limit, waves in ((10, 2), (6, 4), (1, 6)):
            engine.budget.row_layers = limit
            for found, expected in zip(engines.attribute(engine, pairs, with_difference=True), whole, strict=True):
                assert len(found.waves) == waves and len(expected.waves) == 1
                assert relative_difference(in_own_units(found), in_own_units(expected)) < 1e-12
                torch.testing.assert_close(found.difference, expected.difference)


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), MemoryError(), RuntimeError(
    "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")], ids=repr)  # fmt: skip
def test_running_out_of_memory_halves_and_goes_on(error, monkeypatch):
    chat, pairs = tiny_chat("llama"), encoded_pairs()[:1]
    engine = setup.build_engine(AttributionConfig(), chat, 1024)
    (expected,) = engines.attribute(engine, pairs)

    def run_out(model, head, context, wave, with_gradient=True):
        if row_layers(wave, 3) > 6:
            raise error
        return run_wave(model, head, context, wave, with_gradient)

    monkeypatch.setattr(paths, "run_wave", run_out)
    (found,) = engines.attribute(engine, pairs)
    assert relative_difference(found.scores, expected.scores) < 1e-6
    assert engine.budget.halvings > 0
    halvings = engine.budget.halvings
    engines.attribute(engine, pairs)
    assert engine.budget.halvings - halvings < halvings  # what was learnt is kept


def test_several_pairs_are_divided_if_their_smallest_wave_does_not_fit(monkeypatch):
    chat, pairs = tiny_chat("llama"), encoded_pairs()
    engine = setup.build_engine(AttributionConfig(), chat, 1024)
    expected = engines.attribute(engine, pairs)

    def run_out(model, head, context, wave, with_gradient=True):
        if len(context.batch.row) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return run_wave(model, head, context, wave, with_gradient)

    monkeypatch.setattr(paths, "run_wave", run_out)
    found = engines.attribute(engine, pairs)
    assert [each.id for each in found] == [pair.id for pair in pairs]
    for each, other in zip(found, expected, strict=True):
        assert relative_difference(in_own_units(each), in_own_units(other)) < 1e-6


def test_other_errors_and_the_smallest_wave_are_not_retried():
    def fail(wave):
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        list(run_within(fail, [Wave(range(3), POINTS)], 3, Budget(100)))

    def run_out(wave):
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        list(run_within(run_out, [Wave(range(3), POINTS)], 3, Budget(100)))


def test_a_smaller_budget_gives_more_waves():
    chat, pairs = tiny_chat("llama"), encoded_pairs()[:1]
    engine = setup.build_engine(AttributionConfig(nodes=64), chat, 1)
    each = engine.bytes_per_token_layer * len(pairs[0].response)
    assert engine.budget_bytes == 1 << 20
    (found,) = engines.attribute(engine, pairs)
    assert list(found.waves) == cut(range(3), 3, engine.points, int((1 << 20) / each))
    assert len(found.waves) > 1


def test_measured_bytes_foretell_what_autograd_keeps():
    chat = tiny_chat("llama", torch.float32)
    engine = setup.build_engine(AttributionConfig(), chat, 1024)
    layer = chat.model.model.layers[0]
    widths = 2 * 32 + 3 * 48 + 32 + 2 * 16 + 32  # two residuals, gate and its activation and up, q, k, v, output
    assert layer.mlp.up_proj.out_features == 48
    assert 0.7 * widths * 4 < engine.bytes_per_token_layer < 1.6 * widths * 4


def test_pairs_per_batch():
    assert memory.pairs_per_batch(torch.device("cpu"), 12, 91, 1.0, 10**9) == 1
    assert memory.pairs_per_batch(torch.device("cuda"), 12, 91, 1.0, 10**9) == 8192 // (12 * 91)
    assert memory.pairs_per_batch(torch.device("cuda"), 12, 91, 4e8, 10**9) == 2
    assert memory.pairs_per_batch(torch.device("cuda"), 12, 91, 4e9, 10**9) == 1


@pytest.mark.parametrize(("available", "budget"), [(1 << 40, 400 << 20), (200 << 20, 100 << 20), (1 << 20, 64 << 20)])
def test_the_budget_is_a_share_of_the_weights_and_of_what_is_available(available, budget, monkeypatch):
    monkeypatch.setattr(memory.psutil, "virtual_memory", lambda: SimpleNamespace(available=available))
    model = torch.nn.Module()
    model.device, model.weight = torch.device("cpu"), torch.nn.Parameter(torch.empty(1000 << 18, device="meta"))
    assert memory.activation_budget(model) == budget
