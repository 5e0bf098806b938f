"""The small file: it applies to the base model it was made for, and to no other."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from neurontune_core.errors import InputError
from neurontune_core.export.alpha import load_alpha, write_alpha
from neurontune_core.records import NeuronId, NeuronSet, ScalingFactors


def test_factors_come_back(base_folder, factors, tmp_path):
    base = base_folder("llama")
    write_alpha(tmp_path / "alpha", factors, base, {"run": "r"})
    assert sorted(path.name for path in (tmp_path / "alpha").iterdir()) == ["alpha.json", "alpha.safetensors"]
    again = load_alpha(tmp_path / "alpha", base)
    assert again.neurons == factors.neurons
    np.testing.assert_array_equal(again.alpha, factors.alpha)
    assert json.loads((tmp_path / "alpha" / "alpha.json").read_text())["origin"] == {"run": "r"}


def test_another_model_revision_or_shape_is_refused_with_every_reason(base_folder, factors, tmp_path):
    base = base_folder("llama")
    write_alpha(tmp_path / "alpha", factors, base, {})
    moved = base.model_copy(update={"name": "elsewhere/same-weights"})
    assert load_alpha(tmp_path / "alpha", moved).neurons == factors.neurons
    for changes, reason in (
        (
            {"weights": "0123"},
            r"learned on '.*' and does not fit '.*': weights [0-9a-f]{64} there, 0123 here; use the model",
        ),
        ({"revision": "main2"}, "revision None there, main2 here"),
        ({"neurons_per_layer": (48, 48, 48)}, "neurons per layer 2 x 48 there, 3 x 48 here"),
        ({"neurons_per_layer": (48, 32), "weights": "0"}, r"weights .*; neurons per layer 2 x 48 there, \[48, 32\]"),
    ):
        with pytest.raises(InputError, match=reason):
            load_alpha(tmp_path / "alpha", base.model_copy(update=changes))


def test_missing_and_damaged_files_are_refused(base_folder, factors, tmp_path):
    base = base_folder("llama")
    with pytest.raises(InputError, match=r"no alpha\.json in"):
        load_alpha(tmp_path, base)
    write_alpha(tmp_path / "alpha", factors, base, {})
    file = tmp_path / "alpha" / "alpha.safetensors"
    tensors = load_file(file)
    save_file(tensors | {"alpha": tensors["alpha"] + 1}, file)
    with pytest.raises(InputError, match="has changed since it was exported"):
        load_alpha(tmp_path / "alpha", base)
    (tmp_path / "alpha" / "alpha.json").write_text("{")
    with pytest.raises(InputError, match=r"alpha\.json is not readable"):
        load_alpha(tmp_path / "alpha", base)


def test_a_neuron_the_model_has_not_is_refused(base_folder, tmp_path):
    base = base_folder("llama")
    outside = ScalingFactors(NeuronSet((NeuronId(1, 48),), ()), np.ones(1, dtype=np.float32))
    write_alpha(tmp_path / "alpha", outside, base, {})
    with pytest.raises(InputError, match="has no neuron 48 in layer 1"):
        load_alpha(tmp_path / "alpha", base)
