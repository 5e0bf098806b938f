"""The pipeline on PostgreSQL, and on the services of deployments/production without their containers."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

pytestmark = pytest.mark.services
PASSWORD = "not-to-be-shown"
PRODUCTION = Path(__file__).parents[3] / "deployments" / "production"
COMMAND = [sys.executable, "-c", "from flows.commands.cli import main; main()", "run", "--preset", "tiny"]
PATIENCE = 300


def programs() -> Path:
    """Return the folder of PostgreSQL's programs; Debian keeps them off the path."""
    folders = [*Path("/usr/lib/postgresql").glob("*/bin"), *(Path(p) for p in os.environ["PATH"].split(os.pathsep))]
    for folder in folders:
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    pytest.skip("PostgreSQL is not installed (Debian: apt-get install postgresql)")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def own_environment(home: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MLFLOW_"))}
    paths = [str(Path(sys.executable).parent), kept["PATH"]]
    return kept | {"HOME": str(home), "PATH": os.pathsep.join(paths), "PYTHONPATH": str(Path(__file__).parents[3])}


@contextmanager
def running(command: str | list[str], log: Path, **options: Any) -> Iterator["subprocess.Popen[bytes]"]:
    with log.open("wb") as output:
        server = subprocess.Popen(
            command, shell=isinstance(command, str), stdout=output, stderr=output, start_new_session=True, **options
        )
    try:
        yield server
    finally:
        os.killpg(server.pid, signal.SIGINT)  # PostgreSQL then does not wait until every client has gone
        try:
            server.wait(timeout=20)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()


@pytest.fixture
def postgres() -> Iterator[str]:
    """The address of an empty PostgreSQL server, `user:password@host:port`; it refuses to run as root."""
    binaries, user = programs(), "postgres" if os.getuid() == 0 else None
    place, port = Path(tempfile.mkdtemp()), free_port()
    (place / "password").write_text(PASSWORD)
    if user is not None:
        shutil.chown(place, user)
        shutil.chown(place / "password", user)
    data = str(place / "data")
    options = ["--auth=scram-sha-256", f"--pwfile={place / 'password'}", "--username=postgres", "--no-sync"]
    subprocess.run(
        [str(binaries / "initdb"), "-D", data, *options], user=user, cwd=place, check=True, capture_output=True
    )
    start = [str(binaries / "postgres"), "-D", data, "-h", "127.0.0.1", "-p", str(port), "-k", str(place)]
    with running(start, place / "log", user=user, cwd=place):
        wait_until(lambda: (place / f".s.PGSQL.{port}").exists())
        yield f"postgres:{PASSWORD}@127.0.0.1:{port}"
    shutil.rmtree(place)


def query(address: str, database: str, *statements: str) -> list[tuple[object, ...]]:
    """Run statements and return the rows of the last."""
    import psycopg2

    connection = psycopg2.connect(f"postgresql://{address}/{database}")
    connection.autocommit = True
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
        rows = cursor.fetchall() if cursor.description else []
    connection.close()
    return list(rows)


def test_pipeline_on_postgresql(tmp_path: Path, postgres: str) -> None:
    query(postgres, "postgres", "create database prefect", "create database mlflow")
    environment = own_environment(tmp_path) | {
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"postgresql+asyncpg://{postgres}/prefect",
        "MLFLOW_TRACKING_URI": f"postgresql+psycopg2://{postgres}/mlflow",
    }
    root = tmp_path / "root"
    done = run_pipeline(root, environment)
    assert done.returncode == 0 and "MLflow:" not in done.stderr, done.stderr
    check_recorded(postgres)
    assert not (root / "mlflow.db").exists() and not (root / ".prefect" / "prefect.db").exists()
    dumps = [dump(postgres, database) for database in ("prefect", "mlflow")]
    assert_hidden([PASSWORD], done.stdout, done.stderr, *contents(root), *dumps)


def run_pipeline(root: Path, environment: Mapping[str, str], *options: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*COMMAND, "--set", f"runtime.root='{root}'", "--set", "runtime.device=cpu", *options],
        cwd=root.parent, env=environment, capture_output=True, text=True, timeout=900,
    )  # fmt: skip


