"""The pipeline with fake core functions: what is computed, and what is reused."""

import shutil
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from pipeline_runs import ALL_ONCE, changed, folder

from flows.first_stages import pairs_only, selection_only
from flows.pipeline import pipeline
from neurontune_core import artifacts, tables
from neurontune_core.attribution.shard import attribute_shard
from neurontune_core.config import PipelineConfig
from neurontune_core.evaluation.settings import KeywordSettings
from neurontune_core.model.load import load
from neurontune_core.records import Artifact
from tasks import attribution, evaluation, models, scaling

pytestmark = pytest.mark.usefixtures("prefect_server", "untracked")


def test_second_run_reuses_every_stage(config: PipelineConfig, core_calls: Counter[str]) -> None:
    first = pipeline(config)
    assert core_calls == ALL_ONCE
    assert pipeline(config) == first
    assert core_calls == ALL_ONCE
    records = [path for path in (Path(config.runtime.root) / ".prefect-results").rglob("*") if path.is_file()]
    assert len(records) == 11 + 3, "a record a stage and a record a shard"
    assert all(b"pickle" not in path.read_bytes() for path in records)
    for path in records:
        path.unlink()
    assert pipeline(config) == first, "an artifact made elsewhere, which Prefect knows nothing of, is reused too"
    assert core_calls == ALL_ONCE


def test_pairs_alone_are_those_of_the_pipeline(config: PipelineConfig, core_calls: Counter[str]) -> None:
    alone = pairs_only(config)
    assert core_calls == {"pairs": 1}
    assert {file.name for file in folder(alone).glob("*.parquet")} == {
        "own_refusals.parquet",
        "pairs.parquet",
        "ranking.parquet",
        "rejected.parquet",
        "sources.parquet",
    }
    assert pipeline(config)["pairs"] == alone
    assert core_calls == ALL_ONCE


def test_damaged_artifact_is_computed_again(config: PipelineConfig, core_calls: Counter[str]) -> None:
    first = pipeline(config)
    file = folder(first["pairs"]) / "pairs.parquet"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    assert pipeline(config) == first
    assert core_calls == ALL_ONCE | {"pairs": 2}
    file.unlink()
    assert pipeline(config) == first
    assert core_calls == ALL_ONCE | {"pairs": 3}
    shutil.rmtree(file.parent)
    assert pipeline(config) == first
    assert core_calls == ALL_ONCE | {"pairs": 4}


def test_changed_section_runs_from_there(config: PipelineConfig, core_calls: Counter[str]) -> None:
    pipeline(config)
    pipeline(changed(config, "runtime", retries=0, batch_tokens=64, threads=1, memory_mib=64))
    assert core_calls == ALL_ONCE, "where a run is carried out is in no key"
    pipeline(changed(config, "evaluation", max_new_tokens=7))
    assert core_calls == ALL_ONCE | {"base": 2, "tuned": 2, "evaluation": 2}
    pipeline(changed(config, "evaluation", max_new_tokens=7, judge=KeywordSettings(), also_judges=("rules",)))
    assert core_calls == ALL_ONCE | {"base": 2, "tuned": 2, "evaluation": 3}, "judged again without generating"
    pipeline(changed(config, "selection", safety_neurons=7))
    assert core_calls == ALL_ONCE | {"cards": 2, "scaling": 2, "base": 2, "tuned": 3, "evaluation": 4}, (
        "base answers are shared"
    )
    pipeline(changed(config, "pairs", seed=1))
    assert core_calls == {
        "pairs": 2,
        "attribution": 6,
        "cards": 3,
        "scaling": 3,
        "base": 3,
        "tuned": 4,
        "evaluation": 5,
    }


def test_raised_stage_version_runs_stage_again(
    config: PipelineConfig, core_calls: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline(config)
    monkeypatch.setattr(scaling.learn, "VERSION", scaling.learn.VERSION + 1)
    pipeline(config)
    assert core_calls == ALL_ONCE | {"scaling": 2}


def test_refresh_computes_named_stages_only(config: PipelineConfig, core_calls: Counter[str]) -> None:
    pipeline(config)
    pipeline(config, refresh=("attribution", "evaluation"))
    assert core_calls == ALL_ONCE | {"attribution": 6, "evaluation": 2}


@pytest.mark.parametrize("method", ["integrated_gradients", "gradient", "mask", "activation"])
def test_every_method_goes_through_shards_and_merge(
    config: PipelineConfig,
    core_calls: Counter[str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    method: str,
) -> None:
    monkeypatch.setattr(attribution.shards, "attribute_shard", attribute_shard)
    monkeypatch.setattr(models, "load", load)
    chosen = changed(config, "attribution", method=method)
    with caplog.at_level("INFO", "neurontune"):
        made = selection_only(chosen)
    (line,) = [record.getMessage() for record in caplog.records if record.getMessage().startswith("attribution ")]
    assert "3 shards" in line and ("completeness gap" in line) == (method == "integrated_gradients")
    merged = tables.load_table(artifacts.open_folder(made["scores"]), "scores")
    wanted = dict.fromkeys(("safety", "utility"), 6)
    assert merged[merged["layer"].eq(1) & merged["neuron"].eq(47)].groupby("role")["count"].sum().to_dict() == wanted
    parts = [artifacts.find(config.runtime.root, "attribution", path.name)
             for path in (Path(config.runtime.root) / "attribution").iterdir()]  # fmt: skip
    folders = [artifacts.open_folder(part) for part in parts if part]
    assert len(folders) == 3
    expected = 2 * 4 * 3 if method == "integrated_gradients" else 0  # layers, checked pairs, shards
    assert sum(len(tables.load_table(each, "completeness")) for each in folders) == expected


def test_two_runs_at_once_compute_each_artifact_once(config: PipelineConfig, core_calls: Counter[str]) -> None:
    results: list[dict[str, Artifact]] = []
    threads = [threading.Thread(target=lambda: results.append(pipeline(config))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    assert len(results) == 2 and results[0] == results[1]
    assert core_calls == ALL_ONCE


def test_transient_error_is_retried(
    config: PipelineConfig, core_calls: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluate, errors = evaluation.evaluate.evaluate, [ConnectionResetError("gone"), TimeoutError("late")]

    def flaky(*args: Any) -> Any:
        if errors:
            raise errors.pop()
        return evaluate(*args)

    monkeypatch.setattr(evaluation.evaluate, "evaluate", flaky)
    pipeline(config)
    assert core_calls == ALL_ONCE
