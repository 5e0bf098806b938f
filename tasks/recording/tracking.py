"""Record a pipeline run to MLflow; the runs of its steps, below it, are those of `step_runs`.

Configuration, headline metrics and the training curve also go to the pipeline's run, because MLflow's tables and
charts show only that run until a user unfolds it.
"""

import json
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import prefect.runtime

from neurontune_core import artifacts, tables
from neurontune_core.code_version import code_version
from neurontune_core.config import PipelineConfig, RuntimeConfig
from neurontune_core.evaluation.answered_by import answered_by, mark
from neurontune_core.records import Artifact
from neurontune_core.run_name import changes, changes_in_words
from tasks.recording import mlflow_view
from tasks.recording.held_signals import signals_held
from tasks.recording.kept_records import FOLDER, is_kept, waiting
from tasks.recording.mlflow_answers import describe_run, masked, record_answers
from tasks.recording.mlflow_entities import (
    curve_of,
    data_files_of,
    dataset_of,
    facts_of,
    metrics_of,
    started_at,
)
from tasks.recording.mlflow_links import NOTE
from tasks.recording.mlflow_models import finish_model, model_of, open_model
from tasks.recording.mlflow_spool import Sent, best_effort, create_run, experiment_of, now, prefect_tags, send
from tasks.recording.mlflow_store import Tracking, client_of, is_beside, reason_of, tracking_uri
from tasks.recording.step_runs import close_step, log_metrics, record_parameters

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.entities import Run

logger = logging.getLogger("neurontune")

EARLIER_RUNS = 200
CONFIG_FILE = "config.json"
"""The run's artifact that holds its whole configuration, exact where parameters are cut or flattened."""
FLOW_TAG = "prefect.flow_name"
"""Tag of the runs of whole flow runs; runs of steps do not have it."""
CHANGES_TAG = mlflow_view.CHANGES
PIPELINE = "neurontune"
"""Name of the flow whose runs are the pipeline runs."""


def catch_up(runtime: RuntimeConfig, of_every_store: bool = False) -> Sent:
    """Send what earlier runs could not record, and print what MLflow refuses for good."""
    sent = send(runtime, of_every_store)
    if sent.sent:
        logger.info("MLflow: recorded %d records that were kept while it did not answer", sent.sent)
    for what in sent.refused:
        logger.warning("MLflow: can never record %s", what)
    return sent


def report_unrecorded(runtime: RuntimeConfig) -> None:
    """Send kept records once more at the end of a run, and print those that MLflow still lacks."""
    if not waiting(runtime.root):
        return
    sent = catch_up(runtime)
    if sent.left:
        logger.warning(
            "MLflow lacks %d records: %s; %sthey are kept in %s/%s, and sent by the next run or by `neurontune sync`",
            len(sent.left), ", ".join([*sent.left[:3], "..."]), sent.reason and f"{sent.reason}; ",
            runtime.root.rstrip("/"), FOLDER,
        )  # fmt: skip


def start_run(config: PipelineConfig, name: str, model: str) -> Tracking:
    """Open the MLflow run of a pipeline run with its whole configuration; if MLflow fails, it is recorded later."""
    runtime = config.runtime
    tracking = Tracking(
        uri=tracking_uri(runtime), root=runtime.root, experiment=runtime.experiment, harmful_text=runtime.harmful_text
    )
    hidden = {"mlflow_uri"}  # an address may contain a password
    tags = _code_tags() | _group_tags(config) | {"neurontune.model": model}
    if is_beside(tracking.uri, runtime.root):  # a store that moves with the root must not contain the root's path
        hidden |= {"root"}
    else:
        tags["neurontune.root"] = runtime.root
    settings = config.model_dump(mode="json", exclude={"runtime": hidden})
    tags[CHANGES_TAG] = changes_in_words(changes(config))
    tags[FLOW_TAG] = str(prefect.runtime.flow_run.flow_name)
    tracking = tracking.model_copy(update={"run_id": open_run(tracking, name, tags)})
    tracking = tracking.model_copy(update={"experiment_id": _experiment_if_known(tracking)})
    record_parameters(tracking, tracking.run_id, settings)
    record_configuration(tracking, settings)
    open_model(tracking, name, settings)
    return tracking


