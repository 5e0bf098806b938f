"""The harness stages: lm-evaluation-harness on the base model (shared by all its tuned models) and on a tuned one."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from neurontune_core import artifacts, tables
from neurontune_core.baselines.storage import load_change
from neurontune_core.evaluation import harness
from neurontune_core.evaluation.harness import HarnessTasks
from neurontune_core.model.source import ModelReference
from neurontune_core.records import Artifact
from tasks.ability import asked_model
from tasks.models import loaded
from tasks.progress import tracker
from tasks.stage import StageRun, carry_out, stage_task

BASE, STAGE = "base-harness", "harness"
SCORES, ROWS = "scores", "rows"


def base_key(asked: HarnessTasks, data: Sequence[str], model: ModelReference) -> str:
    """Return the content key of the base model's scores; `data` are the digests of the tasks."""
    return artifacts.stage_key(BASE, harness.VERSION, _settings(asked), asked_model(model), data)


def harness_key(
    asked: HarnessTasks, base: Artifact, data: Sequence[str], change: Artifact, model: ModelReference
) -> str:
    """Return the content key of the tuned model's scores beside the base model's."""
    inputs = [base.digest, change.digest, *data]
    return artifacts.stage_key(STAGE, harness.VERSION, _settings(asked), asked_model(model), inputs)


@stage_task(BASE, base_key)
def score_base(asked: HarnessTasks, data: Sequence[str], model: ModelReference, run: StageRun) -> Artifact:
    """Ask the base model the tasks."""

    def fill(folder: Path) -> Mapping[str, float]:
        with loaded(model, run.runtime, working=True) as chat:
            scores, rows = harness.model_scores(chat, asked, tracker(BASE))
        _save(folder, scores, rows)
        return {"rows": float(len(rows))}

    return carry_out(BASE, run, fill, _settings(asked), [])


@stage_task(STAGE, harness_key)
def score_tuned(
    asked: HarnessTasks,
    base: Artifact,
    data: Sequence[str],
    change: Artifact,
    model: ModelReference,
    run: StageRun,
) -> Artifact:
    """Ask the tuned model the same tasks, and compare."""

    def fill(folder: Path) -> Mapping[str, float]:
        known = artifacts.open_folder(base)
        before = tables.load_table(known, SCORES), tables.load_table(known, ROWS)
        changing = load_change(artifacts.open_folder(change))
        with loaded(model, run.runtime, working=True) as chat, changing.applied(chat) as changed:
            after = harness.model_scores(changed, asked, tracker(STAGE))
        table, facts = harness.compare_scores(asked.tasks, before, after)
        _save(folder, table, after[1])
        return facts

    return carry_out(STAGE, run, fill, _settings(asked), [base, change])


def _settings(asked: HarnessTasks) -> dict[str, Any]:
    return {"tasks": list(asked.tasks), "limit": asked.limit}


def _save(folder: Path, scores: pd.DataFrame, rows: pd.DataFrame) -> None:
    tables.save_table(folder, SCORES, scores)
    tables.save_table(folder, ROWS, rows)
