"""`neurontune up` for real: server, workers, deployments, and the three ways to mend a failed shard."""

import json
import re
import shlex
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from mlflow import MlflowClient
from running_machine import MAIN, PATIENCE, Machine, machine, until

__all__ = ["machine"]
pytestmark = pytest.mark.services


def settings(root: Path, *changes: str) -> dict[str, Any]:
    common = [f"runtime.root='{root}'", "runtime.device=cpu", "attribution.shards=3"]
    return {"preset": "tiny", "settings": [*common, *changes]}


def fail_one(machine: Machine, change: str) -> tuple[str, str]:
    """Let shard 2 of 3 fail for good; return the run and its message, with the shard healthy again."""
    broken = machine.notes / "fail-1"
    broken.touch()
    run = machine.start("neurontune", settings(machine.root, change))
    state = machine.end_of(run, "Failed")
    assert state["data"]["serializer"]["type"] == "json", "nothing is pickled"
    message = state["message"]
    assert sorted(machine.take_computed()) == [0, 1, 2]
    assert "1 of 3 shards failed (attribution shard 2/3: RuntimeError: broken on purpose)" in message
    broken.unlink()
    return run, message


def test_deployments_explain_themselves(machine: Machine) -> None:
    found = {each["name"]: each for each in machine.post("/deployments/filter", {})}
    assert set(found) == {
        "neurontune",
        "attribution-shard",
        "evaluate",
        "study",
        "causal",
        "promotion",
        "notify",
        "resume",
    }
    for deployment in found.values():
        assert deployment["description"] and deployment["version"] and deployment["tags"]
        for name, field in deployment["parameter_openapi_schema"]["properties"].items():
            assert "$ref" in field or field["description"], (deployment["name"], name)
    (schedule,) = found["evaluate"]["schedules"]
    assert not schedule["active"] and schedule["schedule"]["cron"] == "0 6 * * 1"
    automations = {each["name"] for each in machine.post("/automations/filter", {})}
    assert {"evaluate a new alpha", "notify of a failure"} <= automations


def test_retry_in_the_ui_computes_only_the_failed_shard(machine: Machine) -> None:
    run, _ = fail_one(machine, "attribution.nodes=2")
    retry = {"state": {"type": "SCHEDULED", "name": "AwaitingRetry"}, "force": True}
    machine.post(f"/flow_runs/{run}/set_state", retry)
    machine.end_of(run, "Completed")
    assert machine.take_computed() == [1]


def test_shard_deployment_mends_what_its_parameters_name(machine: Machine) -> None:
    _, message = fail_one(machine, "attribution.nodes=3")
    given = re.search(r"attribution-shard with ({.*?})", message)
    assert given is not None, message
    machine.end_of(machine.start("attribution-shard", json.loads(given[1])), "Completed")
    assert machine.take_computed() == [1]
    machine.end_of(machine.start("neurontune", settings(machine.root, "attribution.nodes=3")), "Completed")
    assert machine.take_computed() == []


