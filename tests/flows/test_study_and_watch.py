"""The smaller flows: a study of variants, evaluation of a recorded run, notices of failed runs."""

from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect.client.schemas.objects import State
from prefect.states import Crashed, Pending, Running

from flows import watch
from flows.evaluate import evaluate
from flows.pipeline import pipeline
from flows.study import STUDIES, study
from neurontune_core.config import PipelineConfig, SourceConfig, load_config
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
    with pytest.raises(InputError, match=r"evaluation\.sources\.advbench\.path: no file gone"):
        evaluate("abc", ("advbench",), {"advbench": SourceConfig(path="gone")})
    file = Path(__file__).parents[1] / "data" / "datasets" / "advbench_harmful_behaviors.csv"
    evaluate("abc", ("advbench",), {"advbench": SourceConfig(path=str(file))})
    assert core_calls["base"] == 3


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


class FakeClient:
    """A Prefect API whose run is in one state after another, each time somebody looks."""

    def __init__(self, states: list[State], run_count: int = 1) -> None:
        self.states, self.run_count, self.given = list(states), run_count, []  # type: ignore[var-annotated]

    def __enter__(self) -> "FakeClient":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def read_flow_run(self, run: UUID) -> Any:
        state = self.states.pop(0)
        return SimpleNamespace(name="llama", state=state, deployment_id=uuid4(), run_count=self.run_count)

    def set_flow_run_state(self, run: UUID, state: State, force: bool) -> None:
        self.given.append(state.name)


CRASHED, RUNNING = Crashed(id=uuid4()), Running(id=uuid4())


@pytest.mark.parametrize(
    ("states", "silent", "run_count", "resumed"),
    [
        ([CRASHED, CRASHED], False, 1, True),
        ([CRASHED, Crashed(id=uuid4())], False, 1, False),  # the worker's second report starts one of its own
        ([CRASHED, Pending(id=uuid4())], False, 1, False),  # a person was faster
        ([RUNNING, RUNNING], False, 1, False),  # resumed before
        ([RUNNING, RUNNING], True, 1, True),
        ([CRASHED, CRASHED], True, 1, False),  # not silent: the other automation's
        ([CRASHED, CRASHED], False, 5, False),
    ],
)
def test_which_runs_are_resumed(
    states: list[State], silent: bool, run_count: int, resumed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = FakeClient(states, run_count)
    monkeypatch.setattr(watch, "get_client", lambda sync_client: client)
    monkeypatch.setattr(watch, "SETTLE_SECONDS", 0)
    assert watch.resume.fn(uuid4(), silent) is resumed
    assert client.given == (["AwaitingRetry"] if resumed else [])
