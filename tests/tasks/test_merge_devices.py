"""The merged scores say which device made which part, and are the same whichever did."""

import pandas as pd

from neurontune_core import artifacts, tables
from neurontune_core.config import RuntimeConfig
from tasks.recording.mlflow_store import Tracking
from tasks.scores import merge_scores
from tasks.stage import with_key


def merged(root: str, places: list[str]):
    table = pd.DataFrame(
        {"role": ["safety"], "attack_category": ["a"], "layer": [0], "neuron": [1], "half": [0], "score_sum": [0.5],
         "score_sq_sum": [0.25], "count": [1]}
    )  # fmt: skip

    def fill(folder):
        tables.save_table(folder, "part", table)
        return {"pairs": 3.0}

    shards = [
        artifacts.write(root, "attribution", f"{shard}" * 32, fill, {"shard": shard, "shards": 2} | device)
        for shard, device in enumerate({"device": place} if place else {} for place in places)
    ]
    runtime = RuntimeConfig(root=root)
    return merge_scores.fn(**with_key(merge_scores, runtime, Tracking(uri=""), {"shards": shards}))


def test_parts_and_digest(tmp_path):
    found = merged(str(tmp_path / "one"), ["cuda:0 (NVIDIA H100)", "cpu"])
    assert artifacts.read_manifest(found)["settings"]["parts"] == [
        {"shard": 1, "device": "cuda:0 (NVIDIA H100)", "pairs": 3.0},
        {"shard": 2, "device": "cpu", "pairs": 3.0},
    ]
    other = merged(str(tmp_path / "other"), ["cpu", ""])
    assert (other.digest, other.key) == (found.digest, found.key)
    assert artifacts.read_manifest(other)["settings"]["parts"][1]["device"] == "not known"
