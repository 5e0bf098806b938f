"""What MLflow 3 shows of a run besides its runs: the tuned model, the answers as traces, and the description."""

from typing import Any

import pandas as pd
import pytest
from recorded_runs import completions, record_run
from sqlalchemy import Engine, event

from neurontune_core.config import PipelineConfig
from neurontune_core.records import Artifact
from tasks.recording import kept_records, mlflow_answers, mlflow_models, mlflow_spool, mlflow_store, step_runs, tracking
from tasks.recording.mlflow_models import mlflow_model_name
from tasks.recording.mlflow_store import Tracking, client_of, tracking_uri
from tasks.recording.registry import register
from tasks.recording.runs import find_run


def finished(config: PipelineConfig, name: str) -> tuple[Tracking, list[Artifact]]:
    """Record a run from its start to its end, with the artifacts of a recorded one; return them."""
    made = list(find_run(record_run(config, f"made for {name}", ("h0", "h1")), config.runtime).made)
    record = tracking.start_run(config, name, "model")
    client_of(record.uri).set_tag(record.run_id, tracking.FLOW_TAG, tracking.PIPELINE)
    with step_runs.step(record, "scaling", made[3].key, {}, []) as step:
        step_runs.record_artifact(record, step, made[3])
    step_runs.record_reused(record, made[4])
    tracking.finish_run(record, made, None)
    return record, made


def models(config: PipelineConfig) -> list[Any]:
    return list(client_of(tracking_uri(config.runtime)).search_logged_models(["1"]))


def traces(config: PipelineConfig) -> list[Any]:
    return list(client_of(tracking_uri(config.runtime)).search_traces(locations=["1"], max_results=200))


def test_a_tuned_model_is_there_before_it_is_registered(config: PipelineConfig) -> None:
    record, made = finished(config, "model 0.5b · steps=3")
    client = client_of(tracking_uri(config.runtime))
    (model,) = models(config)
    assert (model.name, model.status, model.source_run_id) == ("model 0_5b · steps=3", "READY", record.run_id)
    metrics = {metric.key: metric.value for metric in model.metrics}
    assert {"eval/su_f1", "eval/safety", "eval/utility", "scaling/loss_last"} <= set(metrics)
    first = [metric.key for metric in model.metrics[:3]]
    assert first == ["eval/su_f1", "eval/safety", "eval/utility"], "the first columns of MLflow's table of models"
    assert model.params["scaling.steps"] == str(config.scaling.steps)
    digests = {artifact.stage: artifact.digest for artifact in made}
    assert model.tags["input.pairs"] == digests["pairs"] and model.tags["output.scaling"] == digests["scaling"]
    assert [file.path for file in client.list_logged_model_artifacts(model.model_id)] == ["alpha.safetensors"]
    version = register(record.run_id, "safe", "candidate", config.runtime)
    assert [one.model_id for one in models(config)] == [model.model_id], "registering makes no second model"
    shown = client.get_model_version("safe", version.version).description
    assert shown.startswith("# ") and "library_name" not in shown


def test_only_the_answers_of_both_models_are_evaluation_runs(config: PipelineConfig) -> None:
    record, _ = finished(config, "mine")
    client = client_of(tracking_uri(config.runtime))
    runs = list(client.search_runs(["1"]))
    own = [run for run in runs if run.data.tags.get("mlflow.parentRunId", run.info.run_id) == record.run_id]
    assert len(own) == 3 and all(run.outputs.model_outputs for run in own), "the run and its two steps"
    answers = [run for run in runs if run.data.tags.get("step.name") == "answers"]
    assert {run.info.run_name for run in answers} == {"base · mine", "tuned · mine"}
    assert not any(run.outputs.model_outputs for run in answers), "MLflow lists them as evaluation runs"
    assert not any("mlflow.parentRunId" in run.data.tags for run in answers), "MLflow would list them below nothing"
    assert all(f"runs/{record.run_id})" in run.data.tags["mlflow.note.content"] for run in answers)
    assert {run.info.status for run in [*own, *answers]} == {"FINISHED"}


def test_no_trace_is_inserted_twice(config: PipelineConfig) -> None:
    failed: list[object] = []
    note = failed.append
    event.listen(Engine, "handle_error", note)
    try:
        finished(config, "mine")
    finally:
        event.remove(Engine, "handle_error", note)
    assert len(traces(config)) == 16 and not failed


def test_answers_are_traces_with_verdicts_and_harmful_text_is_masked(config: PipelineConfig) -> None:
    record, _ = finished(config, "mine")
    found = traces(config)
    assert len(found) == 16
    for trace in found:
        verdict, wanted = (one.feedback.value for one in trace.info.assessments)
        answer = str(trace.data.spans[0].outputs)
        harmful = "masked" in trace.info.request_preview
        assert trace.data.spans[0].inputs["prompt"] == trace.info.request_preview
        assert ("masked" in answer) == harmful == trace.info.tags["benchmark"].startswith("safety")
        assert wanted == ((verdict == "refusal") == harmful)
        assert trace.info.assessments[0].source.source_id.startswith("rules ")
    prompts = [trace.info.request_preview for trace in found]
    assert len(set(prompts)) == 8, "both models were asked the same, so that MLflow pairs them"
    note = client_of(tracking_uri(config.runtime)).get_run(record.run_id).data.tags["mlflow.note.content"]
    assert "| **SU-F1** |" in note and "| refused: safety plain | 0% [" in note
    assert models(config)[0].tags["mlflow.note.content"] == note, "the model has the same description"


