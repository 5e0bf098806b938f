"""The MLflow model registry: register a run's model as a version, and promote a version to champion."""

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neurontune_core import artifacts
from neurontune_core.config import RuntimeConfig
from neurontune_core.errors import ArtifactError, InputError
from neurontune_core.evaluation.answered_by import answered_by
from neurontune_core.export.alpha import write_alpha
from neurontune_core.run_name import leaves
from tasks.recording.mlflow_models import KIND, mlflow_model_name, model_of
from tasks.recording.mlflow_store import Tracking, client_of, tracking_uri
from tasks.recording.runs import RecordedRun, find_run
from tasks.recording.tuned import card_of, completions_of, find_tuned

CHAMPION = "champion"
REPORT = "report.html"
AGAIN = "run the pipeline again with its settings, which reuses existing artifacts, and promote that run"
DEFAULT_STORE = "MLFLOW_TRACKING_URI"
LONGEST_DESCRIPTION = 4900
"""MLflow keeps at most 5,000 characters of a description; the whole card is among the version's files."""


@dataclass(frozen=True)
class Registered:
    """A version in the registry."""

    name: str
    version: str
    run_id: str


@dataclass(frozen=True)
class Standing:
    """A run as candidate for champion: its metrics, its judge, and the objections to it.

    A person can override `objections` with a reason, but not `forbidden`.
    """

    facts: Mapping[str, float]
    judge: str
    champion: Registered | None
    champion_facts: Mapping[str, float]
    forbidden: tuple[str, ...]
    objections: tuple[str, ...]


def register(run: str, name: str, alias: str, runtime: RuntimeConfig) -> Registered:
    """Register the tuned model of a run under a name and an alias; a run that has a version already keeps it.

    Raises:
        InputError: no such run, it learned no factors, or its base model is no longer the same.
    """
    tuned = find_tuned(run, runtime)
    client = client_of(tracking_uri(runtime))
    found = _version_of(name, tuned.run.run_id, runtime)
    if found is None:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary) / "model"
            write_alpha(folder, tuned.scaling, tuned.base, tuned.origin)
            card = card_of(tuned)
            (folder / "README.md").write_text(card, encoding="utf-8")
            if REPORT in {file.path for file in client.list_artifacts(tuned.run.run_id)}:
                client.download_artifacts(tuned.run.run_id, REPORT, str(folder))
            model = _model_of_run(tuned.run.run_id, name, runtime)
            client.log_model_artifacts(model, str(folder))
            client.finalize_logged_model(model, "READY")
        _create_name(client, name)
        with _as_default_store(tracking_uri(runtime)):
            version = client.create_model_version(
                name,
                source=f"models:/{model}",
                run_id=tuned.run.run_id,
                model_id=model,
                tags={"base_model": tuned.base.name, "base_weights": tuned.base.weights, "run_name": tuned.run.name},
                description=card_text(card),
            )
        found = Registered(name, str(version.version), tuned.run.run_id)
    client.set_registered_model_alias(name, alias, found.version)
    return found


def _model_of_run(run_id: str, name: str, runtime: RuntimeConfig) -> str:
    """Return the id of the model that a run logged; a run of an earlier version logs it now."""
    uri = tracking_uri(runtime)
    client = client_of(uri)
    experiment = client.get_run(run_id).info.experiment_id
    found = model_of(Tracking(uri=uri, root=runtime.root, experiment_id=experiment, run_id=run_id))
    return found or str(
        client.create_logged_model(experiment, mlflow_model_name(name), run_id, model_type=KIND).model_id
    )


def card_text(card: str) -> str:
    """Return a model card for MLflow: without the metadata for model hubs, and cut at the end of a paragraph."""
    text = card.split("\n---\n", 1)[-1].strip()
    return text if len(text) <= LONGEST_DESCRIPTION else text[:LONGEST_DESCRIPTION].rpartition("\n\n")[0]


