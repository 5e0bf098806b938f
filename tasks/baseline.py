"""The baseline stage: another method instead of learned factors, if the configuration names one."""

from collections.abc import Container, Mapping
from pathlib import Path

import pandas as pd

from neurontune_core import artifacts, tables
from neurontune_core.baselines import fit, storage
from neurontune_core.baselines.settings import BaselineConfig
from neurontune_core.evaluation.refusals import judge_version, labels
from neurontune_core.model.source import ModelReference
from neurontune_core.records import Artifact
from neurontune_core.scaling.settings import ScalingConfig
from tasks.models import loaded
from tasks.progress import tracker
from tasks.stage import StageRun, carry_out, stage_task

STAGE, TRIALS = "baseline", "trials"


def changing_stage(stages: Container[str]) -> str:
    """Return the stage of a run that made the change of the model: `scaling`, or `baseline` in its place."""
    return STAGE if STAGE in stages else "scaling"


def baseline_key(
    config: BaselineConfig, scaling: ScalingConfig, pairs: Artifact, neurons: Artifact, model: ModelReference
) -> str:
    """Return the content key of a baseline with the budget of these scaling settings."""
    settings = {"baseline": config.model_dump(mode="json"), "scaling": scaling.model_dump(mode="json")}
    inputs = [pairs.digest, neurons.digest, judge_version()]
    return artifacts.stage_key(STAGE, fit.VERSION, settings, model.identity, inputs)


@stage_task(STAGE, baseline_key)
def fit_baseline(
    config: BaselineConfig,
    scaling: ScalingConfig,
    pairs: Artifact,
    neurons: Artifact,
    model: ModelReference,
    run: StageRun,
) -> Artifact:
    """Fit the baseline on the data and with the budget of the scaling factors."""

    def fill(folder: Path) -> Mapping[str, float]:
        prompts = tables.load_pairs(artifacts.open_folder(pairs))
        selected = tables.load_neurons(artifacts.open_folder(neurons))
        with loaded(model, run.runtime, working=True) as chat:
            fitted = fit.fit_baseline(prompts, selected, config, scaling, chat, labels, tracker(STAGE))
        storage.save_baseline(folder, fitted.change, model.identity)
        if fitted.trials:
            tables.save_table(folder, TRIALS, pd.DataFrame(fitted.trials))
        return fitted.facts

    return carry_out(STAGE, run, fill, config, [pairs, neurons])