def test_the_run_and_its_evaluation_step_show_the_traces_and_how_many_prompts_they_are(
    config: PipelineConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mlflow_answers, "MOST_PROMPTS", 6)
    record, _ = finished(config, "mine")
    client = client_of(tracking_uri(config.runtime))
    (step,) = client.search_runs(["1"], "tags.`step.name` = 'evaluation' and tags.`step.outcome` = 'cached'")
    assert step.data.tags["mlflow.parentRunId"] == record.run_id
    for run in (record.run_id, step.info.run_id):
        assert len(client.search_traces(locations=["1"], run_id=run)) == 12
    answers = client.search_runs(["1"], "tags.`step.name` = 'answers'")
    notes = [run.data.tags["mlflow.note.content"] for run in [*answers, client.get_run(record.run_id)]]
    assert len(notes) == 3 and all("6 of 8 prompts, an equal share of each benchmark" in note for note in notes)


@pytest.mark.parametrize(("verdict", "shown"), [("refusal", ["verdict", "as wanted"]), ("unscored", ["verdict"])])
def test_an_answer_that_was_not_scored_is_neither_wanted_nor_unwanted(verdict: str, shown: list[str]) -> None:
    row = {"verdict": verdict, "refused": verdict == "refusal", "broken": False, "role": "utility", "judge": "rules 11"}
    assert [each.name for each in mlflow_answers._verdicts("0" * 32, row, "a run")] == shown


def test_the_plain_request_is_not_in_a_masked_table() -> None:
    row = {"benchmark": "b", "id": "h0", "role": "safety", "prompt": "DAN: a request", "query": "a request"}
    table = mlflow_answers.masked(pd.DataFrame([row | {"completion": "an answer"}]), Tracking(uri=""))
    assert "a request" not in table.to_json()


def test_harmful_text_is_shown_where_a_setting_says_so(config: PipelineConfig) -> None:
    runtime = config.runtime.model_copy(update={"harmful_text": "shown"})
    finished(config.model_copy(update={"runtime": runtime}), "open")
    assert "prompt h0" in {trace.info.request_preview for trace in traces(config)}


def test_a_run_without_factors_leaves_no_model(config: PipelineConfig) -> None:
    record = tracking.start_run(config, "failed", "model")
    assert [model.status for model in models(config)] == ["PENDING"]
    tracking.finish_run(record, [], ValueError("a bug"))
    assert models(config) == []


def test_records_sent_later_give_the_same_and_nothing_twice(
    config: PipelineConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    reachable, away = mlflow_store.client_of, {"now": False}

    def client(uri: str) -> Any:
        return 1 / 0 if away["now"] else reachable(uri)  # type: ignore[truediv]

    for module in (tracking, mlflow_spool, mlflow_models, mlflow_answers):
        monkeypatch.setattr(module, "client_of", client)
    made = list(find_run(record_run(config, "made", ("h0", "h1")), config.runtime).made)
    away["now"] = True
    record = tracking.start_run(config, "late", "model")
    tracking.finish_run(record, made, None)
    kept = list(kept_records.kept(config.runtime.root))
    away["now"] = False
    assert mlflow_spool.send(config.runtime).left == []
    first = _state(config)
    assert first[:3] == (1, 16, 3), "a model, a trace an answer, and the run with its two evaluation runs"
    for _, each in kept:
        mlflow_spool._repeat(each, tracking_uri(config.runtime), config.runtime)
    assert _state(config) == first


def _state(config: PipelineConfig) -> tuple[int, int, int, int, int]:
    client = client_of(tracking_uri(config.runtime))
    runs = [run for run in client.search_runs(["1"]) if "late" in str(run.info.run_name)]
    metrics = sum(len(model.metrics or []) for model in models(config))
    verdicts = sum(len(trace.info.assessments) for trace in traces(config))
    return len(models(config)), len(traces(config)), len(runs), metrics, verdicts


def test_traces_are_few_and_of_every_benchmark() -> None:
    table = completions((), "rules 1", "x", "")
    many = [table.assign(id=table["id"] + str(number), benchmark=f"set {number % 7}") for number in range(60)]
    few = mlflow_answers.chosen(pd.concat(many))
    assert few["id"].nunique() <= mlflow_answers.MOST_PROMPTS and few["benchmark"].nunique() == 7


@pytest.mark.parametrize("name", ["a/b:c.d%e'f\"", "", "qwen2.5"])
def test_names_that_mlflow_takes(name: str, config: PipelineConfig) -> None:
    made = client_of(tracking_uri(config.runtime)).create_logged_model("0", mlflow_model_name(name))
    assert made.name == mlflow_model_name(name)
