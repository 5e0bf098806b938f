"""`neurontune ability`: cached scores of both models beside the run's own results, in MLflow, report and card."""

from collections import Counter
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from flows.ability import ability
from flows.pipeline import pipeline
from neurontune_core import artifacts
from neurontune_core.config import PipelineConfig
from neurontune_core.errors import InputError
from tasks import harness as tasks
from tasks import report
from tasks.recording import tuned
from tasks.recording.runs import find_run

pytestmark = pytest.mark.usefixtures("prefect_server")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, core_calls: Counter[str]) -> list[bool]:
    """Replace the harness by a fake; return, for every time a model was asked, whether it had been changed."""
    times: list[bool] = []

    def ask(chat: Any, wanted: Any, track: Any) -> tuple[pd.DataFrame, pd.DataFrame]:
        times.append(hasattr(chat, "changed"))
        right = 0.25 if times[-1] else 0.5
        rows = pd.DataFrame(
            {
                "task": "mmlu",
                "metric": "acc",
                "row": range(8),
                "value": [1.0] * int(8 * right) + [0.0] * int(8 - 8 * right),
            }
        )
        return pd.DataFrame({"task": ["mmlu"], "metric": ["acc"], "value": [right], "n": [8]}), rows

    class Changed:
        def __enter__(self) -> Any:
            return type("Chat", (), {"changed": True})()

        def __exit__(self, *_: Any) -> None: ...

    monkeypatch.setattr(tasks.harness, "model_scores", ask)
    monkeypatch.setattr(tasks.harness, "check_tasks", lambda wanted: None)
    monkeypatch.setattr(tasks.harness, "task_digests", lambda wanted: ["lm_eval 1"])
    monkeypatch.setattr(tasks, "load_change", lambda *_: SimpleNamespace(applied=lambda chat: Changed()))
    return times


def places(config: PipelineConfig) -> tuple[str, ...]:
    return (f"runtime.root='{config.runtime.root}'",)


def test_scores_stand_beside_the_results_of_the_run(
    config: PipelineConfig, asked: list[bool], core_calls: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[Any] = []
    monkeypatch.setattr(report.report, "render_report", lambda record: (shown.append(record), "<h1></h1>")[1])
    first = pipeline(config)
    before = Counter(core_calls)
    made = ability("latest", ("mmlu",), settings=places(config))
    assert asked == [False, True] and core_calls == before
    assert made["evaluation"] == first["evaluation"]
    facts = artifacts.read_manifest(made["harness"])["facts"]
    assert (facts["harness/mmlu/acc_base"], facts["harness/mmlu/acc"], facts["harness/mmlu/acc_n"]) == (0.5, 0.25, 8)
    assert shown[-1].facts["harness/harness/mmlu/acc"] == 0.25 and "eval/su_f1" in shown[-1].facts
    recorded = find_run("latest", config.runtime, finished=True)
    assert recorded.stages["evaluation"].key == first["evaluation"].key, "it is the run itself"
    metrics = tuned.facts_of_run(recorded)
    assert {"harness/mmlu/acc", "harness/mmlu/acc_base", "eval/su_f1", "ability/accuracy"} <= set(metrics)
    card = tuned.card_of(tuned.find_tuned("latest", config.runtime))
    assert "| mmlu/acc | 50.0% | 25.0% | difference -25.0%" in card and "Safety-Utility F1" in card
    ability("latest", ("mmlu",), settings=places(config))
    assert asked == [False, True], "what was asked is not asked again"


@pytest.mark.slow
def test_another_tuning_reuses_the_base_model_s_scores(config: PipelineConfig, asked: list[bool]) -> None:
    pipeline(config)
    ability("latest", ("mmlu",), settings=places(config))
    other = config.selection.model_copy(update={"safety_neurons": 6})
    pipeline(config.model_copy(update={"selection": other}))
    ability("latest", ("mmlu",), settings=places(config))
    assert asked == [False, True, True]
    ability("latest", ("mmlu",), limit=3, settings=places(config))
    assert asked[3:] == [False, True], "other rows are another question"


def test_what_cannot_be_asked_is_found_first(
    config: PipelineConfig, asked: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    def check(wanted: Any) -> None:
        raise InputError("--tasks: unknown task")

    monkeypatch.setattr(tasks.harness, "check_tasks", check)
    with pytest.raises(InputError, match="unknown task"):
        ability("nobody", ("mmluu",), settings=places(config))
    assert asked == []
