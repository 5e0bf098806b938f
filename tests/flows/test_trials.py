"""Trials of settings, with a stand-in for learning."""

from typing import Any

import pytest

from flows import trials
from neurontune_core import search
from neurontune_core.config import PipelineConfig, load_config
from neurontune_core.errors import NumericalError


def test_a_trial_that_diverges_counts_as_0_and_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[PipelineConfig] = []
    said: list[str] = []

    def learn(config: PipelineConfig) -> dict[str, Any]:
        tried.append(config)
        if len(tried) == 2:
            raise NumericalError("scaling: the loss at step 3 is not finite")
        return {"scaling": None}

    monkeypatch.setattr(trials, "selection_only", lambda config: {})
    monkeypatch.setattr(trials, "scaling_only", learn)
    monkeypatch.setattr(trials.artifacts, "read_manifest", lambda made: {"facts": {"best_score": 0.5}})
    monkeypatch.setattr(search.logger, "warning", lambda text, *parts: said.append(text % parts))
    best, rows = trials.run_trials(load_config("tiny", ["scaling.method=maml", "scaling.validations=1"]), "maml", 3)
    assert [row["validation_score"] for row in rows] == [0.5, 0.0, 0.5]
    assert said == ["trial 1 counts as 0: scaling: the loss at step 3 is not finite"]
    assert best in (tried[0], tried[2])