@best_effort
def open_run(tracking: Tracking, name: str, tags: Mapping[str, str]) -> str:
    """Open the MLflow run of a pipeline run."""
    return create_run(tracking, name, {**tags, **prefect_tags()})


@best_effort
def record_configuration(tracking: Tracking, settings: Mapping[str, Any]) -> None:
    """Record the settings of a pipeline run as a file, from which the run can be repeated."""
    client_of(tracking.uri).log_text(tracking.run_id, json.dumps(settings, indent=1), CONFIG_FILE)


@best_effort
def record_curve_row(tracking: Tracking, stage: str, step: int, row: Mapping[str, float]) -> None:
    """Record a new row of a training curve to the pipeline's run."""
    values = {name: value for name, value in row.items() if name != "step"}
    log_metrics(tracking, tracking.run_id, metrics_of(stage, values, step))


@best_effort
def record_headline(tracking: Tracking, artifact: Artifact) -> None:
    """Add a stage's facts, curve and data files to the pipeline's run, and the tables by which runs are compared."""
    if files := data_files_of(artifact):
        client_of(tracking.uri).log_inputs(tracking.run_id, datasets=[dataset_of(file, "input") for file in files])
    if curve := curve_of(artifact):
        streamed = client_of(tracking.uri).get_run(tracking.run_id).data.metrics
        curve = [point for point in curve if point.key not in streamed]
    facts = metrics_of(artifact.stage, facts_of(artifact), model=model_of(tracking))
    log_metrics(tracking, tracking.run_id, facts + curve)
    if artifact.stage != "evaluation":
        return
    folder = artifacts.open_folder(artifact)
    completions = tables.load_table(folder, "completions")
    # the evaluation view groups by the first column and compares the second
    first = [name for name in ("prompt", "completion", "verdict", "benchmark") if name in completions]
    rest = [name for name in completions if name not in first]
    _log_table(tracking, masked(completions[first + rest], tracking), "completions.json")
    _log_table(tracking, tables.load_table(folder, "rates"), "rates.json")


@best_effort
def record_file(tracking: Tracking, artifact: Artifact, name: str) -> None:
    """Add a file of an artifact to the pipeline's run, the first place where people look."""
    client_of(tracking.uri).log_artifact(tracking.run_id, str(artifacts.open_folder(artifact) / name))


def earlier_runs(tracking: Tracking, evaluation: Artifact) -> list[tuple[str, float, float]]:
    """Return name, safety and utility of the latest evaluated runs of the experiment that have another result.

    Runs with this `evaluation` are left out: the run itself, and its repetitions. The name of a run whose answers vLLM
    or rounded weights generated says so, and a name that several runs share is followed by the time. The list is empty
    if MLflow cannot be read.
    """
    if not tracking.experiment_id:
        return []
    evaluated = "metrics.`eval/safety` >= 0 and metrics.`eval/utility` >= 0 and tags.`neurontune.model` != ''"
    made_or_reused = f"tags.`step.cache_key` = '{evaluation.key}'"
    try:
        search = client_of(tracking.uri).search_runs
        with signals_held(tracking.uri):
            found = search([tracking.experiment_id], evaluated, max_results=EARLIER_RUNS)
            same = {step.data.tags["mlflow.parentRunId"] for step in search([tracking.experiment_id], made_or_reused)}
    except Exception as error:
        logger.info("MLflow: the report lacks earlier runs: %s", reason_of(error))
        return []
    others: dict[tuple[str, float, float], Run] = {}  # a repetition of another run adds nothing to the drawing
    for run in reversed(found):
        if run.info.run_id not in same:
            name = f"{run.info.run_name}{mark(answered_by(run.data.params))}"
            others.setdefault((name, run.data.metrics["eval/safety"], run.data.metrics["eval/utility"]), run)
    names = Counter(name for name, _, _ in others)
    return [
        (name if names[name] == 1 else f"{name} ({started_at(run)})", safety, utility)
        for (name, safety, utility), run in reversed(others.items())
    ]


