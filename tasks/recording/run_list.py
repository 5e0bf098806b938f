"""The recorded pipeline runs of an experiment as a list, newest first."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from neurontune_core import run_name
from neurontune_core.config import RuntimeConfig, load_config
from neurontune_core.errors import InputError
from neurontune_core.evaluation.answered_by import answered_by, mark
from neurontune_core.preset_files import preset_names
from tasks.recording.mlflow_entities import parameters_of, started_at
from tasks.recording.mlflow_store import client_of, database_file, deleted, tracking_uri, without_password
from tasks.recording.tracking import CHANGES_TAG, FLOW_TAG, PIPELINE

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

SHOWN_DIGITS = 8
"""Digits of a run's id that are shown; this many digits or more identify a run."""


@dataclass(frozen=True)
class ListedRun:
    """A pipeline run as one line of a list: `differs` are its changes from the preset; a missing score is None.

    `answered_by` is what generated the judged answers; None without an evaluation.
    """

    run_id: str
    name: str
    model: str
    preset: str
    differs: str
    started: str
    state: str
    su_f1: float | None
    su_f1_low: float | None
    su_f1_high: float | None
    safety: float | None
    utility: float | None
    answered_by: str | None

    @property
    def line(self) -> str:
        """The run as a line in a list of runs with the same name."""
        score = "not evaluated" if self.su_f1 is None else f"SU-F1 {self.su_f1:.2f}{mark(self.answered_by)}"
        words = [self.run_id[:SHOWN_DIGITS], self.started, self.state, self.differs, score]
        return " ".join(filter(None, words))


def store_of(runtime: RuntimeConfig) -> "tuple[MlflowClient, str, str]":
    """Return the client of the MLflow store, the experiment's id, and the place of both in words.

    Raises:
        InputError: nothing is recorded there.
    """
    uri = tracking_uri(runtime)
    where = f"{without_password(uri)}, experiment {runtime.experiment}"
    if uri.startswith("sqlite:///") and not database_file(uri).is_file():
        raise InputError(f"run: nothing is recorded in {where}; set runtime.root to the artifact root of the run")
    client = client_of(uri)
    experiment = client.get_experiment_by_name(runtime.experiment)
    if experiment is None:
        raise InputError(f"run: the experiment {runtime.experiment!r} is not in {where}; set runtime.experiment")
    if experiment.lifecycle_stage == "deleted":
        raise InputError(deleted(uri, runtime.experiment, experiment.experiment_id))
    return client, str(experiment.experiment_id), where


def search(runtime: RuntimeConfig, condition: str = "") -> "Iterator[Run]":
    """Yield the pipeline runs of the experiment that meet a condition, newest first.

    Raises:
        InputError: nothing is recorded there.
    """
    client, experiment, _ = store_of(runtime)
    query = " and ".join(filter(None, [f"tags.`{FLOW_TAG}` = '{PIPELINE}'", condition]))
    token = None
    while True:
        page = client.search_runs([experiment], query, order_by=["start_time DESC"], page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def listed(run: "Run") -> ListedRun:
    """Return an MLflow run in one line."""
    metrics, tags = run.data.metrics, run.data.tags
    preset = run.data.params.get("runtime.preset", tags.get("preset", ""))
    score, low, high = (metrics.get(f"eval/su_f1{end}") for end in ("", "_low", "_high"))
    return ListedRun(
        run_id=str(run.info.run_id),
        name=str(run.info.run_name),
        model=run_name.model_name(run.data.params.get("model.name", tags.get("model", ""))),
        preset=preset,
        differs=tags.get(CHANGES_TAG) or run_name.changes_in_words(_changes(run.data.params, preset)),
        started=started_at(run),
        state=str(run.info.status).lower(),
        su_f1=score,
        su_f1_low=low,
        su_f1_high=high,
        safety=metrics.get("eval/safety"),
        utility=metrics.get("eval/utility"),
        answered_by=None if score is None else answered_by(run.data.params),
    )


def _changes(parameters: Mapping[str, str], preset: str) -> dict[str, str]:
    """The changes from a shipped preset of a run of an earlier version, which did not record them."""
    if preset not in preset_names():
        return {}
    usual = dict(parameters_of(load_config(preset).model_dump(mode="json", exclude={"runtime"})))
    return {
        name: value
        for name, value in parameters.items()
        if name in usual and usual[name] != value and name != "model.name"
    }
