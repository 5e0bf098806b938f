"""Registered models, and what keeps a run from becoming champion."""

import shutil
from pathlib import Path

import pytest
from recorded_runs import factors, record_run

from neurontune_core.config import PipelineConfig
from neurontune_core.errors import InputError
from neurontune_core.export.alpha import load_alpha
from neurontune_core.model import source
from tasks.recording.mlflow_store import client_of, tracking_uri
from tasks.recording.registry import check_name, promote, register, standing_of
from tasks.recording.runs import find_run

GOOD = ("h0", "h1", "h2", "h3")


def test_version_with_factors_card_and_alias(config: PipelineConfig) -> None:
    run = record_run(config, "first")
    client_of(tracking_uri(config.runtime)).log_text(run, "<p>report</p>", "report.html")
    made = register("first", "safe", "candidate", config.runtime)
    assert (made.name, made.version, made.run_id) == ("safe", "1", run)
    assert register(run, "safe", "other", config.runtime) == made, "a run has one version"
    client = client_of(tracking_uri(config.runtime))
    version = client.get_model_version_by_alias("safe", "other")
    assert version.tags["base_model"] == "random:llama" and version.description.startswith("# ")
    folder = Path(
        client.get_logged_model(version.source.removeprefix("models:/")).artifact_location.removeprefix("file://")
    )
    assert {path.name for path in folder.iterdir()} == {"alpha.safetensors", "alpha.json", "README.md", "report.html"}
    assert load_alpha(folder, source.describe(config.model)).neurons == factors(len("first")).neurons


def test_promotion_of_the_first_and_of_a_better_run(config: PipelineConfig) -> None:
    for name, refused in (("weak", ("h0",)), ("good", GOOD)):
        record_run(config, name, refused)
        promote(find_run(name, config.runtime), "safe", config.runtime, "Ada", "")
    version = client_of(tracking_uri(config.runtime)).get_model_version_by_alias("safe", "champion")
    assert str(version.version) == "2" and version.tags["approved_by"] == "Ada"
    weak = find_run("weak", config.runtime)
    with pytest.raises(InputError, match=r"the lower bound of its SU-F1, 0\.000, is below the champion's, 1\.000"):
        promote(weak, "safe", config.runtime, "Ada", " ")
    promote(weak, "safe", config.runtime, "Ada", "the other one leaks")
    version = client_of(tracking_uri(config.runtime)).get_model_version_by_alias("safe", "champion")
    assert str(version.version) == "1" and version.tags["override_reason"] == "the other one leaks"
    assert "lower bound" in version.tags["objections"]


def test_missing_evaluation_and_older_judge(config: PipelineConfig) -> None:
    record_run(config, "blind", evaluated=False)
    with pytest.raises(InputError, match="has no evaluation; run the pipeline again with its settings"):
        promote(find_run("blind", config.runtime), "safe", config.runtime, "Ada", "because")
    record_run(config, "old", GOOD, judge="rules 0")
    old = find_run("old", config.runtime)
    assert [
        "verdicts are by the judge rules 0, but this version has rules" in line
        for line in standing_of(old, "safe", config.runtime).objections
    ] == [True]
    with pytest.raises(InputError, match="judge rules 0"):
        promote(old, "safe", config.runtime, "Ada", "")


def test_a_champion_whose_evaluation_is_gone_does_not_stay_for_ever(config: PipelineConfig) -> None:
    for name in ("first", "second"):
        record_run(config, name, GOOD)
    promote(find_run("first", config.runtime), "safe", config.runtime, "Ada", "")
    gone = find_run("first", config.runtime).artifact("evaluation").uri.removeprefix("file://")
    shutil.rmtree(gone)
    second = find_run("second", config.runtime)
    with pytest.raises(InputError, match=r"the champion's evaluation cannot be read.*manifest.json is missing"):
        promote(second, "safe", config.runtime, "Ada", "")
    assert promote(second, "safe", config.runtime, "Ada", "the old one is gone").version == "2"


@pytest.mark.parametrize("name", ["", " ", "a/b", "a:b", "it's"])
def test_bad_names(name: str) -> None:
    with pytest.raises(InputError, match="cannot be the name of a registered model"):
        check_name(name)
