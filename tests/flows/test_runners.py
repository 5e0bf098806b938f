"""The same scores from threads, processes and Dask workers, also where only object storage is shared."""

import multiprocessing
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import psutil
import pytest
from prefect import flow, task
from prefect.settings import temporary_settings

from flows.first_stages import selection_only
from flows.runners import started
from flows.shards import ShardError
from neurontune_core import artifacts, tables
from neurontune_core.config import PipelineConfig, RuntimeConfig, load_config
from neurontune_core.errors import InputError

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect_server")]
KEYS = ["role", "attack_category", "layer", "neuron", "half"]


def scores(config: PipelineConfig) -> pd.DataFrame:
    made = selection_only(config)
    return tables.load_table(artifacts.open_folder(made["scores"]), "scores").set_index(KEYS).sort_index()


def tiny(root: str, *settings: str) -> PipelineConfig:
    return load_config("tiny", [f"runtime.root='{root}'", "runtime.device=cpu", "attribution.shards=3", *settings])


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory, prefect_settings: dict[Any, Any]) -> pd.DataFrame:
    with temporary_settings(prefect_settings):
        return scores(tiny(str(tmp_path_factory.mktemp("threads") / "root")))


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An empty bucket of an S3-compatible server on this machine."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    boto3.client("s3").create_bucket(Bucket="shared")
    yield "s3://shared/root"
    server.stop()


@pytest.fixture
def two_workers(tmp_path: Path, bucket: str) -> Iterator[str]:
    """The address of a Dask scheduler with two workers: processes of their own, each in a folder of its own."""
    from distributed import Client, LocalCluster

    with LocalCluster(n_workers=0, dashboard_address=None) as cluster:
        workers = []
        for number in range(2):
            place = tmp_path / f"worker-{number}"
            (place / "tmp").mkdir(parents=True)
            environment = os.environ | {"TMPDIR": str(place / "tmp"), "PYTHONPATH": str(Path(__file__).parents[2])}
            command = [
                sys.executable,
                "-m",
                "distributed.cli.dask_worker",
                cluster.scheduler_address,
                "--nthreads",
                "1",
            ]
            options = ["--no-nanny", "--no-dashboard", "--name", str(number)]
            workers.append(subprocess.Popen([*command, *options], cwd=place, env=environment))
        with Client(cluster.scheduler_address) as client:
            client.wait_for_workers(2, timeout=120)
        yield cluster.scheduler_address
        for worker in workers:
            worker.kill()  # asked politely they wait for a scheduler to say goodbye to
            worker.wait(timeout=30)


def test_two_processes_give_the_same_scores(tmp_path: Path, expected: pd.DataFrame) -> None:
    found = scores(tiny(str(tmp_path / "root"), "runtime.runner=processes", "runtime.workers=2"))
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)
    assert found.index.equals(expected.index)


def test_two_dask_workers_with_only_object_storage_in_common_give_the_same_scores(
    tmp_path: Path, bucket: str, two_workers: str, expected: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    own = [f"runtime.dask_address='{two_workers}'", f"runtime.mlflow_uri='sqlite:///{tmp_path / 'mlflow.db'}'"]
    found = scores(tiny(bucket, "runtime.runner=dask", *own))
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)
    assert found.index.equals(expected.index)
    downloads = [list(tmp_path.glob(f"worker-{number}/tmp/neurontune-download-cache-*/*")) for number in range(2)]
    assert all(downloads), "both workers took part"


@task
def card_seen(meeting: Path) -> str:
    """Return the card this worker sees, once two workers are there."""
    (meeting / str(os.getpid())).touch()
    deadline = time.monotonic() + 120
    while len(list(meeting.iterdir())) < 2:
        assert time.monotonic() < deadline, "the other worker did not come"
        time.sleep(0.1)
    return os.environ.get("CUDA_VISIBLE_DEVICES", "unset")


@flow
def cards_seen(runtime: RuntimeConfig, meeting: Path) -> list[str]:
    with started(runtime) as runner:
        futures = [runner.submit(card_seen, {"meeting": meeting}) for _ in range(2)]
        return sorted(future.result() for future in futures)


