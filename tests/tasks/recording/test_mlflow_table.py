"""Pages of MLflow as a person sees them: the real UI shows whether they list what they should."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import httpx
import pytest
from headless import Browser
from recorded_runs import record_run

from neurontune_core.config import PipelineConfig
from tasks.recording import tracking
from tasks.recording.mlflow_store import Tracking, client_of, run_table, tracking_uri
from tasks.recording.mlflow_view import METRICS, TAGS
from tasks.recording.runs import find_run

PATIENCE = 240


@pytest.fixture
def ui(config: PipelineConfig) -> Iterator[str]:
    """MLflow's server on the test's own store."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    options = ["--host", "127.0.0.1", "--port", port, "--workers", "1"]
    command = [sys.executable, "-m", "mlflow", "server", *options, "--backend-store-uri", tracking_uri(config.runtime)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                httpx.get(f"http://127.0.0.1:{port}/health", timeout=10).raise_for_status()
                break
            except httpx.HTTPError:
                assert server.poll() is None and time.monotonic() < deadline, "the MLflow server does not come up"
                time.sleep(0.5)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


@pytest.mark.browser
@pytest.mark.services
def test_the_saved_view_shows_what_runs_are_compared_by(config: PipelineConfig, browser: Browser, ui: str) -> None:
    client = client_of(tracking_uri(config.runtime))
    for name, score in (("weaker run", 0.25), ("better run", 0.75)):
        run = record_run(config, name)
        for metric in METRICS:
            client.log_metric(run, metric, score)
        client.log_param(run, "attribution.nodes", score)
        for tag in TAGS:
            client.set_tag(run, tag, f"a {tag}")
    place = Tracking(uri=tracking_uri(config.runtime), root=config.runtime.root, experiment=config.runtime.experiment)
    tracking.offer_view(place)
    browser.call("POST", f"{browser.session}/window/rect", {"width": 5200, "height": 900})
    # MLflow opens an experiment on a page without runs; the link above it is the way to the table
    browser.open(f"{ui}/#/experiments/1")
    link = "[...document.querySelectorAll('a')].find((a) => a.innerText === 'All runs side by side')"
    table = browser.until(f"return {link}?.href")
    assert table == f"{ui}/{run_table(config.runtime)}"
    browser.open(table)
    shown = "const text = document.body.innerText; return {} && text"
    text = browser.until(shown.format("text.includes('2 matching runs') && text.includes('a study')"))
    assert text.index("better run") < text.index("weaker run"), "the best Safety-Utility F1 is first"
    assert "evaluation" not in text.splitlines(), "the runs of single stages are left out"
    columns = browser.run(
        """return [...document.querySelectorAll('[role=columnheader]')].filter((each) => each.innerText.trim())
        .sort((one, other) => one.getBoundingClientRect().left - other.getBoundingClientRect().left)
        .map((each) => each.innerText.trim())"""
    )
    first = [*sorted(METRICS), "attribution.nodes"]
    shown = [name for name in dict.fromkeys(columns) if name in (*first, *TAGS)]
    assert shown[: len(first)] == first and set(shown[len(first) :]) == set(TAGS), columns


@pytest.mark.browser
@pytest.mark.services
def test_the_page_of_evaluation_runs_lists_both_models_of_each_run(
    config: PipelineConfig, browser: Browser, ui: str
) -> None:
    for name in ("first", "second"):
        made = list(find_run(record_run(config, f"made for {name}", ("h0",), seed=name), config.runtime).made)
        record = tracking.start_run(config, name, "model")
        tracking.finish_run(record, made, None)
    browser.open(f"{ui}/#/experiments/1/evaluation-runs")
    rows = "[...document.querySelectorAll('#run-name-cell')].map((each) => each.innerText)"
    shown = browser.until(f"const rows = {rows}; return rows.length && rows")
    assert {"base · first", "base · second", "tuned · first", "tuned · second"} <= set(shown)
