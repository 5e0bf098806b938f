"""Data are read and checked once by a command and its flow, and once by the variants of a study."""

from pathlib import Path

import pytest

from flows import pipeline
from neurontune_core.config import load_config
from neurontune_core.pairs.settings import PairsConfig


def test_the_same_data_are_read_once_and_other_data_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []

    def digests(config: PairsConfig) -> list[str]:
        read.append(config.seed)
        return [f"digest {config.seed}"]

    monkeypatch.setattr(pipeline, "input_digests", digests)
    root = f"runtime.root={tmp_path}"
    one, longer, other = (
        load_config("tiny", [root, s]) for s in ("scaling.steps=1", "scaling.steps=2", "pairs.seed=7")
    )
    with pipeline.data_read_once():
        found = [pipeline.check_inputs(config).datasets for config in (one, longer, other, one)]
        assert read == [0, 7] and found == [["digest 0"], ["digest 0"], ["digest 7"], ["digest 0"]]
    for _ in range(2):
        pipeline.check_inputs(one)
    assert read == [0, 7, 0, 0], "a file may have changed between two runs"
