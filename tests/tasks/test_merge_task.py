"""The scores stage: the shards of a run that it takes."""

from collections import Counter
from pathlib import Path

import pytest

from flows.pipeline import pipeline
from neurontune_core import artifacts
from neurontune_core.config import PipelineConfig
from neurontune_core.errors import InputError
from tasks.recording.mlflow_store import Tracking
from tasks.scores import merge_scores
from tasks.stage import StageRun

pytestmark = pytest.mark.usefixtures("prefect_server", "untracked")


def test_merge_refuses_an_incomplete_set(config: PipelineConfig, core_calls: Counter[str]) -> None:
    pipeline(config)
    root = config.runtime.root
    shards = [artifacts.find(root, "attribution", path.name) for path in (Path(root) / "attribution").iterdir()]
    parts = sorted(
        (part for part in shards if part), key=lambda part: artifacts.read_manifest(part)["settings"]["shard"]
    )
    for given, words in [
        (parts[1:], "1 of 3 shards are missing: shard 1;"),
        (parts[1:2], "2 of 3 shards are missing: shard 1, 3;"),
        ([*parts, parts[0]], "more than once, or of another run: shard 1"),
    ]:
        with pytest.raises(InputError, match=words):
            merge_scores.fn(given, StageRun("key", config.runtime, Tracking(uri="")))
