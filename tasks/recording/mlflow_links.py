"""Links in MLflow from a step to the steps that made its inputs, or that made the artifact it reuses."""

from collections.abc import Sequence

from neurontune_core.records import Artifact
from tasks.recording.mlflow_spool import experiment_of
from tasks.recording.mlflow_store import Tracking, client_of

NOTE = "mlflow.note.content"
FINISHED = "attributes.status = 'FINISHED'"


def address(tracking: Tracking, run_id: str) -> str:
    """Return the address of a run, relative to the MLflow server."""
    return f"#/experiments/{experiment_of(tracking)}/runs/{run_id}"


def origin_tags(tracking: Tracking, inputs: Sequence[Artifact]) -> dict[str, str]:
    """Return a note with a link for each kind of input to the step that made it, or reused it in this run."""
    note = _made_from(tracking, inputs)
    return {NOTE: note} if note else {}


def reuse_tags(tracking: Tracking, stage: str, key: str, inputs: Sequence[Artifact]) -> dict[str, str]:
    """Return the note of a reused stage: a link to the step that made the artifact of this key, and its run id."""
    source = _executed(tracking, stage, key)
    if source is None:
        reused = "No run of this experiment made this artifact; its manifest says what did."
    else:
        reused = f"Reused from [this run]({address(tracking, source)})."
    note = " ".join(filter(None, [reused, _made_from(tracking, inputs)]))
    return {NOTE: note} | ({"step.source_run_id": source} if source else {})


def _made_from(tracking: Tracking, inputs: Sequence[Artifact]) -> str:
    links = []
    for name, artifact in {artifact.stage: artifact for artifact in inputs}.items():
        if "/" in name:  # a data file: no step made it
            continue
        # prefer the step of this run: another run may have made the same content from other inputs
        own = f"tags.`mlflow.parentRunId` = '{tracking.run_id}' and tags.`step.name` = '{name}' and {FINISHED}"
        if found := _newest(tracking, own) or _executed(tracking, name, artifact.key):
            links.append(f"[{name}]({address(tracking, found)})")
    return f"Made from {', '.join(links)}." if links else ""


def _executed(tracking: Tracking, stage: str, key: str) -> str | None:
    made = f"tags.`step.name` = '{stage}' and tags.`step.cache_key` = '{key}' and tags.`step.outcome` = 'executed'"
    return _newest(tracking, f"{made} and {FINISHED}")


def _newest(tracking: Tracking, query: str) -> str | None:
    found = client_of(tracking.uri).search_runs([experiment_of(tracking)], query, max_results=1)
    return str(found[0].info.run_id) if found else None
