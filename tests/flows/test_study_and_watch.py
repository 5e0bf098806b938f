"""The smaller flows: a study of variants, evaluation of a recorded run, notices of failed runs."""

import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest
from pipeline_runs import page_of
from prefect.client.schemas.objects import State
from prefect.states import Crashed, Pending, Running

from flows import watch
from flows.evaluate import evaluate
from flows.pipeline import pipeline
from flows.study import study
from neurontune_core import artifacts, tables
from neurontune_core.baselines.fit import FittedBaseline
from neurontune_core.baselines.settings import SystemPromptSettings
from neurontune_core.baselines.system_prompt import SystemPrompt
from neurontune_core.config import PipelineConfig
from neurontune_core.data.settings import SourceConfig
from neurontune_core.errors import InputError
from neurontune_core.records import Artifact
from tasks.recording.runs import RecordedRun

pytestmark = pytest.mark.usefixtures("prefect_server", "untracked")


@pytest.fixture
def common(config: PipelineConfig) -> tuple[str, ...]:
    return ("model.name=random:llama", "selection.safety_neurons=5", "selection.utility_neurons=4",
            f"runtime.root='{config.runtime.root}'", "runtime.device=cpu")  # fmt: skip


def variants_of(result: Artifact) -> list[str]:
    folder = artifacts.open_folder(result)
    assert {file.name for file in folder.iterdir()} >= {"table.parquet", "page.md", "plot.svg"}
    return tables.load_table(folder, "table")["variant"].tolist()


def test_study_shares_what_its_variants_have_in_common(common: tuple[str, ...], core_calls: Counter[str]) -> None:
    own = {"one": ("evaluation.seed=1",), "two": ("evaluation.seed=2",)}
    result = study("own", "tiny", common, own)
    assert variants_of(result) == ["base model", "one", "two"]
    counts = {stage: core_calls[stage] for stage in ("pairs", "attribution", "scaling", "evaluation")}
    assert counts == {"pairs": 1, "attribution": 2, "scaling": 1, "evaluation": 2}
    assert study("own", "tiny", common, own) == result
    assert core_calls["evaluation"] == 2
    page = page_of(artifacts.open_folder(result))
    assert "neurontune study own --preset tiny --set" in page and "--variant 'one: evaluation.seed=1'" in page
    with pytest.raises(InputError, match="baselines"):
        study("own", "tiny")
    with pytest.raises(InputError, match="alpha"):
        study("own", "tiny", common, {"one": (), "wrong": ("scaling.alpha=2",)})
    assert core_calls["evaluation"] == 2, "all variants are checked before the first is run"


def test_the_rate_of_a_study_counts_computed_variants_only(
    common: tuple[str, ...], core_calls: Counter[str], caplog: pytest.LogCaptureFixture
) -> None:
    seeds = {f"seed {seed}": (f"evaluation.seed={seed}",) for seed in range(4)}
    study("own", "tiny", common, {name: seeds[name] for name in ("seed 0", "seed 2")})
    caplog.clear()
    study("own", "tiny", common, seeds)
    rates = [text for record in caplog.records if (text := record.getMessage()).startswith("study own: ")]
    reused = [int(text.split(" done, ")[1].split()[0]) for text in rates]
    assert reused == [1, 1, 2], "a line after each variant but the last"
    assert [" at this rate the others take " in text for text in rates] == [False, True, True], rates


def test_a_sweep_of_four_settings_uses_one_attribution(common: tuple[str, ...], core_calls: Counter[str]) -> None:
    counts = {f"{a} + {b}": (f"selection.safety_neurons={a}", f"selection.utility_neurons={b}")
              for a in (3, 7) for b in (2, 6)}  # fmt: skip
    result = study("neuron-count", "tiny", common, counts)
    assert variants_of(result) == ["base model", *counts]
    # the fake answers tell the sums of the counts alone, and the same answers are judged once
    several = {"cards": 4, "scaling": 4, "tuned": 4, "evaluation": 3}
    assert core_calls == {"pairs": 1, "attribution": 2, "base": 1, **several}


