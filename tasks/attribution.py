"""The attribution stage: contribution scores of one shard of the pairs."""

from collections.abc import Mapping
from pathlib import Path

from neurontune_core import artifacts, tables
from neurontune_core.attribution import shard as shards
from neurontune_core.attribution.settings import AttributionConfig
from neurontune_core.model.source import ModelReference
from neurontune_core.records import Artifact
from tasks.models import loaded, with_device
from tasks.progress import tracker
from tasks.recording import step_runs
from tasks.recording.system_metrics import Sample, sampled
from tasks.stage import StageRun, stage_task

STAGE = "attribution"


def shard_key(config: AttributionConfig, shard: int, pairs: Artifact, model: ModelReference) -> str:
    """Return the content key of shard `shard`, counted from 0, of `config.shards`."""
    return artifacts.stage_key(STAGE, shards.VERSION, config, model.identity, [pairs.digest, f"shard {shard}"])


def attribution_key(config: AttributionConfig, pairs: Artifact, model: ModelReference) -> str:
    """Return the content key of all shards together."""
    return artifacts.stage_key(STAGE, shards.VERSION, config, model.identity, [pairs.digest])


def shard_name(shard: int, config: AttributionConfig) -> str:
    """Return the name of a shard on screen and in the logs, counted from 1 (`attribution shard 2/4`)."""
    return f"{STAGE} shard {shard + 1}/{config.shards}"


def _run_name() -> str:
    from prefect.runtime import task_run

    return shard_name(task_run.parameters["shard"], task_run.parameters["config"])


@stage_task(STAGE, shard_key, _run_name)
def attribute_shard(
    config: AttributionConfig,
    shard: int,
    pairs: Artifact,
    model: ModelReference,
    run: StageRun,
) -> Artifact:
    """Attribute one shard of the pairs; its facts go to a run below the attribution run that all shards share."""

    def fill(folder: Path) -> Mapping[str, float]:
        chosen = shards.choose_pairs(tables.load_pairs(artifacts.open_folder(pairs)), config)
        mine = shards.in_shard(chosen, shard, config.shards)
        track = tracker(shard_name(shard, config))
        with loaded(model, run.runtime, working=False) as chat:
            scores = shards.attribute_shard(mine, config, chat, run.runtime.memory_mib, track)
        tables.save_table(folder, "part", scores.table)
        tables.save_table(folder, "completeness", scores.completeness)
        return scores.facts

    if found := artifacts.find(run.runtime.root, STAGE, run.key):
        return found
    settings = with_device(config, run.runtime) | {"shard": shard}
    step = run.record.step_run_id or None
    samples: list[Sample] = []
    try:
        with sampled() as samples:
            artifact = artifacts.write(run.runtime.root, STAGE, run.key, fill, settings, [pairs])
    except BaseException:  # a failed shard has no run of its own
        step_runs.record_samples(run.record, step, samples)
        raise
    step_runs.record_executed(run.record, step, {shard: artifact}, True)
    step_runs.record_shard(run.record, shard, shard_name(shard, config), artifact, samples)
    return artifact
