"""How a flow runs a stage: with the run's settings, a record in MLflow if it is reused, and a line on screen."""

import inspect
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from prefect import Task
from prefect.context import FlowRunContext, TagsContext
from prefect.events import emit_event

from flows.cancelling import cancellable
from flows.stage_names import Stage
from neurontune_core import artifacts
from neurontune_core.config import PipelineConfig, RuntimeConfig, change_runtime, load_config, runtime_alone
from neurontune_core.errors import NeuronTuneError
from neurontune_core.pairs.own_refusals import warning
from neurontune_core.records import Artifact
from neurontune_core.selection.knockout import silencing_statement
from neurontune_core.storage import check_root
from tasks import caching, progress
from tasks.recording import step_runs, tracking
from tasks.recording.kept_records import is_kept
from tasks.recording.killed_runs import at_work, end_killed
from tasks.recording.mlflow_store import Tracking
from tasks.stage import configured, with_key

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

KEY_FACTS: dict[str, tuple[str, ...]] = {
    "pairs": ("pairs", "pairs_train", "pairs_validation", "pairs_test", "own_refusals"),
    "scores": ("rows", "shards"),
    "selection": ("safety_neurons", "utility_neurons", "overlap", "split_half_safety", "split_half_utility"),
    "cards": ("neurons",),
    "scaling": ("steps", "loss_first", "loss_last"),
    "baseline": ("parameters", "validation_score", "loss_last"),
    "base": ("answers", "tokens_mean"),
    "tuned": ("answers", "tokens_mean", "eval/kl_to_base"),
    "evaluation": ("eval/su_f1_base", "eval/su_f1"),
    "base-ability": ("ability/accuracy_base",),
    "ability": ("ability/accuracy_base", "ability/accuracy"),
    "triggers": ("false_refusals", "prompts", "set_off"),
    "robustness": ("asr_base", "asr", "asr_worst"),
    "causal": ("answers", "empty_set_changes"),
}
"""Facts that a stage's line on screen shows, if the stage has them."""

logger = logging.getLogger("neurontune")


@dataclass(frozen=True)
class PipelineRun:
    """What all stages of a pipeline run share: runtime settings, MLflow record, stages to compute again.

    With `stored_only` nothing is computed or recorded: a stage whose artifact is not there raises `NotStoredError`.
    """

    runtime: RuntimeConfig
    record: Tracking
    refresh: frozenset[str]
    made: list[Artifact] = field(default_factory=list)
    stored_only: bool = False


class NotStoredError(NeuronTuneError):
    """The artifact of a stage is not there, or is to be computed again; the message names the stage."""


