"""The set-ups under deployments/, read by the programs they are written for as far as that goes without a cluster."""

import asyncio
import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import yaml
from jsonschema import Draft202012Validator
from packaging.requirements import Requirement
from prefect.client.schemas.objects import FlowRun
from prefect.utilities.templating import find_placeholders

from flows.services.environment import DEFAULTS

PLACE = Path(__file__).parents[3] / "deployments"
COMPOSE = PLACE / "production" / "compose.yaml"
SECRETS = {
    "POSTGRES_PASSWORD": "a",
    "REDIS_PASSWORD": "b",
    "PREFECT_AUTH_STRING": "admin:c",
    "MLFLOW_ADMIN_PASSWORD": "d",
    "MLFLOW_SECRET_KEY": "e",
    "MLFLOW_ARTIFACTS": "s3://bucket/mlflow",
}


@pytest.fixture
def services() -> dict[str, Any]:
    return dict(yaml.safe_load(COMPOSE.read_text())["services"])


def test_production_services_are_pinned_and_on_loopback_only(services: dict[str, Any]) -> None:
    for name, service in services.items():
        image, _, version = service["image"].partition(":")
        assert image and re.match(r"\d", version), (name, service["image"])
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), (name, port)


def test_production_services_ask_for_passwords(services: dict[str, Any]) -> None:
    prefect = services["prefect-server"]["environment"]
    assert prefect["PREFECT_SERVER_API_AUTH_STRING"].startswith("${PREFECT_AUTH_STRING:?")
    assert "${REDIS_PASSWORD:?" in " ".join(services["redis"]["command"])
    assert services["postgres"]["environment"]["POSTGRES_PASSWORD"].startswith("${POSTGRES_PASSWORD:?")
    assert "--app-name basic-auth" in services["mlflow"]["command"]
    required = set(re.findall(r"\$\{(\w+):\?", COMPOSE.read_text()))
    assert required == set(SECRETS), "none has a default, and the command below names them all"


@pytest.mark.parametrize("missing", ["", *SECRETS])
def test_compose_reads_it_and_refuses_a_missing_secret(missing: str) -> None:
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]) and subprocess.run([*command, "version"], capture_output=True).returncode == 0:
            break
    else:
        pytest.skip("no docker compose (Debian: apt-get install docker-compose)")
    given = {name: value for name, value in SECRETS.items() if name != missing} | {"PATH": "/usr/bin:/bin"}
    done = subprocess.run([*command, "-f", str(COMPOSE), "config"], env=given, capture_output=True, text=True)
    if missing:
        assert done.returncode != 0 and missing in done.stderr
    else:
        assert done.returncode == 0, done.stderr
        assert set(yaml.safe_load(done.stdout)["services"]) >= {"postgres", "redis", "prefect-server", "mlflow"}


def test_programs_installed_in_containers_are_those_of_the_constraints(services: dict[str, Any]) -> None:
    pinned = dict(
        line.lower().split("==") for line in (PLACE.parent / "constraints.txt").read_text().split() if "==" in line
    )
    extra = services["prefect-server"]["environment"]["EXTRA_PIP_PACKAGES"].split()
    asked = [*extra, *re.findall(r"pip install --quiet (.*?) &&", services["mlflow"]["command"])[0].split()]
    assert services["prefect-server"]["image"].startswith(f"prefecthq/prefect:{pinned['prefect']}-")
    for requirement in (Requirement(text.strip("'")) for text in asked):
        assert pinned[requirement.name.lower()] in requirement.specifier, requirement


def job(**values: str) -> dict[str, Any]:
    """The Kubernetes job that a worker would make for a flow run."""
    from prefect_kubernetes.worker import KubernetesWorkerJobConfiguration

    template = json.loads((PLACE / "kubernetes" / "job-template.json").read_text())
    made = KubernetesWorkerJobConfiguration.from_template_and_values(template, values)
    configuration = asyncio.run(made)
    configuration.prepare_for_flow_run(FlowRun(id=uuid4(), name="llama tiny seed 0", flow_id=uuid4()))
    return dict(configuration.job_manifest)


def test_kubernetes_job(prefect_server: None) -> None:
    (container,) = job()["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "neurontune:0.1.0"
    assert container["args"] == ["prefect", "flow-run", "execute"]
    assert container["resources"]["limits"] == {"memory": "32Gi", "nvidia.com/gpu": "1"}
    assert container["envFrom"] == [{"secretRef": {"name": "neurontune"}}]
    variables = {entry["name"]: entry.get("value") for entry in container["env"]}
    assert "PREFECT__FLOW_RUN_ID" in variables
    assert variables["PREFECT_FLOW_RUN_EXECUTE_SIGTERM_BEHAVIOR"] == "reschedule", "an evicted run starts again"


def test_kubernetes_job_of_a_deployment_with_its_own_variables(prefect_server: None) -> None:
    declared = yaml.safe_load((PLACE / "prefect.yaml").read_text())["deployments"]
    (notify,) = (deployment for deployment in declared if deployment["name"] == "notify")
    (container,) = job(**notify["work_pool"]["job_variables"])["spec"]["template"]["spec"]["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "0", "a notice takes no card"


def test_prefect_toml_holds_what_runs_are_given_elsewhere() -> None:
    """Workers started by Prefect's own command, in the project's folder, know of nothing else."""
    found: dict[str, str] = {}

    def collect(section: dict[str, Any], name: str) -> None:
        for key, value in section.items():
            if isinstance(value, dict):
                collect(value, f"{name}_{key}")
            else:
                found[f"{name}_{key}".upper()] = str(value).lower() if isinstance(value, bool) else str(value)

    collect(tomllib.loads((PLACE.parent / "prefect.toml").read_text()), "prefect")
    assert found == {name: value for name, value in DEFAULTS.items() if name.startswith("PREFECT_")}


def test_kubernetes_template_declares_its_variables() -> None:
    template = json.loads((PLACE / "kubernetes" / "job-template.json").read_text())
    declared = template["variables"]["properties"]
    used = {found.name for found in find_placeholders(template["job_configuration"])}
    assert used == set(declared)
    assert all(field["description"] for field in declared.values())
    schema = Draft202012Validator(template["variables"])
    defaults = {name: field["default"] for name, field in declared.items() if "default" in field}
    assert not list(schema.iter_errors(defaults))
    assert list(schema.iter_errors(defaults | {"gpus": "many"}))
