"""The work pools of `neurontune up`; nobody can change a run's command or environment through them."""

import json
from pathlib import Path

import httpx
import yaml

DEPLOYMENTS = Path(__file__).resolve().parent.parent.parent / "deployments" / "prefect.yaml"
TEMPLATE = Path(__file__).with_name("process_pool.json")
GPU_LIMIT = "gpu"


def work_pools() -> list[str]:
    """Return the work pools that the deployments use."""
    declared = yaml.safe_load(DEPLOYMENTS.read_text())["deployments"] if DEPLOYMENTS.is_file() else []
    return sorted({deployment["work_pool"]["name"] for deployment in declared}) or ["neurontune"]


def connect(api: str, login: str) -> httpx.Client:
    """Return a client of a Prefect API of this machine, by its address and `user:password`."""
    user, _, password = login.partition(":")
    # a new connection for each request: the server may close an idle one just as it is used again
    limits = httpx.Limits(max_keepalive_connections=0)
    return httpx.Client(base_url=api, auth=(user, password), timeout=10, trust_env=False, limits=limits)


def make_pools(client: httpx.Client) -> None:
    """Create the work pools, or update existing ones, with the template that fixes the worker's command.

    Raises:
        httpx.HTTPStatusError: the server refuses.
    """
    template = json.loads(TEMPLATE.read_text(encoding="utf-8"))
    for pool in work_pools():
        found = client.get(f"/work_pools/{pool}")
        if found.status_code == httpx.codes.NOT_FOUND:
            body = {"name": pool, "type": "process", "base_job_template": template}
            client.post("/work_pools/", json=body).raise_for_status()
        elif found.raise_for_status().json()["base_job_template"] != template:
            client.patch(f"/work_pools/{pool}", json={"base_job_template": template}).raise_for_status()


def is_online(client: httpx.Client, pool: str) -> bool:
    """Tell whether a worker of a pool has sent a heartbeat."""
    answer = client.post(f"/work_pools/{pool}/workers/filter", json={})
    return answer.is_success and any(worker["status"] == "ONLINE" for worker in answer.json())


def limit_gpus(client: httpx.Client) -> None:
    """Limit each GPU of this machine to one stage at a time, over all runs."""
    cards = len(list(Path("/dev").glob("nvidia[0-9]*")))
    if cards:
        client.post("/v2/concurrency_limits/", json={"name": GPU_LIMIT, "limit": cards})