def check_recorded(postgres: str) -> None:
    assert query(postgres, "prefect", "select state_type from flow_run") == [("COMPLETED",)]
    names = query(postgres, "mlflow", "select name, status from runs order by start_time")
    assert names[0] == ("llama · tiny", "FINISHED")
    assert {"pairs", "attribution", "scores", "selection", "scaling", "evaluation"} <= {name for name, _ in names[1:]}


def contents(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in folder.rglob("*") if path.is_file()]


def assert_hidden(secrets: list[str], *texts: str | bytes) -> None:
    everything = b"\n".join(text.encode() if isinstance(text, str) else text for text in texts)
    shown = [secret for secret in secrets if secret.encode() in everything]
    assert not shown


SECRETS = {
    "POSTGRES_PASSWORD": PASSWORD,
    "REDIS_PASSWORD": "redis-not-to-be-shown",
    "PREFECT_AUTH_STRING": "admin:prefect-not-to-be-shown",
    "MLFLOW_ADMIN_PASSWORD": "mlflow-not-to-be-shown",
    "MLFLOW_SECRET_KEY": "key-not-to-be-shown",
}


@contextmanager
def production(place: Path, postgres: str) -> Iterator[dict[str, str]]:
    """Run the services of compose.yaml, with their own commands and variables, and yield a worker's variables."""
    ports = {name: free_port() for name in ("redis", "prefect", "mlflow")} | {"postgres": postgres.rpartition(":")[2]}
    known = SECRETS | {"MLFLOW_ARTIFACTS": str(place / "mlflow-files")}

    def here(text: str) -> str:
        """Fill in variables as docker compose does, and put 127.0.0.1 for the names of its network."""
        text = re.sub(r"\$\{(\w+)(:[^}]*)?\}", lambda found: known.get(found[1], ""), text)
        text = text.replace("@postgres/", f"@127.0.0.1:{ports['postgres']}/").replace("0.0.0.0", "127.0.0.1")
        return text.replace("@redis:6379/", f"@127.0.0.1:{ports['redis']}/").replace("/etc/mlflow-auth.ini", str(users))

    users = place / "mlflow-auth.ini"
    users.write_text((PRODUCTION / "mlflow-auth.ini").read_text().replace("/users/", f"{place}/"))
    services = yaml.safe_load((PRODUCTION / "compose.yaml").read_text())["services"]
    base = own_environment(place)

    def variables(name: str) -> dict[str, str]:
        return base | {name: here(value) for name, value in services[name]["environment"].items()}

    with ExitStack() as stack:

        def start(name: str, command: str, **changes: str) -> None:
            stack.enter_context(running(command, place / f"{name}.log", cwd=place, env=variables(name) | changes))

        redis = " ".join(map(here, services["redis"]["command"]))
        stack.enter_context(
            running(f"{redis} --bind 127.0.0.1 --port {ports['redis']}", place / "redis.log", cwd=place)
        )
        subprocess.run(
            services["prefect-migrate"]["command"].split(), env=variables("prefect-migrate"), check=True,
            capture_output=True, timeout=PATIENCE,
        )  # fmt: skip
        port = {"PREFECT_SERVER_API_PORT": str(ports["prefect"])}
        start("prefect-server", here(services["prefect-server"]["command"]), **port)
        start("prefect-services", services["prefect-services"]["command"])
        mlflow = (
            here(services["mlflow"]["command"]).partition("&&")[2].rstrip('"').replace("5000", str(ports["mlflow"]))
        )
        start("mlflow", mlflow)
        addresses = {name: f"http://127.0.0.1:{ports[name]}" for name in ("prefect", "mlflow")}
        for address in (f"{addresses['prefect']}/api/health", f"{addresses['mlflow']}/health"):
            wait_until(lambda address=address: answers(address))
        yield base | {
            "PREFECT_API_URL": f"{addresses['prefect']}/api",
            "PREFECT_API_AUTH_STRING": SECRETS["PREFECT_AUTH_STRING"],
            "MLFLOW_TRACKING_URI": addresses["mlflow"],
            "MLFLOW_TRACKING_USERNAME": "admin",
            "MLFLOW_TRACKING_PASSWORD": SECRETS["MLFLOW_ADMIN_PASSWORD"],
        }


