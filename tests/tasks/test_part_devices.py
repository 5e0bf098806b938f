"""The parts of the causal and the robustness study say which device computed them, and so do their tables."""

from types import ModuleType
from typing import Any

import pytest

from neurontune_core import artifacts
from neurontune_core.config import load_config
from neurontune_core.model.source import ModelReference
from neurontune_core.records import Artifact
from tasks import causal, robustness
from tasks.recording.mlflow_store import Tracking
from tasks.stage import StageRun

MADE = Artifact("pairs", "key", "uri", "digest")
MODEL = ModelReference(
    name="m", revision=None, dtype="float32", working_dtype="float32", system_prompt=None, weights="w",
    neurons_per_layer=(8,),
)  # fmt: skip


def written(module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Let the tasks of a module compute nothing; the list returned collects the settings of their manifests."""
    found: list[dict[str, Any]] = []
    monkeypatch.setattr(module, "carry_out", lambda stage, run, fill, settings, inputs: found.append(settings))
    return found


@pytest.mark.parametrize("module", [causal, robustness])
def test_devices_are_in_the_manifests_of_parts_and_table(
    module: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    config = load_config("tiny", [f"runtime.root='{tmp_path}'", "runtime.device=cpu"])
    run, found = StageRun("key", config.runtime, Tracking(uri="")), written(module, monkeypatch)
    if module is causal:
        study = causal.CausalInputs(
            config.causal, config.selection, config.evaluation, config.attribution.method, MADE, MADE, MADE, (), MODEL
        )
        causal.measure_part.fn(study, 0, run)
    else:
        attacked = robustness.RobustnessInputs(config.robustness, config.evaluation, MADE, MADE, (), MODEL)
        robustness.measure_part.fn(attacked, 0, None, run)
    own = getattr(config, module.STAGE)
    parts = [
        artifacts.write(str(tmp_path), module.PART, f"{number}" * 32, lambda _: {}, settings)
        for number, settings in enumerate([found[0], own.model_dump(mode="json")])
    ]
    module.summarise_parts.fn(own, parts, run)
    assert found[0] == own.model_dump(mode="json") | {"device": "cpu"}
    assert found[1]["parts"] == [{"part": 1, "device": "cpu"}, {"part": 2, "device": "not known"}]
