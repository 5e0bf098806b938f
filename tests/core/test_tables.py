"""Every table reads back as what was written, in the same order, and is the same file every time."""

from pathlib import Path

import numpy as np
import pandas as pd
from safetensors import safe_open

from neurontune_core import tables
from neurontune_core.records import Message, NeuronId, NeuronSet, PromptPair, ScalingFactors

NEURONS = NeuronSet((NeuronId(3, 9), NeuronId(0, 1)), (NeuronId(2, 1535), NeuronId(0, 0), NeuronId(29, 4)))


def pair(number: int, **changes: object) -> PromptPair:
    fields: dict[str, object] = {
        "id": f"q{number}/a", "role": "safety", "query_id": f"q{number}", "query": "Why?", "query_category": "c",
        "prompt": "Tell me: Why?", "response": "I cannot.", "attack_type": "t", "attack_category": "k",
        "attack_name": "a", "selected": True, "source": "shipped", "split": "train",
    }  # fmt: skip
    return PromptPair(**(fields | changes))  # type: ignore[arg-type]


def test_pairs_round_trip(tmp_path: Path) -> None:
    pairs = [
        pair(1),
        pair(2, role="utility", selected=False, split="test", attack_name="", attack_type="", attack_category=""),
        pair(3, query="Zeile\nzwei\t\u2028 \U0001f600 日本語 \\ \"'", response=""),
        pair(0, prompt="x" * 20_000, response="NA", query="nan"),
    ]
    tables.save_pairs(tmp_path, pairs)
    loaded = tables.load_pairs(tmp_path)
    assert loaded == pairs
    assert type(loaded[1].selected) is bool and type(loaded[1].attack_name) is str


def test_pairs_keep_their_conversations(tmp_path: Path) -> None:
    said = (Message("user", "Hello"), Message("assistant", "Hi. \u2028 日本語"))
    for pairs in ([pair(1), pair(2, history=said, system="Be brief.")], [pair(1, history=said), pair(2, history=said)]):
        tables.save_pairs(tmp_path, pairs)
        assert tables.load_pairs(tmp_path) == pairs


def test_pairs_of_an_earlier_version_have_no_conversation(tmp_path: Path) -> None:
    tables.save_pairs(tmp_path, [pair(1)])
    old = pd.read_parquet(tmp_path / tables.PAIRS).drop(columns=["history", "system"])
    old.to_parquet(tmp_path / tables.PAIRS)
    assert tables.load_pairs(tmp_path) == [pair(1)]


def test_pairs_keep_their_own_refusals_and_those_of_an_earlier_version_have_none(tmp_path: Path) -> None:
    pairs = [pair(1, own_refusal="I'm sorry, but no. \u2028"), pair(2)]
    tables.save_pairs(tmp_path, pairs)
    assert tables.load_pairs(tmp_path) == pairs
    pd.read_parquet(tmp_path / tables.PAIRS).drop(columns="own_refusal").to_parquet(tmp_path / tables.PAIRS)
    assert tables.load_pairs(tmp_path) == [pair(1), pair(2)]


def test_no_pairs_round_trip(tmp_path: Path) -> None:
    tables.save_pairs(tmp_path, [])
    assert tables.load_pairs(tmp_path) == []


def test_neurons_keep_their_order_and_roles(tmp_path: Path) -> None:
    for neurons in (NEURONS, NeuronSet((), NEURONS.utility), NeuronSet(NEURONS.safety, ())):
        tables.save_neurons(tmp_path, neurons)
        loaded = tables.load_neurons(tmp_path)
        assert loaded == neurons
        assert all(type(value) is int for neuron in loaded.all for value in neuron)


def test_scaling_factors_round_trip_exactly(tmp_path: Path) -> None:
    alpha = np.array([1.1, 0.9, -0.25, 3e-8, 7], dtype=np.float32)
    tables.save_scaling(tmp_path, ScalingFactors(NEURONS, alpha), "weights:float32")
    loaded = tables.load_scaling(tmp_path)
    assert loaded.neurons == NEURONS
    assert loaded.alpha.dtype == np.float32 and loaded.alpha.tobytes() == alpha.tobytes()


def test_scaling_factors_can_be_a_strided_view(tmp_path: Path) -> None:
    wide = np.arange(10, dtype=np.float32)
    tables.save_scaling(tmp_path, ScalingFactors(NEURONS, wide[::2]), "m")
    assert tables.load_scaling(tmp_path).alpha.tolist() == [0, 2, 4, 6, 8]


def test_scaling_factors_name_their_model(tmp_path: Path) -> None:
    tables.save_scaling(tmp_path, ScalingFactors(NEURONS, np.ones(5, np.float32)), "weights:float32")
    with safe_open(tmp_path / "alpha.safetensors", framework="numpy") as file:
        assert '"model": "weights:float32"' in file.metadata()["neurontune"]


def test_the_same_result_is_the_same_file(tmp_path: Path) -> None:
    table = pd.DataFrame({"role": ["safety", "utility"], "score_sum": [0.1, 0.2]})
    contents = set()
    for _ in range(20):  # safetensors shuffles its metadata: with more than one entry, files of equal content differ
        tables.save_scaling(tmp_path, ScalingFactors(NEURONS, np.ones(5, np.float32)), "m")
        tables.save_neurons(tmp_path, NEURONS)
        tables.save_pairs(tmp_path, [pair(1), pair(2)])
        tables.save_table(tmp_path, "scores", table)
        contents.add(tuple(path.read_bytes() for path in sorted(tmp_path.iterdir())))
    assert len(contents) == 1


def test_tables_keep_types_and_values(tmp_path: Path) -> None:
    table = pd.DataFrame(
        {
            "role": ["safety", "utility"],
            "layer": np.array([0, 29], np.int32),
            "half": np.array([0, 1], np.int8),
            "score_sum": np.array([1 / 3, -1e-300]),
            "count": np.array([3, 2**40], np.int64),
        },
        index=[7, 3],
    )
    tables.save_table(tmp_path, "part", table)
    loaded = tables.load_table(tmp_path, "part")
    assert (tmp_path / "part.parquet").is_file()
    pd.testing.assert_frame_equal(loaded, table.reset_index(drop=True), check_exact=True)
