"""Shards of attribution and parts of studies, in parallel; or a single shard of a recorded run."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import BrokenExecutor, CancelledError
from functools import partial
from typing import Any

from prefect import Task

from flows.runners import started
from flows.stages import PipelineRun, refresh, say, stored
from neurontune_core import artifacts
from neurontune_core.attribution import shard as shard_facts
from neurontune_core.attribution.settings import AttributionConfig
from neurontune_core.config import RuntimeConfig
from neurontune_core.errors import InputError, NeuronTuneError
from neurontune_core.model.source import ModelReference
from neurontune_core.records import Artifact
from tasks import attribution, progress, retries
from tasks.recording import step_runs
from tasks.recording.kept_records import is_kept
from tasks.recording.runs import places
from tasks.stage import configured, with_key

logger = logging.getLogger("neurontune")


class ShardError(NeuronTuneError):
    """Shards of attribution or parts of a study failed; the message names the reasons and the remedy."""


class SchedulerLostError(NeuronTuneError):
    """The Dask scheduler has ended or does not answer; the message names it."""


def run_shards(
    run: PipelineRun,
    config: AttributionConfig,
    pairs: Artifact,
    model: ModelReference,
    only: int | None = None,
) -> list[Artifact]:
    """Run the shards of attribution and return their artifacts in order.

    Failed shards are reported after all others have finished, so that the results of the others are kept.

    Args:
        run: the pipeline run.
        config: its attribution settings.
        pairs: the pairs to attribute.
        model: the model.
        only: run only this shard, counted from 0.

    Raises:
        InputError: all of them failed because of bad input.
        ShardError: shards failed for other reasons, or only some of them.
        NotStoredError: the run only looks for what is stored, and a shard is not.
    """
    stage = attribution.attribute_shard
    numbers = list(range(config.shards)) if only is None else [only]
    if run.stored_only:
        return [stored(run, stage.name, attribution.shard_key(config, shard, pairs, model)) for shard in numbers]
    progress.check()
    key = attribution.attribution_key(config, pairs, model)
    step = step_runs.open_step(run.record, stage.name, key, config, [pairs])
    record = run.record.model_copy(update={"step_run_id": step or ""})
    shared = {"config": config, "pairs": pairs, "model": model}
    calls = [with_key(stage, run.runtime, record, shared | {"shard": shard}) for shard in numbers]
    reused = _found(run, {call["shard"]: call["run"].key for call in calls})
    began = time.monotonic()
    try:
        parts = _settled(stage, run, calls, partial(_shards_failed, run, config))
    except BaseException as error:
        step_runs.close_step(run.record, step, "FAILED" if isinstance(error, Exception) else "KILLED", str(error))
        raise
    step_runs.record_executed(run.record, step, {shard: parts[shard] for shard in reused}, False)
    facts = shard_facts.facts_over_shards([artifacts.read_manifest(part)["facts"] for part in parts.values()])
    for run_id in (step, run.record.run_id):
        step_runs.record_facts(run.record, run_id, stage.name, facts)
    step_runs.record_places(run.record, step, list(parts.values()))
    if len(reused) == len(numbers):
        step_runs.mark_reused(run.record, step, stage.name, key, [pairs])
    step_runs.close_step(run.record, step, "FINISHED")
    made = list(parts.values())
    say(stage.name, len(reused) == len(numbers), time.monotonic() - began, _told(facts, len(reused)))
    return made


def _found(run: PipelineRun, keys: Mapping[int, str]) -> set[int]:
    """Return the shards whose artifacts exist, without those that are to be computed again."""
    stage = attribution.attribute_shard.name
    for key in keys.values():
        refresh(run, stage, key)
    return {shard for shard, key in keys.items() if artifacts.find(run.runtime.root, stage, key)}


def run_parts(stage: Task[..., Artifact], run: PipelineRun, calls: Sequence[dict[str, Any]]) -> list[Artifact]:
    """Run the parts of a study in parallel and return their artifacts in order.

    Raises:
        InputError: all of them failed because of bad input.
        ShardError: parts failed for other reasons, or only some of them; the others are kept.
    """
    keyed = [with_key(stage, run.runtime, run.record, call) for call in calls]
    return list(_settled(stage, run, keyed, partial(_parts_failed, len(calls))).values())


def _settled(
    stage: Task[..., Artifact],
    run: PipelineRun,
    calls: Sequence[dict[str, Any]],
    failed: Callable[[Mapping[int, Exception]], ShardError],
) -> dict[int, Artifact]:
    """Run shards of a stage and return their artifacts, in the order of the calls, by their argument `shard`.

    A killed worker process breaks the whole pool, so shards that this stops run again.

    Raises:
        InputError: all of them failed because of bad input.
        ShardError: what `failed` makes of the exceptions, if shards failed for other reasons, or only some of them.
    """
    results = run_side_by_side(stage, run.runtime, calls)
    for attempt in range(run.runtime.retries):
        lost = [call for call in calls if isinstance(results[call["shard"]], BrokenExecutor)]
        if not lost:
            break
        logger.warning("%s: a worker process was killed; %d shards run again", stage.name, len(lost))
        time.sleep(retries.delay(attempt))
        results |= run_side_by_side(stage, run.runtime, lost)
    failures = {shard: result for shard, result in results.items() if isinstance(result, Exception)}
    if failures:
        if len(failures) == len(calls) and all(isinstance(error, InputError) for error in failures.values()):
            raise InputError("; ".join(sorted({str(error) for error in failures.values()})))
        raise failed(failures)
    return {shard: result for shard, result in results.items() if isinstance(result, Artifact)}


def run_side_by_side(
    stage: Task[..., Artifact], runtime: RuntimeConfig, calls: Sequence[dict[str, Any]]
) -> dict[int, Artifact | Exception]:
    """Run shards of a stage on a new runner; return the artifact or the exception of each, by its argument `shard`."""
    stage = configured(stage, runtime)
    results: dict[int, Artifact | Exception] = {}
    with started(runtime) as runner:
        futures = {call["shard"]: runner.submit(stage, parameters=call) for call in calls}
        for shard, future in futures.items():
            try:
                results[shard] = future.result()
            except CancelledError as error:  # Dask's client raises this when its scheduler is gone
                results[shard] = (
                    SchedulerLostError(
                        f"the Dask scheduler at {runtime.dask_address} was lost; start it again, or set "
                        f"runtime.runner=threads"
                    )
                    if runtime.dask_address
                    else error
                )
            except Exception as error:
                results[shard] = error
    return results


def _parts_failed(count: int, failures: Mapping[int, Exception]) -> ShardError:
    reasons = "; ".join(sorted({f"{type(error).__name__}: {error}" for error in failures.values()}))
    return ShardError(
        f"{len(failures)} of {count} parts failed ({reasons}); run the same command again: it computes only these parts"
    )


def _shards_failed(run: PipelineRun, config: AttributionConfig, failures: Mapping[int, Exception]) -> ShardError:
    listed = "; ".join(
        f"{attribution.shard_name(shard, config)}: {type(error).__name__}: {error}" for shard, error in failures.items()
    )
    return ShardError(
        f"{len(failures)} of {config.shards} shards failed ({listed}). The others are kept. "
        f"{_remedy(run, [shard + 1 for shard in failures])}"
    )


def _remedy(run: PipelineRun, numbers: Sequence[int]) -> str:
    """Return how to compute only the failed shards: the command, and the parameters of a deployment run."""
    again = "A retry, or the same run again, computes only what failed"
    if not run.record.run_id or is_kept(run.record.run_id):  # a run that MLflow does not have cannot be found by its id
        return again
    settings = places(run.runtime)
    command = " && ".join(
        " ".join(["neurontune shard", run.record.run_id, str(number), *(f"--set {place}" for place in settings)])
        for number in numbers
    )
    parameters: dict[str, Any] = {"run": run.record.run_id, "shard": numbers[0]}
    if settings:
        parameters["settings"] = settings
    return f"{again}; so does `{command}`, and the deployment attribution-shard with {parameters}".replace("'", '"')


def _told(facts: Mapping[str, float], reused: int) -> str:
    number = int(facts["shards"])
    some = f" ({reused} of them reused)" if 0 < reused < number else ""
    gap = facts.get("completeness_gap_max")
    shards = "1 shard" if number == 1 else f"{number} shards"
    return f"{shards}{some}" + ("" if gap is None else f", completeness gap at most {gap:.2g}")