def test_layers_are_looked_at_without_learning(common: tuple[str, ...], core_calls: Counter[str]) -> None:
    folder = artifacts.open_folder(study("layers", "tiny", common))
    table = tables.load_table(folder, "table")
    assert (table["safety"].sum(), table["utility"].sum()) == (5, 4) and table["neurons"].tolist() == [48, 48]
    assert core_calls == {"pairs": 1, "attribution": 2}
    assert set(tables.load_table(folder, "overlap")["neurons"]) >= {1}
    assert "How far the two sets overlap" in page_of(folder)


def test_counts_are_chosen_on_validation_data(common: tuple[str, ...], core_calls: Counter[str]) -> None:
    result = study("automatic-count", "tiny", common, trials=4)
    folder = artifacts.open_folder(result)
    trials = tables.load_table(folder, "trials")
    assert trials.loc[0, ["safety_neurons", "utility_neurons"]].tolist() == [5, 4]
    best = trials.loc[trials["validation_score"].idxmax()]
    assert f"selection.safety_neurons={int(best['safety_neurons'])}" in page_of(folder)
    assert variants_of(result) == ["base model", "fixed default", "chosen by trials"]
    tried = trials[["safety_neurons", "utility_neurons"]].drop_duplicates()
    assert core_calls["scaling"] == len(tried) > 2, "each pair of counts is learned once"
    assert core_calls["evaluation"] <= 2, "trials look at no test prompt"


def test_settings_of_maml_are_chosen_on_validation_data(common: tuple[str, ...], core_calls: Counter[str]) -> None:
    second = ("scaling.method=maml", "scaling.order=second", "scaling.steps=1")
    variants = {"maml, first order": ("scaling.method=maml",), "maml, second order": second, "margin_fit": ()}
    folder = artifacts.open_folder(study("scaling-methods", "tiny", common, variants, trials=3))
    trials = tables.load_table(folder, "trials")
    searched = ["inner_learning_rate", "outer_learning_rate", "utility_weight", "support_batch", "steps"]
    assert list(trials) == ["trial", *searched, "validation_score"]
    assert trials.loc[0, searched].tolist() == [0.05, 0.1, 1.0, 4.0, 2.0], "the preset's own come first"
    tuned = ["chosen by trials", "chosen by trials, second order"]
    assert tables.load_table(folder, "table")["variant"].tolist() == ["base model", *variants, *tuned]
    assert core_calls["scaling"] == 6, "three trials, margin_fit, second order as set and as chosen"
    assert core_calls["evaluation"] <= 5, "trials look at no test prompt"
    assert "--trials 3" in page_of(folder)


def test_a_study_of_other_variants_searches_nothing(common: tuple[str, ...], core_calls: Counter[str]) -> None:
    folder = artifacts.open_folder(study("scaling-methods", "tiny", common, {"margin_fit": ()}, trials=3))
    assert not (folder / "trials.parquet").exists() or tables.load_table(folder, "trials").empty
    assert core_calls["scaling"] == 1


