"""The pipeline's form in Prefect's UI: few fields, each explained, and a preset that fills the rest."""

from collections import Counter
from pathlib import Path
from typing import get_args

import pytest
import yaml
from prefect.client.orchestration import get_client
from prefect.flow_engine import run_flow
from prefect.utilities.callables import parameter_schema

from flows.form import FIELDS, PresetName, config_of, neurontune
from neurontune_core.config import PipelineConfig, load_config
from neurontune_core.errors import InputError
from neurontune_core.preset_files import preset_names
from tasks.recording.mlflow_store import client_of, tracking_uri
from tasks.recording.run_list import listed, search

EMPTY = {
    "preset": "tiny", "model": "", "harmful": [], "benign": [], "safety_neurons": None, "utility_neurons": None,
    "steps": None, "benchmarks": [], "settings": [], "name": "",
}  # fmt: skip
DEPLOYMENTS = yaml.safe_load((Path(__file__).parents[2] / "deployments" / "prefect.yaml").read_text())["deployments"]


def test_the_form_is_short_and_explains_itself() -> None:
    schema = parameter_schema(neurontune).model_dump()
    assert list(schema["properties"])[:2] == ["preset", "model"] and len(schema["properties"]) <= 12
    assert not schema["required"], "it can be submitted as it is"
    assert all(field["description"] for field in schema["properties"].values())
    assert schema["properties"]["preset"]["enum"] == preset_names() == list(get_args(PresetName))
    assert set(FIELDS) < set(schema["properties"])


@pytest.mark.parametrize("preset", preset_names())
def test_a_form_left_empty_is_the_preset(preset: str) -> None:
    assert config_of(EMPTY | {"preset": preset}) == load_config(preset)


def test_fields_and_settings_change_the_preset() -> None:
    config = config_of(
        EMPTY
        | {"model": "random:qwen2", "harmful": ["advbench"], "safety_neurons": 9.0, "steps": 5, "name": " my run "}
        | {"settings": ["scaling.steps=7", "attribution.shards=3"], "benchmarks": ["shipped", "advbench/heldout"]}
    )
    assert (config.model.name, config.pairs.harmful, config.scaling.steps) == ("random:qwen2", ("advbench",), 7)
    assert (config.selection.safety_neurons, config.attribution.shards, config.runtime.name) == (9, 3, "my run")
    assert config.evaluation.benchmarks == ("shipped", "advbench/heldout")
    typed = load_config("tiny", ["selection.safety_neurons=9"]).selection
    assert config.selection.model_dump_json() == typed.model_dump_json(), "of the same key, so selection is reused"
    with pytest.raises(InputError, match=r"scaling\.step: unknown field"):
        config_of(EMPTY | {"settings": ["scaling.step=7"]})


@pytest.mark.usefixtures("prefect_server")
def test_a_run_from_the_form_is_a_pipeline_run_with_its_preset(
    config: PipelineConfig, core_calls: Counter[str]
) -> None:
    given = {"preset": "tiny", "steps": 5, "settings": [f"runtime.root='{config.runtime.root}'", "runtime.device=cpu"]}
    with get_client(sync_client=True) as client:
        flow_run = client.create_flow_run(neurontune, parameters=given, name="xi3-crucis-void", tags=["pipeline"])
        run_flow(neurontune, flow_run=flow_run, parameters=given)
        assert client.read_flow_run(flow_run.id).name == "llama · tiny · steps=5"
    (run,) = search(config.runtime)
    assert (listed(run).name, listed(run).differs) == ("llama · tiny · steps=5", "steps=5")
    assert client_of(tracking_uri(config.runtime)).get_run(run.info.run_id).data.tags["preset"] == "tiny"


def test_what_starts_work_is_off_and_what_mends_is_for_runs_of_deployments_alone() -> None:
    triggers = {each["name"]: each for one in DEPLOYMENTS for each in one.get("triggers", [])}
    assert not triggers["evaluate a new alpha"]["enabled"]
    assert all(not schedule["active"] for one in DEPLOYMENTS for schedule in one.get("schedules", []))
    for name, trigger in triggers.items():
        if name.startswith("resume"):
            assert {"prefect.resource.role": "deployment"} in trigger["match_related"]
    assert triggers["resume a run whose machine is gone"]["expect"] == ["prefect.flow-run.*"]