def standing_of(run: RecordedRun, name: str, runtime: RuntimeConfig) -> Standing:
    """Compare a run with the champion of a registered name."""
    from neurontune_core.evaluation.judges import judge_title

    champion = _champion(name, runtime)
    if "evaluation" not in run.stages:
        return Standing({}, "", champion, {}, (f"run {run.name} has no evaluation; {AGAIN}",), ())
    facts, judge = _evaluation(run)
    objections = []
    newest = judge_title(run.config.evaluation.judge.method)
    if newest != judge:
        objections.append(f"its verdicts are by the judge {judge}, but this version has {newest}; {AGAIN}")
    champion_facts: Mapping[str, float] = {}
    if champion is not None:
        champion_facts, unlike = _against(run, champion, facts, judge, runtime)
        objections += unlike
    return Standing(facts, judge, champion, champion_facts, (), tuple(objections))


def _against(
    run: RecordedRun, champion: Registered, facts: Mapping[str, float], judge: str, runtime: RuntimeConfig
) -> tuple[dict[str, float], list[str]]:
    """Return the champion's facts (empty if they are gone), and the objections to replacing it."""
    try:
        other = find_run(champion.run_id, runtime)
        theirs, their_judge = _evaluation(other)
    except (InputError, ArtifactError) as error:
        return {}, [f"the champion's evaluation cannot be read, so it is unknown whether this run is better: {error}"]
    objections = []
    if their_judge != judge:
        objections.append(f"the champion was judged by {their_judge}, this run by {judge}")
    way, their_way = (answered_by(dict(leaves(one.config))) for one in (run, other))
    if their_way != way:
        objections.append(f"the champion's answers were generated by {their_way}, this run's by {way}")
    own, bound = facts["eval/su_f1_low"], theirs["eval/su_f1_low"]
    if own < bound:
        objections.append(f"the lower bound of its SU-F1, {own:.3f}, is below the champion's, {bound:.3f}")
    return theirs, objections


def promote(run: RecordedRun, name: str, runtime: RuntimeConfig, approved_by: str, reason: str) -> Registered:
    """Make the model of a run champion of a name; note who approved it, and the reason for overriding objections.

    Raises:
        InputError: there is an objection without a reason to override it, or one that cannot be overridden.
    """
    standing = standing_of(run, name, runtime)
    if refused := [*standing.forbidden, *(() if reason.strip() else standing.objections)]:
        raise InputError(f"promotion of {run.name} is refused: {'; '.join(refused)}")
    found = register(run.run_id, name, CHAMPION, runtime)
    client = client_of(tracking_uri(runtime))
    notes = {"approved_by": approved_by, "objections": "; ".join(standing.objections), "override_reason": reason}
    for tag, value in notes.items():
        if value:
            client.set_model_version_tag(name, found.version, tag, value)
    return found


def _evaluation(run: RecordedRun) -> tuple[dict[str, float], str]:
    facts: dict[str, float] = artifacts.read_manifest(run.artifact("evaluation"))["facts"]
    return facts, ", ".join(sorted(set(completions_of(run)["judge"])))


def _champion(name: str, runtime: RuntimeConfig) -> Registered | None:
    from mlflow.exceptions import MlflowException

    try:
        version = client_of(tracking_uri(runtime)).get_model_version_by_alias(name, CHAMPION)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):  # no such name, no such alias
            return None
        raise
    return Registered(name, str(version.version), str(version.run_id))


def _version_of(name: str, run_id: str, runtime: RuntimeConfig) -> Registered | None:
    versions = client_of(tracking_uri(runtime)).search_model_versions(f"name = '{name}' and run_id = '{run_id}'")
    return Registered(name, str(versions[0].version), run_id) if versions else None


def _create_name(client: Any, name: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


@contextmanager
def _as_default_store(uri: str) -> Iterator[None]:
    """Make a store MLflow's default meanwhile: with a database, MLflow looks up a version's files only there."""
    import mlflow

    given = os.environ.get(DEFAULT_STORE)
    mlflow.set_tracking_uri(uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(given or "")
        if given is None:
            os.environ.pop(DEFAULT_STORE, None)


def check_name(name: str) -> None:
    """Check the name of a registered model.

    Raises:
        InputError: it is empty or contains a character that MLflow forbids.
    """
    if not name.strip() or any(sign in name for sign in "/:'\""):
        raise InputError(
            f"--name: {name!r} cannot be the name of a registered model; use letters, digits, dots and dashes"
        )