@pytest.mark.parametrize("runner", ["processes", "dask"])
def test_each_worker_has_a_card_of_its_own(
    runner: Literal["processes", "dask"], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    assert cards_seen(RuntimeConfig(runner=runner, workers=2), tmp_path) == ["4", "7"]
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "4,7", "this process keeps all of them"


def test_killed_worker_process_is_replaced(tmp_path: Path, expected: pd.DataFrame) -> None:
    root, killed = tmp_path / "root", []

    def kill_one_at_work() -> None:
        while not any(path.is_dir() for path in (root / ".partial").glob("attribution-*")):
            time.sleep(0.01)
        worker = multiprocessing.active_children()[0]
        killed.append(worker.pid)
        worker.kill()

    threading.Thread(target=kill_one_at_work, daemon=True).start()
    found = scores(tiny(str(root), "runtime.runner=processes", "runtime.workers=2"))
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)
    assert len(killed) == 1


def test_worker_processes_end_with_a_killed_run() -> None:
    """Nobody else is left to tell them, and each would keep its model, on a card of its own."""
    program = """
import multiprocessing, os, sys
from concurrent.futures import ProcessPoolExecutor
from flows.runners import _begin_worker

spawn = multiprocessing.get_context("spawn")
with ProcessPoolExecutor(1, spawn, _begin_worker, ([], spawn.Value("i", 0))) as pool:
    print(pool.submit(os.getpid).result(), flush=True)
    sys.stdin.read()
"""
    run = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        cwd=Path(__file__).parents[2],
    )  # fmt: skip
    with run:
        assert run.stdout is not None
        worker = psutil.Process(int(run.stdout.readline()))
        run.kill()
    worker.wait(timeout=60)


@contextmanager
def dask_scheduler() -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A Dask scheduler in a process of its own, and its address."""
    command = [sys.executable, "-u", "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0"]
    process = subprocess.Popen([*command, "--no-dashboard"], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        for line in process.stderr:
            if "Scheduler at:" in line:
                break
        threading.Thread(target=process.stderr.read, daemon=True).start()
        yield process, line.split("Scheduler at:")[1].strip()
    finally:
        process.kill()
        process.wait()


@contextmanager
def dask_workers(address: str, number: int, place: Path) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Dask workers of a scheduler, processes of their own."""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-m", "distributed.cli.dask_worker", address, "--nthreads", "1", "--no-nanny"]
    workers = [subprocess.Popen([*command, "--no-dashboard"], cwd=place, env=environment) for _ in range(number)]
    try:
        yield workers
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()


def when_there(root: Path, pattern: str, do: Callable[[], None]) -> threading.Thread:
    """Do something once a root has a folder of a name."""

    def wait() -> None:
        while not any(path.is_dir() for path in root.glob(pattern)):
            time.sleep(0.01)
        do()

    waiting = threading.Thread(target=wait, daemon=True)
    waiting.start()
    return waiting


def test_a_lost_dask_worker_costs_no_shard(tmp_path: Path, expected: pd.DataFrame) -> None:
    root = tmp_path / "root"
    with dask_scheduler() as (_, address), dask_workers(address, 2, tmp_path) as workers:
        lost = when_there(root, ".partial/attribution-*", workers[0].kill)
        found = scores(tiny(str(root), "runtime.runner=dask", f"runtime.dask_address='{address}'"))
        assert not lost.is_alive() and workers[0].wait() != 0 and workers[1].poll() is None
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


def test_a_lost_dask_scheduler_is_named_and_the_next_run_takes_up_what_was_finished(
    tmp_path: Path, expected: pd.DataFrame
) -> None:
    root = tmp_path / "root"
    with dask_scheduler() as (scheduler, address), dask_workers(address, 2, tmp_path):
        when_there(root, "attribution/*", scheduler.kill)
        config = tiny(str(root), "runtime.runner=dask", f"runtime.dask_address='{address}'")
        began = time.monotonic()
        with pytest.raises(ShardError, match=f"the Dask scheduler at {address} was lost; start it again"):
            selection_only(config)
        print("ended after", time.monotonic() - began)
        with pytest.raises(InputError, match=f"^runtime.dask_address: no Dask scheduler answers at {address}"):
            selection_only(config)
    kept = {path: path.stat().st_mtime_ns for path in root.glob("*/*/manifest.json")}
    assert {path.parts[-3] for path in kept} == {"pairs", "attribution"}
    np.testing.assert_allclose(scores(tiny(str(root))), expected, rtol=1e-6, atol=1e-6)
    assert all(path.stat().st_mtime_ns == written for path, written in kept.items()), "what was finished is reused"
