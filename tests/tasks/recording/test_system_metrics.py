"""What a long stage takes of its machine."""

import time
from types import SimpleNamespace

import pytest

from neurontune_core.config import PipelineConfig
from tasks import attribution
from tasks.recording import step_runs, system_metrics, tracking
from tasks.recording.mlflow_store import client_of, tracking_uri
from tasks.stage import StageRun


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


@pytest.mark.parametrize("error", [MemoryError("out of memory"), KeyboardInterrupt()], ids=["failed", "killed"])
def test_a_stage_that_fails_or_is_killed_keeps_its_samples(
    config: PipelineConfig, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    record = tracking.start_run(config, "run", "model")
    monkeypatch.setattr(system_metrics, "SAMPLE_SECONDS", 0.02)
    with pytest.raises(type(error)), step_runs.step(record, "scaling", "k", {}, []) as run:
        time.sleep(0.3)
        raise error
    data = client_of(tracking_uri(config.runtime)).get_run(run).data
    assert data.metrics["system/process_memory_usage_megabytes"] > 1


def test_a_shard_that_fails_leaves_its_samples_to_attribution(
    config: PipelineConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = tracking.start_run(config, "run", "model")
    step = step_runs.open_step(record, "attribution", "k", config.attribution, [])
    record = record.model_copy(update={"step_run_id": step})

    def write(*_: object) -> None:
        time.sleep(0.3)
        raise MemoryError("out of memory")

    monkeypatch.setattr(system_metrics, "SAMPLE_SECONDS", 0.02)
    monkeypatch.setattr(attribution.artifacts, "write", write)
    with pytest.raises(MemoryError):
        attribution.attribute_shard.fn(config.attribution, 0, None, None, StageRun("k", config.runtime, record))
    data = client_of(tracking_uri(config.runtime)).get_run(step).data
    assert data.metrics["system/process_memory_usage_megabytes"] > 1


def test_every_gpu_that_the_process_uses_is_sampled_and_no_other() -> None:
    free = {1: (25, 100), 2: (50, 100)}

    def utilization(number: int) -> int:
        if number == 2:
            raise ModuleNotFoundError("pynvml")
        return 80

    cuda = SimpleNamespace(
        device_count=lambda: 3, memory_reserved=lambda number: number, mem_get_info=free.get, utilization=utilization
    )
    assert system_metrics._of_gpus(cuda) == {
        "gpu_1_memory_usage_percentage": 75.0,
        "gpu_1_utilization_percentage": 80.0,
        "gpu_2_memory_usage_percentage": 50.0,
    }
