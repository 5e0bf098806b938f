"""Names of flow runs: what a person typed stays, on the page in Prefect and in MLflow."""

import time
from collections import Counter

import pytest
from pipeline_runs import changed, newest_run
from prefect.client.orchestration import get_client
from prefect.flow_engine import run_flow
from prefect.utilities.names import generate_slug

from flows.first_stages import pairs_only
from flows.pipeline import attribution_shard, pipeline
from flows.run_names import is_made_up
from neurontune_core.config import PipelineConfig
from neurontune_core.run_name import run_name
from tasks.recording.run_list import listed, search


def test_made_up_names_are_told_from_typed_ones() -> None:
    assert all(is_made_up(generate_slug(2)) for _ in range(300))
    for name in (
        "gamma3-crucis-void",
        "xi123-canis-majoris",
        "alpha-ursae-minoris-x",
        "pi6-rhovanion",
        "beta-copernicus-nebula",
        "Licensed-Saiga",
        "Ergonomic-Coral",
        "Small-Sable",
    ):
        assert is_made_up(name), name
    for name in (
        "first try",
        "llama-tiny",
        "qwen · tiny",
        "sweep-2",
        "my-run",
        "alphabet",
        "",
        "run",
        "Llama-tiny",
        "SmolLM2-Safe",
        "Safe llama",
        "alpha-sweep",
        "beta-test",
        "pi-run",
        "alpha2-sweep-void",
        "alpha-orion-sweep",
        "Safe-Llama",
        "Seed-Test",
        "Baseline-Lora",
        "Small-Qwen",
    ):
        assert not is_made_up(name), name


@pytest.mark.usefixtures("prefect_server")
def test_a_typed_name_wins_and_a_made_up_one_does_not(config: PipelineConfig, core_calls: Counter[str]) -> None:
    with get_client(sync_client=True) as client:
        for typed in ("my own name", "gamma3-crucis-void", "Ergonomic-Coral"):
            flow_run = client.create_flow_run(pairs_only, parameters={"config": config}, name=typed)
            run_flow(pairs_only, flow_run=flow_run, parameters={"config": config})
            expected = typed if typed == "my own name" else run_name(config)
            assert client.read_flow_run(flow_run.id).name == expected


@pytest.mark.usefixtures("prefect_server")
def test_a_typed_name_of_a_run_that_takes_up_another_wins_too(config: PipelineConfig, core_calls: Counter[str]) -> None:
    pipeline(config)
    (recorded,) = [listed(run) for run in search(config.runtime)]
    assert recorded.name == run_name(config) and recorded.preset == "preset"
    assert recorded.differs and recorded.name.endswith(recorded.differs)
    given = {"run": recorded.run_id, "shard": 1, "settings": (f"runtime.root='{config.runtime.root}'",)}
    with get_client(sync_client=True) as client:
        for typed, expected in (("mended", "mended"), (None, f"{recorded.name} shard 1")):
            flow_run = client.create_flow_run(attribution_shard, parameters=given, name=typed)
            run_flow(attribution_shard, flow_run=flow_run, parameters=given)
            assert client.read_flow_run(flow_run.id).name == expected


@pytest.mark.usefixtures("prefect_server", "untracked")
def test_flow_run_has_a_speaking_name_and_shards_are_numbered(config: PipelineConfig, core_calls: Counter[str]) -> None:
    pipeline(changed(changed(config, "pairs", seed=5), "runtime", preset=""))
    run = newest_run()
    assert run.name == "llama · pairs.seed=5 · attribution.shards=3 · safety_neurons=5 · utility_neurons=4"
    with get_client(sync_client=True) as client:
        deadline = time.monotonic() + 20
        wanted = {
            "pairs",
            "scores",
            "selection",
            "cards",
            "scaling",
            "base",
            "tuned",
            "evaluation",
            "base-ability",
            "ability",
            "triggers",
            "report",
        }
        wanted |= {f"attribution shard {number}/3" for number in (1, 2, 3)}
        names: set[str] = set()
        while names != wanted and time.monotonic() < deadline:  # task runs are recorded by a service, a little later
            names = {task_run.name for task_run in client.read_task_runs() if task_run.flow_run_id == run.id}
            time.sleep(0.2)
    assert names == wanted