def answers(address: str) -> bool:
    try:
        return httpx.get(address, timeout=5).is_success
    except httpx.TransportError:
        return False


@pytest.fixture
def worker(tmp_path: Path, postgres: str) -> Iterator[dict[str, str]]:
    """The environment of a worker of the production services, made as their database image makes them."""
    if shutil.which("redis-server") is None:
        pytest.skip("Redis is not installed (Debian: apt-get install redis-server)")
    host, _, port = postgres.partition("@")[2].partition(":")
    access = {"PGHOST": host, "PGPORT": port, "PGPASSWORD": PASSWORD, "POSTGRES_PASSWORD": PASSWORD}
    binaries = {"PATH": f"{programs()}{os.pathsep}{os.environ['PATH']}"}
    subprocess.run(["sh", str(PRODUCTION / "databases.sh")], env=os.environ | access | binaries, check=True)
    place = tmp_path / "services"
    place.mkdir()
    with production(place, postgres) as environment:
        yield environment


def test_production_services(tmp_path: Path, postgres: str, worker: dict[str, str]) -> None:
    api, mlflow = worker["PREFECT_API_URL"], worker["MLFLOW_TRACKING_URI"]
    assert httpx.post(f"{api}/flow_runs/filter", json={}).status_code == 401
    assert httpx.get(f"{mlflow}/api/2.0/mlflow/experiments/get-by-name?experiment_name=Default").status_code == 401

    root, tokens = tmp_path / "root", {"HF_TOKEN": "hf_not-to-be-shown", "AWS_SECRET_ACCESS_KEY": "aws-not-to-be-shown"}
    done = run_pipeline(root, worker | tokens, "--debug")
    assert done.returncode == 0 and "MLflow:" not in done.stderr, done.stderr
    check_recorded(postgres)
    hidden = [secret.rpartition(":")[2] for secret in [*SECRETS.values(), *tokens.values()]]
    dumps = [dump(postgres, database) for database in ("prefect", "mlflow")]
    assert all("llama · tiny".encode() in each for each in dumps)
    assert_hidden(hidden, done.stdout, done.stderr, *contents(root), *contents(tmp_path / "services"), *dumps)

    register_on_kubernetes_pools(worker)
    login = tuple(worker["PREFECT_API_AUTH_STRING"].split(":"))
    found = httpx.post(f"{api}/deployments/filter", json={}, auth=login).raise_for_status().json()  # type: ignore[arg-type]
    assert {"neurontune", "attribution-shard", "evaluate", "study"} <= {deployment["name"] for deployment in found}
    assert {deployment["pull_steps"][0]["prefect.deployments.steps.set_working_directory"]["directory"]
            for deployment in found} == {"/opt/neurontune"}  # fmt: skip


def dump(postgres: str, database: str) -> bytes:
    command = [str(programs() / "pg_dump"), f"postgresql://{postgres}/{database}"]
    return subprocess.run(command, check=True, capture_output=True).stdout


def register_on_kubernetes_pools(worker: Mapping[str, str]) -> None:
    """Carry out what deployments/README.md says of Kubernetes, up to where a cluster is needed."""
    project = PRODUCTION.parents[1]
    template = str(project / "deployments" / "kubernetes" / "job-template.json")
    prefect = [sys.executable, "-m", "prefect", "--no-prompt"]
    pools = [
        ["work-pool", "create", name, "--type", "kubernetes", "--base-job-template", template]
        for name in ("neurontune", "neurontune-shards")
    ]
    deploy = ["deploy", "--all", "--prefect-file", "deployments/prefect.yaml"]
    for command in [*pools, deploy]:
        environment = {**worker, "PWD": "/opt/neurontune"}
        done = subprocess.run([*prefect, *command], cwd=project, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
