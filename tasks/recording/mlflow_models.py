"""A run's tuned model as a LoggedModel of MLflow: pending at first, then ready with what the Models tab compares.

Every step's run names the model as its output, because MLflow lists runs without a model as evaluation runs.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from neurontune_core import artifacts
from neurontune_core.records import Artifact
from tasks.recording.mlflow_entities import parameters_of
from tasks.recording.mlflow_spool import best_effort, experiment_of, is_repeated
from tasks.recording.mlflow_store import Tracking, client_of

KIND = "neurontune-alpha"
CHANGES = ("scaling", "baseline")
"""Stages that make a tuned model."""
LONGEST_VALUE = 500
"""The most characters of a model's parameter."""
LARGEST_FILE = 16 << 20
_known: dict[tuple[str, str], str] = {}


def model_of(tracking: Tracking) -> str | None:
    """Return the id of the pipeline run's model; None if it has none."""
    place = (tracking.uri, tracking.run_id)
    if place not in _known:
        experiment = experiment_of(tracking)
        found = client_of(tracking.uri).search_logged_models(
            [experiment], filter_string=f"source_run_id = '{tracking.run_id}'", max_results=1
        )
        if not found:
            return None
        _known[place] = str(found[0].model_id)
    return _known[place]


@best_effort
def open_model(tracking: Tracking, name: str, settings: Mapping[str, Any]) -> None:
    """Create the pending model of a pipeline run, with the run's settings as its parameters."""
    if model_of(tracking) is None:
        client = client_of(tracking.uri)
        values = {key: value[:LONGEST_VALUE] for key, value in parameters_of(settings) if value}
        made = client.create_logged_model(
            experiment_of(tracking), mlflow_model_name(name), tracking.run_id, {"neurontune.run": name}, values, KIND
        )
        _known[tracking.uri, tracking.run_id] = str(made.model_id)
    name_output(tracking, tracking.run_id)


def name_output(tracking: Tracking, run_id: str) -> None:
    """Make the pipeline run's model an output of a run, once."""
    from mlflow.entities import LoggedModelOutput

    client = client_of(tracking.uri)
    if not tracking.run_id or (model := model_of(tracking)) is None:
        return
    outputs = client.get_run(run_id).outputs if is_repeated() else None
    if not (outputs and outputs.model_outputs):
        client.log_outputs(run_id, [LoggedModelOutput(model, 0)])


@best_effort
def finish_model(tracking: Tracking, made: Sequence[Artifact]) -> None:
    """Make a run's model ready, with its files and the digests of its inputs; delete it if the run made no model."""
    model = model_of(tracking)
    if model is None:
        return
    client = client_of(tracking.uri)
    change = next((artifact for artifact in made if artifact.stage in CHANGES), None)
    if change is None:
        withdraw(tracking)
        return
    manifest = artifacts.read_manifest(change)
    digests = {f"input.{one['stage']}": one["digest"] for one in manifest.get("inputs", [])}
    client.set_logged_model_tags(model, digests | {f"output.{change.stage}": change.digest})
    folder = artifacts.open_folder(change)
    for name, entry in manifest["files"].items():
        if entry["bytes"] <= LARGEST_FILE:
            client.log_model_artifact(model, str(folder / name))
    client.finalize_logged_model(model, "READY")


def withdraw(tracking: Tracking) -> None:
    """Delete the pending model of a run that did not make a model."""
    if (model := model_of(tracking)) is not None and client_of(tracking.uri).get_logged_model(
        model
    ).status == "PENDING":
        client_of(tracking.uri).delete_logged_model(model)
        _known.pop((tracking.uri, tracking.run_id), None)


def mlflow_model_name(name: str) -> str:
    """Return a run's name without the characters that MLflow forbids in the name of a model."""
    return "".join("_" if sign in "/:.%\"'" else sign for sign in name) or "model"