def test_shard_command_mends_what_it_names(machine: Machine) -> None:
    _, message = fail_one(machine, "attribution.nodes=4")
    given = re.search(r"`neurontune (shard .*?)`", message)
    assert given is not None, message
    done = subprocess.run(
        [*MAIN, *shlex.split(given[1])], env=machine.environment, capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.returncode == 0, done.stderr
    assert machine.take_computed() == [1]
    machine.end_of(machine.start("neurontune", settings(machine.root, "attribution.nodes=4")), "Completed")
    assert machine.take_computed() == []


def start_and_wait_in_second_shard(machine: Machine, change: str) -> tuple[str, Path]:
    """Start a run whose second shard waits for as long as the file returned exists."""
    hold, notes = machine.notes / "wait-1", machine.notes / "computed"
    hold.touch()
    run = machine.start("neurontune", settings(machine.root, change))
    until(lambda: notes.read_text().split() if notes.exists() else [], lambda computed: computed == ["0", "1"])
    machine.take_computed()
    return run, hold


def half_written(machine: Machine) -> list[Path]:
    return [path for path in (machine.root / ".partial").glob("attribution-*") if path.is_dir()]


def test_cancel_in_the_ui_stops_the_work(machine: Machine) -> None:
    run, hold = start_and_wait_in_second_shard(machine, "attribution.nodes=5")
    assert half_written(machine)
    machine.post(f"/flow_runs/{run}/set_state", {"state": {"type": "CANCELLING", "name": "Cancelling"}})
    until(lambda: machine.state(run)["name"], lambda name: name == "Cancelled")
    until(lambda: half_written(machine), lambda left: not left)
    hold.unlink()
    assert machine.take_computed() == []


def test_killed_run_is_noticed_and_resumed(machine: Machine) -> None:
    run, hold = start_and_wait_in_second_shard(machine, "attribution.nodes=6")
    machine.process_of(run).kill()
    hold.unlink()
    until(lambda: machine.state(run)["name"], lambda name: name == "Completed")
    assert machine.take_computed() == [1, 2], "the shard in hand is lost, the one before is kept"


def test_run_of_a_lost_machine_is_resumed(machine: Machine) -> None:
    """Neither the run nor its worker is left to say so: the silence is noticed."""
    run, hold = start_and_wait_in_second_shard(machine, "attribution.nodes=7")
    process = machine.process_of(run)
    worker = process.parent()
    assert worker is not None
    worker.kill()
    process.kill()
    hold.unlink()
    until(lambda: machine.state(run)["name"], lambda name: name == "Completed")
    assert machine.take_computed() == [1, 2], "the shard in hand is lost, the one before is kept"


def test_run_on_a_shell_uses_these_servers(machine: Machine) -> None:
    named = ("PREFECT_API_URL", "MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")
    environment = {name: value for name, value in machine.environment.items() if name not in named}
    options = ["--preset", "tiny", "--set", "runtime.device=cpu", "--set", f"runtime.root='{machine.root}'"]
    done = subprocess.run([*MAIN, "run", *options], env=environment, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0 and "MLflow:" not in done.stderr, done.stderr
    assert f"Prefect UI: {str(machine.api.base_url).removesuffix('/api/')}\n" in done.stderr
    without = {"sort": "START_TIME_DESC", "flow_runs": {"deployment_id": {"is_null_": True}}}
    # a test before this one has computed a shard on a shell
    runs = [run for run in machine.post("/flow_runs/filter", without) if "shard" not in run["name"]]
    assert [(run["name"], run["state_name"]) for run in runs] == [("llama · tiny", "Completed")]


def test_promotion_asks_a_person(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    made = machine.start("neurontune", settings(machine.root, "attribution.nodes=2"))
    machine.end_of(made, "Completed")
    run = machine.start("promotion", {"run": made, "name": "safe"})
    until(lambda: machine.state(run)["name"], lambda name: name == "Paused")
    asked = machine.state(run)["state_details"]["run_input_keyset"]
    form = machine.api.get(f"/flow_runs/{run}/input/{asked['schema']}").raise_for_status().json()
    assert set(form["properties"]) == {"approve", "approved_by", "override_reason"}
    described = machine.api.get(f"/flow_runs/{run}/input/{asked['description']}").raise_for_status().json()
    assert "as champion of safe?" in described and "| eval/su_f1_low |" in described
    answer = {"approve": True, "approved_by": "Ada", "override_reason": "the only one"}
    machine.post(f"/flow_runs/{run}/resume", {"run_input": answer})
    machine.end_of(run, "Completed")
    for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
        monkeypatch.setenv(name, machine.environment[name])
    version = MlflowClient(machine.environment["MLFLOW_TRACKING_URI"]).get_model_version_by_alias("safe", "champion")
    assert version.tags["approved_by"] == "Ada"
    refused = machine.start("promotion", {"run": "no such run", "name": "safe"})
    assert "no run has the name or id 'no such run'" in machine.end_of(refused, "Failed")["message"]


def test_event_handed_on_twice_starts_one_run(machine: Machine) -> None:
    """As Prefect does where SQLite was busy: with the time the event had, and not at once."""

    def announce(alpha: str) -> None:
        event = {"event": "neurontune.alpha.created", "occurred": occurred, "payload": {"run": f"no run {alpha}"}}
        resource = {"prefect.resource.id": f"neurontune.alpha.{alpha}"}
        answer = machine.api.post("/events", json=[event | {"resource": resource, "id": str(uuid4())}])
        answer.raise_for_status()

    def asked() -> list[str]:
        found = machine.post("/flow_runs/filter", {"limit": 200})
        return sorted(str(run["parameters"].get("run")) for run in found if "no run" in str(run["parameters"]))

    machine.switch_on("evaluate a new alpha")
    occurred = datetime.now(UTC).isoformat()
    for alpha in ("one", "one", "other"):
        announce(alpha)
    until(asked, lambda runs: {"no run one", "no run other"} <= set(runs))
    assert asked() == ["no run one", "no run other"]


def test_new_alpha_is_evaluated_and_a_failure_announced(machine: Machine) -> None:
    """The automation for failures is on from the start and has acted on the runs of the tests before."""
    machine.switch_on("evaluate a new alpha")
    machine.end_of(machine.start("neurontune", settings(machine.root, "scaling.seed=3")), "Completed")

    def names() -> list[str]:
        runs = machine.post("/flow_runs/filter", {"sort": "START_TIME_DESC", "limit": 100})
        return [run["name"] for run in runs if run["state_name"] == "Completed"]

    until(names, lambda names: any(name.endswith("evaluated") for name in names))
    until(names, lambda names: any(name.startswith("notify") for name in names))
