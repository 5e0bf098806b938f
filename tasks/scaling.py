"""The scaling stage: one learned factor a selected neuron."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from neurontune_core import artifacts, tables
from neurontune_core.evaluation.refusals import judge_version, labels
from neurontune_core.model.source import ModelReference
from neurontune_core.records import Artifact
from neurontune_core.scaling import learn
from neurontune_core.scaling.problem import Problem
from neurontune_core.scaling.settings import ScalingConfig
from neurontune_core.unfinished import UnfinishedStage
from tasks.models import loaded
from tasks.progress import tracker
from tasks.recording import tracking
from tasks.stage import StageRun, carry_out, stage_task

STAGE = "scaling"


def scaling_key(config: ScalingConfig, pairs: Artifact, neurons: Artifact, model: ModelReference) -> str:
    """Return the content key of the factors learned for these neurons on these pairs."""
    return artifacts.stage_key(
        STAGE, learn.VERSION, config, model.identity, [pairs.digest, neurons.digest, judge_version()]
    )


@stage_task(STAGE, scaling_key)
def learn_scaling(
    config: ScalingConfig,
    pairs: Artifact,
    neurons: Artifact,
    model: ModelReference,
    run: StageRun,
) -> Artifact:
    """Learn the scaling factors; a killed run resumes from a state that is at most a minute old."""
    state = UnfinishedStage(run.runtime.root, STAGE, run.key)

    def fill(folder: Path) -> Mapping[str, float]:
        prompts = tables.load_pairs(artifacts.open_folder(pairs))
        selected = tables.load_neurons(artifacts.open_folder(neurons))
        with loaded(model, run.runtime, working=True) as chat:
            problem = Problem(chat, selected, prompts, labels)
            learned = learn.learn_scaling(
                problem,
                config,
                tracker(STAGE),
                report=partial(tracking.record_curve_row, run.record, STAGE),
                checkpoint=state,
            )
        tables.save_scaling(folder, learned.scaling, model.identity)
        tables.save_table(folder, "curve", learned.curve)
        return learned.facts

    artifact = carry_out(STAGE, run, fill, config, [pairs, neurons])
    state.discard()
    return artifact
