"""The causal study as a flow: parts side by side, reused when finished, of a recorded run or of a configuration."""

from collections import Counter
from typing import Any

import pandas as pd
import pytest
from pipeline_runs import page_of

from flows.causal import causal, causal_study
from flows.pipeline import pipeline
from flows.shards import ShardError
from flows.study import study
from neurontune_core import artifacts, tables
from neurontune_core.causal.measure import COLUMNS
from neurontune_core.config import PipelineConfig
from neurontune_core.errors import InputError
from neurontune_core.evaluation import report
from tasks import causal as tasks
from tasks.recording.mlflow_store import Tracking, tracking_uri
from tasks.recording.run_list import store_of
from tasks.recording.tracking import earlier_runs

pytestmark = pytest.mark.usefixtures("prefect_server")


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch, core_calls: Counter[str]) -> list[list[str]]:
    """Replace prompts and answers by fakes; return the cells of every part that was measured."""
    parts: list[list[str]] = []

    def measure(study: Any, cells: Any, track: Any) -> pd.DataFrame:
        parts.append([cell.neurons for cell in cells])
        rows = [
            (cell.neurons, cell.share, cell.intervention, cell.matched, 3, group, f"p{number}", "q", "safety",
             "refusal" if number < 2 else "compliance", "a", float("nan"))
            for cell in cells for group in cell.groups for number in range(4)
        ]  # fmt: skip
        return pd.DataFrame(rows, columns=list(COLUMNS))

    monkeypatch.setattr(tasks.prompts, "grouped_prompts", lambda *_: {"harmful_plain": []})
    monkeypatch.setattr(tasks.prompts, "prompts_with_room", lambda found, *_: (found, pd.DataFrame()))
    monkeypatch.setattr(tasks.measure, "measure_cells", measure)
    return parts


def places(config: PipelineConfig, *more: str) -> tuple[str, ...]:
    return (f"runtime.root='{config.runtime.root}'", *more)


def test_the_neurons_of_a_recorded_run_are_studied_in_parts(
    config: PipelineConfig, measured: list[list[str]], core_calls: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline(config)
    earlier: list[Any] = []
    monkeypatch.setattr(
        report, "render_report", lambda record: (earlier.append(record.earlier), ", ".join(record.causal))[1]
    )
    before = Counter(core_calls)
    settings = places(config, "causal.shards=3", "causal.draws=2", "causal.counts=[0.1]")
    result = causal("latest", settings)
    folder = artifacts.open_folder(result["causal"])
    curves = (artifacts.open_folder(result["report"]) / "report.html").read_text(encoding="utf-8").split(", ")
    assert curves == ["harmful plain: zero", "harmful plain: mean"], "the run's report has the curves"
    place = Tracking(uri=tracking_uri(config.runtime), experiment_id=store_of(config.runtime)[1])
    other = artifacts.at(config.runtime.root, "evaluation", "other")
    assert len(earlier_runs(place, other)) == 1 and earlier == [[]], "a run is not earlier than itself"
    table = tables.load_table(folder, "table")
    assert set(table["neurons"]) >= {"no change", "empty set", "safety", "opposing", "random 2"}
    assert "Cause and effect" in page_of(folder)
    assert len(measured) == 3 and core_calls == before, "nothing of the pipeline runs again"
    assert causal("latest", settings)["causal"] == result["causal"] and len(measured) == 3
    causal("latest", (*settings, "causal.tokens=5"))
    assert len(measured) == 6, "another question is another study"


def test_a_failed_part_is_told_and_the_others_are_kept(
    config: PipelineConfig, measured: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"causal": config.causal.model_copy(update={"shards": 3, "counts": (0.1,)})}
    wanted = config.model_copy(update=settings)
    whole = tasks.measure.measure_cells

    def failing(study: Any, cells: Any, track: Any) -> pd.DataFrame:
        if any(cell.neurons == "no change" for cell in cells):
            raise ValueError("no luck")
        return whole(study, cells, track)

    with monkeypatch.context() as patch:
        patch.setattr(tasks.measure, "measure_cells", failing)
        with pytest.raises(ShardError, match=r"1 of 3 parts failed \(ValueError: no luck\)"):
            causal_study(wanted)
    assert len(measured) == 2
    made = causal_study(wanted)
    assert len(measured) == 3 and made["causal"].stage == "causal"


def test_only_what_is_asked_can_be_changed(config: PipelineConfig, measured: list[list[str]]) -> None:
    pipeline(config)
    with pytest.raises(InputError, match=r"'scaling.steps=3' would change the result; .* only causal\.\*, evaluation"):
        causal("latest", places(config, "scaling.steps=3"))
    with pytest.raises(InputError, match="no run has the name or id 'nobody'"):
        causal("nobody", places(config))
    assert measured == []


def test_rankings_are_compared_by_what_silencing_does(
    config: PipelineConfig, measured: list[list[str]], core_calls: Counter[str]
) -> None:
    common = places(
        config, "model.name=random:llama", "runtime.device=cpu", "causal.shards=1", "runtime.batch_tokens=3072"
    )
    variants = {
        "one": ("causal.interventions=[zero]",),
        "two": ("causal.interventions=[zero]", "selection.statistic=t"),
    }
    folder = artifacts.open_folder(study("rankings", "tiny", common, variants))
    page = page_of(folder)
    assert "| one | carry refusal | 50% |" in page and "| two | work against refusal | 50% |" in page
    assert core_calls["attribution"] == 2, "both rank the same scores"
