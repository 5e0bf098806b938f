"""Trials of settings, with a stand-in for learning."""

from typing import Any, get_type_hints

import pytest

from flows import trials
from flows.commands import cli_computing
from neurontune_core import search
from neurontune_core.config import PipelineConfig, load_config
from neurontune_core.errors import NumericalError
from neurontune_core.studies.catalogue import STUDIES
from tasks.progress import named_line


def test_a_trial_that_diverges_counts_as_0_and_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[PipelineConfig] = []
    said: list[str] = []
    lines: list[str] = []

    def learn(config: PipelineConfig) -> dict[str, Any]:
        tried.append(config)
        lines.append(named_line("scaling"))
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
    assert lines == ["trial 0: scaling", "trial 1: scaling", "trial 2: scaling"], "numbered as in the table"


def test_the_help_of_trials_names_every_study_that_searches() -> None:
    (option,) = get_type_hints(cli_computing.study, include_extras=True)["trials"].__metadata__
    for name, study in STUDIES.items():
        assert (name in option.help) == bool(study.searched), name
    assert {study.trials for study in STUDIES.values() if study.trials} == {8} and "8 by default" in option.help