def finish_run(tracking: Tracking, made: Sequence[Artifact], error: BaseException | None) -> None:
    """End the pipeline's run, with the headline of the finished stages.

    It ends FINISHED, FAILED, or KILLED if it was interrupted. Evaluation is recorded first, because MLflow's plots and
    its table of models begin with the metric that was logged first.
    """
    status = "FINISHED" if error is None else "FAILED" if isinstance(error, Exception) else "KILLED"
    close_leftovers(tracking, status)
    for artifact in sorted(reversed(made), key=lambda artifact: artifact.stage != "evaluation"):
        record_headline(tracking, artifact)
    finish_model(tracking, list(made))
    if evaluation := next((artifact for artifact in made if artifact.stage == "evaluation"), None):
        describe_run(tracking, evaluation)
        for model in ("base", "tuned"):
            record_answers(tracking, evaluation, model)
    offer_view(tracking)
    close_step(tracking, tracking.run_id or None, status, str(error or ""))


@best_effort
def close_leftovers(tracking: Tracking, status: str) -> None:
    """End step runs that are still open: their process was killed, or it was interrupted while opening them."""
    query = f"tags.`mlflow.parentRunId` = '{tracking.run_id}' and attributes.status = 'RUNNING'"
    ended = "KILLED" if status == "FINISHED" else status
    for run in client_of(tracking.uri).search_runs([experiment_of(tracking)], query):
        client_of(tracking.uri).set_terminated(run.info.run_id, ended, end_time=now())


def _experiment_if_known(tracking: Tracking) -> str:
    """Return the id of the experiment, to look it up only once; "" if MLflow does not have the run yet."""
    if is_kept(tracking.run_id):
        return ""
    try:
        return experiment_of(tracking)
    except Exception as error:
        logger.info("MLflow: the experiment is unknown: %s", reason_of(error))
        return ""


@best_effort
def offer_view(tracking: Tracking) -> None:
    """Write the experiment's saved view, with the settings in which its latest runs differ, and a link to it."""
    client, experiment = client_of(tracking.uri), experiment_of(tracking)
    runs = client.search_runs([experiment], f"tags.`{FLOW_TAG}` = '{PIPELINE}'", max_results=EARLIER_RUNS)
    view = mlflow_view.saved_view(mlflow_view.differing([run.data.params for run in runs]))
    tags = client.get_experiment(experiment).tags
    if tags.get(mlflow_view.TAG) != view:
        client.set_experiment_tag(experiment, mlflow_view.TAG, view)
    if NOTE not in tags:
        client.set_experiment_tag(experiment, NOTE, mlflow_view.experiment_description(experiment))


def run_link(tracking: Tracking) -> str:
    """Return the address of the pipeline's run, relative to the MLflow server; "" if it was not recorded."""
    recorded = tracking.experiment_id and tracking.run_id and not is_kept(tracking.run_id)
    return f"#/experiments/{tracking.experiment_id}/runs/{tracking.run_id}" if recorded else ""


def _log_table(tracking: Tracking, table: "pd.DataFrame", name: str) -> None:
    """Log a table, unless it exists: MLflow would append to it."""
    client = client_of(tracking.uri)
    if name not in {file.path for file in client.list_artifacts(tracking.run_id)}:
        client.log_table(tracking.run_id, table, name)


def _group_tags(config: PipelineConfig) -> dict[str, str]:
    """Tags for grouping the run table: the model, the preset, and the study or flow that the run belongs to."""
    flow_run = prefect.runtime.flow_run
    studies = [tag.removeprefix("study:") for tag in flow_run.tags or [] if tag.startswith("study:")]
    root = flow_run.root_flow_run_id
    if not studies and root and root != flow_run.id:
        studies = [str(root)]
    groups = {"model": config.model.name, "preset": config.runtime.preset, "study": ", ".join(studies)}
    return {name: value for name, value in groups.items() if value}


def _code_tags() -> dict[str, str]:
    """Tags with the version of the code, one of them the tag that MLflow's page shows."""
    from mlflow.tracking.context.git_context import GitRunContext
    from mlflow.tracking.context.registry import resolve_tags

    commit = code_version().partition(" ")[2].removesuffix("+changes")
    # MLflow would look for the commit of the folder of the command, which need not be this project's
    of_mlflow = resolve_tags(ignore=[GitRunContext])  # type: ignore[list-item]  # MLflow means classes
    tags = of_mlflow | {"neurontune.code": code_version()}
    return tags | ({"mlflow.source.git.commit": commit} if commit else {})
