"""What a page of another site, a program without the password and another user get from `up` and `run`."""

import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import psutil
import pytest
from running_machine import MAIN, PATIENCE, Machine, machine, until
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from flows.services import server

__all__ = ["machine"]
pytestmark = pytest.mark.services
EVIL = "http://evil.example"
COMMANDS: tuple[dict[str, Any], ...] = (
    {"command": "touch {mark}"},
    {"env": {"PREFECT__FLOW_ENTRYPOINT": "{mark}"}},
    {"env.LD_PRELOAD": "{mark}"},
    {"working_dir": "{mark}"},
    {"job_configuration": {"command": "touch {mark}"}},
)


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[server.EmbeddedServer]:
    """The server that `run` starts for itself."""
    home = tmp_path_factory.mktemp("embedded")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_HOME", str(home))
        patch.delenv("PREFECT_API_URL", raising=False)
        started = server.start_server(home, home / "server.log")
        started.wait_until_ready()
    yield started
    server._stop(started.process)


def attack(api: str, login: tuple[str, str]) -> None:
    """Play what must not succeed against a Prefect API, with a login that does."""
    asked = {"url": f"{api}/flows/filter", "json": {}}
    assert httpx.post(**asked, auth=login).status_code == 200
    for wrong in (None, (login[0], ""), (login[0], "guess"), ("", login[1])):
        assert httpx.post(**asked, auth=wrong).status_code == 401
    assert httpx.post(**asked, headers={"Authorization": f"Bearer {login[1]}"}).status_code == 401
    for headers in (
        {"Origin": EVIL},
        {"Origin": "null"},
        {"Origin": "http://localhost:1"},
        {"Host": "evil.example"},
        {"Host": f"evil.example:{httpx.URL(api).port}"},
        {"Host": "evil.example", "Origin": EVIL},
    ):
        for auth in (None, login):
            answer = httpx.post(**asked, headers=headers, auth=auth)
            assert answer.status_code == 403 and "access-control-allow-origin" not in answer.headers
        preflight = headers | {
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization",
        }
        answer = httpx.options(asked["url"], headers=preflight)
        assert answer.status_code >= 400 and "access-control-allow-origin" not in answer.headers
        assert httpx.get(api.removesuffix("/api"), headers=headers).status_code == 403, "the UI itself"
    own = httpx.get(f"{api}/health", headers={"Origin": api.removesuffix("/api")})
    assert own.headers["access-control-allow-origin"] == api.removesuffix("/api")
    events = api.replace("http://", "ws://") + "/events/out"
    with pytest.raises(InvalidStatus):
        connect(events, origin=EVIL, subprotocols=["prefect"], proxy=None)  # type: ignore[arg-type, list-item]
    with pytest.raises(InvalidStatus):
        connect(events, proxy=None)


def login_of(machine: Machine) -> tuple[str, str]:
    user, _, password = machine.environment["PREFECT_API_AUTH_STRING"].partition(":")
    return user, password


def test_the_server_of_up(machine: Machine) -> None:
    attack(machine.environment["PREFECT_API_URL"], login_of(machine))


def test_the_server_of_run(embedded: server.EmbeddedServer) -> None:
    user, _, password = embedded.login.partition(":")
    attack(f"{embedded.address}/api", (user, password))


def test_job_variables_start_no_command(machine: Machine, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    deployment = machine.api.get("/deployments/name/notify/notify").raise_for_status().json()
    assert deployment["enforce_parameter_schema"]
    parameters = {"flow_run_id": str(uuid4())}
    other_way = {"flow_id": deployment["flow_id"], "deployment_id": deployment["id"], "state": {"type": "SCHEDULED"}}
    other_way |= {"work_pool_name": deployment["work_pool_name"], "parameters": parameters}
    runs = []
    for variables in COMMANDS:
        given = {"job_variables": _filled(variables, str(mark))}
        url = f"/deployments/{deployment['id']}/create_flow_run"
        assert machine.api.post(url, json=given | {"parameters": parameters}).status_code == 422, variables
        # the server does not check a run that is made so: its worker takes nothing from it
        runs.append(machine.post("/flow_runs/", other_way | given)["id"])
    for run in runs:
        until(lambda run=run: machine.state(run)["type"], lambda kind: kind in ("FAILED", "CRASHED", "COMPLETED"))
    assert not mark.exists()


def _filled(value: Any, mark: str) -> Any:
    return value.format(mark=mark) if isinstance(value, str) else {name: _filled(v, mark) for name, v in value.items()}


def test_mlflow_answers_to_this_machine_alone(machine: Machine) -> None:
    address = machine.environment["MLFLOW_TRACKING_URI"]
    login = login_of(machine)
    url = f"{address}/api/2.0/mlflow/experiments/create"
    for headers in ({"Host": "evil.example"}, {"Host": "10.evil.example"}, {"Host": "192.168.evil.example:5000"}):
        assert httpx.post(url, json={"name": "mine"}, headers=headers, auth=login).status_code == 403
    assert httpx.post(url, json={"name": "mine"}, headers={"Origin": EVIL}, auth=login).status_code == 403
    search = f"{address}/api/2.0/mlflow/experiments/search?max_results=1"
    assert httpx.get(search, auth=login).status_code == 200
    for path in ("/", "/ajax-api/2.0/mlflow/experiments/search?max_results=1", "/graphql", "/get-artifact", "/version"):
        assert httpx.get(f"{address}{path}").status_code == 401, path
    for wrong in (None, (login[0], ""), (login[0], "guess"), ("", login[1])):
        assert httpx.get(search, auth=wrong).status_code == 401
        assert httpx.post(url, json={"name": "mine"}, auth=wrong).status_code == 401
    for header in ("Basic", "Basic !", "Basic \u00e9", f"Bearer {login[1]}", f"Basic {login[1]}"):
        assert httpx.get(search, headers={b"Authorization": header.encode("latin-1")}).status_code == 401


def test_another_user_of_the_machine_finds_no_password(machine: Machine) -> None:
    login = machine.environment["PREFECT_API_AUTH_STRING"]
    password = login.partition(":")[2]
    file = machine.root / ".prefect" / "login"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    lines = [" ".join(process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline"])]
    assert any("flows.services.server" in line for line in lines)
    assert not [line for line in lines if password in line]
    for path in machine.root.rglob("*"):
        if path.is_file() and path != file:
            assert password.encode() not in path.read_bytes(), path
    assert not [line for line in machine.printed if password in line]


def test_its_owner_is_shown_the_password(machine: Machine) -> None:
    command = [*MAIN, "up", "--set", f"runtime.root={machine.root}", "--show-password"]
    named = ("PREFECT_API_URL", "PREFECT_API_AUTH_STRING")
    environment = {name: value for name, value in machine.environment.items() if name not in named}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [machine.environment["PREFECT_API_AUTH_STRING"]]