def test_rivals_have_a_search_each_and_the_page_tells_it(
    common: tuple[str, ...], core_calls: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, int]] = []

    def fit_baseline(pairs: Any, neurons: Any, config: Any, *_: Any) -> FittedBaseline:
        asked.append((config.method, config.trials))
        trials = [{"trial": 0.0, "learning_rate": 0.005, "validation_score": 0.25},
                  {"trial": 1.0, "learning_rate": 0.02, "validation_score": 0.5}]  # fmt: skip
        lost = {"examples": 8.0, "harmful_left_out": 2.0, "harmless_left_out": 1.0} if config.method == "dpo" else {}
        return FittedBaseline(SystemPrompt("x"), {"parameters": 7.0, "trials": 2.0} | lost, trials)

    monkeypatch.setattr("tasks.baseline.fit.fit_baseline", fit_baseline)
    variants = {"NeuronTune": (), "LoRA": ("baseline.method=lora",),
                "DPO": ("baseline.method=dpo", "baseline.trials=3")}  # fmt: skip
    folder = artifacts.open_folder(study("baselines", "tiny", common, variants, trials=5))
    assert asked == [("lora", 5), ("dpo", 3)], "a variant's own number of trials is kept"
    found = tables.load_table(folder, "trials")
    assert found["variant"].tolist() == ["LoRA", "LoRA", "DPO", "DPO"]
    assert found["validation_score"].tolist() == [0.25, 0.5] * 2
    page = page_of(folder)
    for part in ("## Budget and search", "2 steps of 2 harmful and 2 harmless ones, 8 draws at most", "--trials 5",
                 "| LoRA | 2 | learning rate 0.02 | 0.500 | 0.250 |", "| DPO | 1 | learning rate 0.02 | 0.500 |",
                 "DPO needs a chosen and a rejected answer", "leaves out 3 of its 8 training prompts: 2 harmful",
                 "without a search;", "--set baseline.trials=5"):  # fmt: skip
        assert part in page, part


def test_what_selection_is_worth_with_the_numbers_of_a_small_model(
    common: tuple[str, ...], core_calls: Counter[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One seed of the shipped study: attributed neurons, five random sets, and all neurons."""

    def fit_baseline(*_: Any) -> FittedBaseline:
        return FittedBaseline(SystemPrompt("x"), {"parameters": 96.0})

    monkeypatch.setattr("tasks.baseline.fit.fit_baseline", fit_baseline)
    with pytest.raises(InputError, match="no number of neurons has variants of both"):
        study("selection-worth", "tiny", common, only=("attributed",))
    assert not core_calls
    folder = artifacts.open_folder(study("selection-worth", "tiny", common, only=("seed 0",)))
    (row,) = tables.load_table(folder, "table").to_dict("records")
    assert (row["neurons"], row["sets"], row["seeds"]) == (24, 5, 1)
    every = tables.load_table(folder, "variants")
    assert every["parameters"].tolist() == [0, *[24] * 6, 96], "random sets are as large as the attributed one"
    names = every["variant"].tolist()
    assert len(names) == 8 and {"attributed, 12 + 12, seed 0", "(IA)3, all neurons, seed 0"} < set(names)
    page = page_of(folder)
    assert page.index("**Verdict: with 24 neurons") < page.index("## Every variant")
    assert "--only 'seed 0'" in page
    told = [record.getMessage() for record in caplog.records]
    assert "the model has few neurons, so at most 12 safety and 12 utility neurons are compared" in told
    rate = "study selection-worth: 6 of 7 variants done, 0 of them reused; the computed ones took "
    assert any(line.startswith(rate) for line in told)
    caplog.clear()
    study("selection-worth", "tiny", common, only=("seed 0",))
    told = [record.getMessage() for record in caplog.records]
    assert "study selection-worth: 6 of 7 variants done, 6 of them reused" in told, "no rate from reused variants"


def test_a_missing_package_is_told_before_any_variant_is_run(
    common: tuple[str, ...], core_calls: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(InputError, match=r"lora needs peft; pip install 'neurontune\[studies\]'"):
        study("baselines", "tiny", common)
    assert not core_calls


def test_a_baseline_stands_in_for_the_factors(config: PipelineConfig, core_calls: Counter[str]) -> None:
    made = pipeline(config.model_copy(update={"baseline": SystemPromptSettings()}))
    assert "baseline" in made and "scaling" not in made
    assert core_calls == {"pairs": 1, "attribution": 3, "cards": 1, "base": 1, "tuned": 1, "evaluation": 1}


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

    monkeypatch.setattr("flows.inputs.check_counts", fail)
    monkeypatch.setattr(watch, "SETTLE_SECONDS", 0)
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
