"""Promotion to champion: a flow that shows a run's metrics, asks a person by a form, and promotes on approval."""

from typing import Any

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact
from prefect.flow_runs import pause_flow_run
from prefect.input import RunInput
from pydantic import Field

from flows.run_names import named
from neurontune_core.config import change_runtime, load_config
from neurontune_core.errors import InputError
from neurontune_core.shown_text import markdown_text
from tasks.recording.registry import Standing, check_name, promote, standing_of
from tasks.recording.runs import LATEST, RecordedRun, find_run

WAIT_SECONDS = 24 * 3600


class Promotion(RunInput):
    """The form that a person fills in before a model becomes champion."""

    approve: bool = Field(default=False, description="Make this model champion.")
    approved_by: str = Field(default="", description="Your name; kept with the version.")
    override_reason: str = Field(default="", description="Why it may become champion in spite of the objections.")


@flow(name="promotion", flow_run_name=named(lambda given: f"promote {given['run']}"))
def promotion(
    run: str = LATEST, name: str = "neurontune", settings: tuple[str, ...] = (), wait_seconds: int = WAIT_SECONDS
) -> dict[str, Any]:
    """Ask a person whether the model of a run becomes champion, and make it so.

    Args:
        run: Whose model: MLflow run id, Prefect flow run id, name of the run, or `latest`.
        name: Name of the registered model.
        settings: Where the run is recorded, as `runtime.field=value`, if not where this worker records.
        wait_seconds: How long to wait for the answer.

    Raises:
        InputError: no such run, nobody approved, or an objection is not overridden.
    """
    check_name(name)
    runtime = change_runtime(load_config(), settings).runtime
    found = find_run(run, runtime, finished=True)
    standing = standing_of(found, name, runtime)
    create_markdown_artifact(key="promotion", markdown=_text(found, standing, name))
    if standing.forbidden:
        raise InputError(f"promotion of {found.name} is refused: {'; '.join(standing.forbidden)}")
    get_run_logger().info("waiting for a person: press Resume on this flow run's page")
    asked = Promotion.with_initial_data(description=_text(found, standing, name))
    answer = pause_flow_run(wait_for_input=asked, timeout=wait_seconds, poll_interval=2)
    if not answer.approve:
        raise InputError(f"promotion of {found.name} was not approved")
    made = promote(found, name, runtime, answer.approved_by, answer.override_reason)
    return {"name": made.name, "version": made.version, "run_id": made.run_id}


def _text(run: RecordedRun, standing: Standing, name: str) -> str:
    rows = [
        f"| {metric} | {_shown(standing.facts, metric)} | {_shown(standing.champion_facts, metric)} |"
        for metric in ("eval/su_f1", "eval/su_f1_low", "eval/safety", "eval/utility", "eval/broken")
    ]
    against = [f"- {markdown_text(line)}" for line in (*standing.forbidden, *standing.objections)] or ["- nothing"]
    champion = f"version {standing.champion.version}" if standing.champion else "none yet"
    head = [
        f"## {markdown_text(run.name)} as champion of {name}?",
        "",
        f"Run `{run.run_id}`, judged by {markdown_text(standing.judge or 'nobody')}.",
    ]
    table = [f"| metric | this run | champion ({champion}) |", "|---|---|---|", *rows]
    return "\n".join([*head, "", *table, "", "Against it:", "", *against])


def _shown(facts: Any, metric: str) -> str:
    return f"{facts[metric]:.3f}" if metric in facts else "-"