def noted(flow_function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Wrap a flow's function in `at_work`, so that the run is ended in both UIs if its process is killed.

    Raises:
        InputError: the artifact root cannot be used.
    """

    @wraps(flow_function)
    def noted_function(*arguments: Arguments.args, **named: Arguments.kwargs) -> Result:
        given = inspect.signature(flow_function).bind(*arguments, **named)
        given.apply_defaults()
        runtime = _runtime_of(given.arguments)
        check_root(runtime.root)
        with at_work(runtime):
            return flow_function(*arguments, **named)

    return noted_function


def _runtime_of(parameters: Mapping[str, Any]) -> RuntimeConfig:
    """Return a flow's runtime settings from its parameters: a configuration, a preset with settings, or settings."""
    if "config" in parameters:
        config: PipelineConfig = parameters["config"]
        return config.runtime
    if "preset" in parameters:
        return load_config(parameters["preset"], parameters["settings"]).runtime
    return change_runtime(load_config(), runtime_alone(parameters["settings"])).runtime


@contextmanager
def recorded(config: PipelineConfig, name: str, model: str, refresh: Sequence[Stage]) -> Iterator[PipelineRun]:
    """Record a pipeline run to MLflow from its first stage to its end, also if it fails or is interrupted."""
    progress.stop_requested.clear()
    runtime = config.runtime.model_copy(update={"root": artifacts.absolute_root(config.runtime.root)})
    artifacts.remove_leftovers(runtime.root)
    tracking.catch_up(runtime)
    end_killed(runtime)
    record = tracking.start_run(config.model_copy(update={"runtime": runtime}), name, model)
    run = PipelineRun(runtime, record, frozenset(refresh))
    failure: BaseException | None = None
    try:
        # tasks get no tags: Prefect asks the server about the limits of each tag before it starts a task
        with TagsContext(current_tags=set()), cancellable():
            yield run
    except BaseException as error:
        failure = error
        raise
    finally:
        tracking.finish_run(record, run.made, failure)
        tracking.report_unrecorded(runtime)


def stored(run: PipelineRun, stage: str, key: str) -> Artifact:
    """Return the artifact of this key that the run would reuse.

    Raises:
        NotStoredError: it is not there, or the run computes the stage again.
    """
    found = None if stage in run.refresh else artifacts.find(run.runtime.root, stage, key)
    if found is None:
        raise NotStoredError(stage)
    return found


def run_stage(run: PipelineRun, stage: Task[..., Artifact], **arguments: Any) -> Artifact:
    """Run a stage and return its artifact, computed now or reused.

    Raises:
        KeyboardInterrupt: the run was interrupted, and the previous stage did not notice it.
        NotStoredError: the run only looks for what is stored, and this is not.
    """
    inputs = _inputs(arguments)
    arguments = with_key(stage, run.runtime, run.record, arguments)
    key = arguments["run"].key
    if run.stored_only:
        return stored(run, stage.name, key)
    progress.check()
    refresh(run, stage.name, key)
    reused = artifacts.find(run.runtime.root, stage.name, key) is not None
    artifact = configured(stage, run.runtime)(**arguments)
    if reused:
        step_runs.record_reused(run.record, artifact, inputs)
    elif artifact.stage == "scaling":
        _announce_alpha(run, artifact)
    run.made.append(artifact)
    manifest = artifacts.read_manifest(artifact)
    say(stage.name, reused, manifest["seconds"], _told(artifact.stage, manifest["facts"]))
    if artifact.stage == "pairs" and (text := warning(manifest["facts"])):
        logger.warning("%s", progress.named_line(f"warning: {text}"))
    return artifact


def _announce_alpha(run: PipelineRun, scaling: Artifact) -> None:
    """Emit a Prefect event about new factors, which can trigger automations."""
    if run.record.run_id and not is_kept(run.record.run_id):
        emit_event(
            event="neurontune.alpha.created",
            resource={"prefect.resource.id": f"neurontune.alpha.{scaling.key}", "prefect.resource.name": "alpha"},
            payload={"run": run.record.run_id, "uri": scaling.uri},
        )


def refresh(run: PipelineRun, stage: str, key: str) -> None:
    """Delete the artifact of this key if its stage is to be computed again, unless this run itself has made it."""
    if stage not in run.refresh:
        return
    found = artifacts.find(run.runtime.root, stage, key)
    if found is not None and not _made_in_this_run(found):
        caching.discard(run.runtime.root, stage, key)


def _made_in_this_run(artifact: Artifact) -> bool:
    """Tell whether an earlier attempt at this flow run made an artifact: a retry keeps it."""
    context = FlowRunContext.get()
    flow_run = context.flow_run if context else None
    if flow_run is None or flow_run.run_count < 2 or flow_run.start_time is None:
        return False
    return bool(artifacts.read_manifest(artifact)["started"] >= flow_run.start_time.timestamp())


def _inputs(arguments: Mapping[str, Any]) -> list[Artifact]:
    """Return the artifacts among the arguments of a stage, also those in lists."""
    values = [one for value in arguments.values() for one in (value if isinstance(value, list) else [value])]
    return [value for value in values if isinstance(value, Artifact)]


def _told(stage: str, facts: Mapping[str, float]) -> str:
    known = [(name, facts[name]) for name in KEY_FACTS.get(stage, ()) if name in facts]
    told = [f"{fact_in_words(name)} {value:.4g}" for name, value in known]
    # first the effect of silencing: whether the safety neurons carry refusals
    silenced = silencing_statement(facts) if stage == "selection" else ""
    return ", ".join([*([silenced] if silenced else []), *told])


def fact_in_words(name: str) -> str:
    """Return the name of a fact as words: `eval/su_f1_base` is `SU-F1 base`."""
    return name.rpartition("/")[2].replace("su_f1", "SU-F1").replace("kl_", "KL ").replace("_", " ")


def say(stage: str, reused: bool, seconds: float, facts: str) -> None:
    """Write a stage's line on screen."""
    ended = "reused" if reused else f"done in {seconds:.1f} s"
    logger.info("%s", progress.named_line(f"{stage:<12} {ended:<16} {facts}"))
