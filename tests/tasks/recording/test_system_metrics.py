"""What a long stage takes of its machine."""

import time

import pytest

from neurontune_core.config import PipelineConfig
from tasks.recording import step_runs, system_metrics, tracking
from tasks.recording.mlflow_store import client_of, tracking_uri


def test_a_long_stage_has_samples_and_a_short_one_none(config: PipelineConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    record = tracking.start_run(config, "run", "model")
    with step_runs.step(record, "pairs", "k", {}, []) as short:
        pass
    monkeypatch.setattr(system_metrics, "SAMPLE_SECONDS", 0.05)
    monkeypatch.setattr(system_metrics, "MOST_SAMPLES", 2)
    with step_runs.step(record, "scaling", "k", {}, []) as long:
        time.sleep(1)
    client = client_of(tracking_uri(config.runtime))
    assert not any(name.startswith("system/") for name in client.get_run(short).data.metrics)
    history = client.get_metric_history(long, "system/cpu_utilization_percentage")
    assert 1 <= len(history) < 4 and client.get_run(long).data.metrics["system/process_memory_usage_megabytes"] > 1
