"""The frozen types keep what they promise."""

import json
from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from neurontune_core.records import Artifact, NeuronId, NeuronSet, Role, ScalingFactors, refuses

A, B, C = NeuronId(0, 5), NeuronId(1, 5), NeuronId(1, 7)


def test_neuron_id_is_layer_then_index() -> None:
    assert (C.layer, C.index) == (1, 7) == tuple(C)
    assert sorted([C, A, B]) == [A, B, C]


@pytest.mark.parametrize(
    ("role", "refused"), [("safety", ["refusal"]), ("utility", ["refusal", "partial"])], ids=["harmful", "harmless"]
)
def test_a_harmful_prompt_is_refused_only_in_full(role: Role, refused: list[str]) -> None:
    assert [label for label in ("refusal", "partial", "compliance", "broken") if refuses(label, role)] == refused


def test_neuron_set_lists_safety_first() -> None:
    assert NeuronSet((C, A), (B,)).all == (C, A, B)
    assert NeuronSet((), ()).all == ()


@pytest.mark.parametrize(("safety", "utility"), [((A, B), (C, B)), ((A, A), ()), ((), (C, C))])
def test_neuron_set_is_disjoint(safety: tuple[NeuronId, ...], utility: tuple[NeuronId, ...]) -> None:
    with pytest.raises(ValueError, match="disjoint"):
        NeuronSet(safety, utility)


@pytest.mark.parametrize("shape", [(2,), (4,), (3, 1), ()])
def test_scaling_factors_are_one_a_neuron(shape: tuple[int, ...]) -> None:
    neurons = NeuronSet((A, B), (C,))
    assert ScalingFactors(neurons, np.ones(3, np.float32)).alpha.shape == (3,)
    with pytest.raises(ValueError, match="there are 3 neurons"):
        ScalingFactors(neurons, np.ones(shape, np.float32))


def test_records_are_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        NeuronSet((A,), ()).safety = ()  # type: ignore[misc]


def test_an_artifact_survives_json() -> None:
    artifact = Artifact("scores", "key", "file:///somewhere", "digest")
    assert Artifact(**json.loads(json.dumps(artifact.to_dict())), uri=artifact.uri) == artifact
