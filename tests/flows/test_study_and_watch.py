"""The smaller flows: a study of variants, evaluation of a recorded run, notices of failed runs."""

from collections import Counter
from typing import Any

import pytest

from flows import watch
from flows.evaluate import evaluate
from flows.pipeline import pipeline
from flows.study import STUDIES, study
from neurontune_core.config import PipelineConfig, load_config
from neurontune_core.errors import InputError
from tasks import tracking
from tasks.mlflow_store import Tracking
from tasks.runs import RecordedRun

pytestmark = pytest.mark.usefixtures("prefect_server")


@pytest.fixture(autouse=True)
def untracked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking, "start_run", lambda *_: Tracking(uri=""))


@pytest.mark.parametrize("name", STUDIES)
def test_variants_of_shipped_studies_are_valid_settings(name: str) -> None:
    variants = {load_config("tiny", settings).model_dump_json() for settings in STUDIES[name].values()}
    assert len(variants) == len(STUDIES[name])


def test_study_shares_what_its_variants_have_in_common(config: PipelineConfig, core_calls: Counter[str]) -> None:
    common = ("model.name=random:llama", "selection.safety_neurons=5", "selection.utility_neurons=4",
              f"runtime.root='{config.runtime.root}'", "runtime.device=cpu")  # fmt: skip
    rows = study("own", "tiny", common, {"one": ("evaluation.seed=1",), "two": ("evaluation.seed=2",)})
    assert [row["variant"] for row in rows] == ["one", "two"]
    counts = {stage: core_calls[stage] for stage in ("pairs", "attribution", "scaling", "evaluation")}
    assert counts == {"pairs": 1, "attribution": 2, "scaling": 1, "evaluation": 2}
    with pytest.raises(InputError, match="random-neurons"):
        study("own", "tiny")


def test_evaluation_of_a_recorded_run(
    config: PipelineConfig, core_calls: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = pipeline(config)
    found = RecordedRun("abc", "llama", "FINISHED", config, {name: each for name, each in made.items()})
    asked: list[bool] = []

    def find(run: str, runtime: Any, finished: bool) -> RecordedRun:
        asked.append(finished)
        return found

    monkeypatch.setattr("flows.evaluate.find_run", find)
    assert evaluate() == made["evaluation"] and asked == [True], "the latest is that which ended well"
    assert evaluate("abc") == evaluate("abc", ("shipped",)) == made["evaluation"]
    assert core_calls["tuned"] == core_calls["evaluation"] == 1
    assert evaluate("abc", force=True) == made["evaluation"]
    assert core_calls["tuned"] == core_calls["evaluation"] == 2
    assert core_calls["scaling"] == 1


def test_failed_run_is_told_of_and_one_without_a_deployment_left_alone(
    config: PipelineConfig, core_calls: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.sorting import FlowRunSort

    def fail(*_: Any) -> None:
        raise InputError("selection: broken on purpose")

    monkeypatch.setattr("flows.pipeline.check_counts", fail)
    with pytest.raises(InputError):
        pipeline(config)
    with get_client(sync_client=True) as client:
        (run,) = client.read_flow_runs(sort=FlowRunSort.EXPECTED_START_TIME_DESC, limit=1)
    said = watch.notify(run.id)
    assert said.startswith(run.name) and "Failed" in said and "broken on purpose" in said
    assert watch.resume(run.id) is False
