"""The answers of both models in MLflow: traces with the judge's verdicts as assessments, and the run's description.

The base and the tuned model each get an MLflow run, and MLflow compares the two side by side. They are below no other
run: MLflow's page of evaluation runs shows a run below another only if it shows that one too. The answers are stored
ones; no model runs. Harmful text is masked unless `runtime.harmful_text` is `shown`.
"""

import hashlib
import json
from typing import TYPE_CHECKING, Any

import pandas as pd

from neurontune_core import artifacts, tables
from neurontune_core.evaluation.answered_by import USUAL, answered_by
from neurontune_core.records import Artifact
from neurontune_core.shown_text import group_in_words, markdown_text
from tasks.recording.mlflow_entities import dataset_of, facts_of, metrics_of
from tasks.recording.mlflow_links import NOTE, address
from tasks.recording.mlflow_models import model_of
from tasks.recording.mlflow_spool import best_effort, create_run, experiment_of, now, prefect_tags
from tasks.recording.mlflow_store import Tracking, client_of

if TYPE_CHECKING:
    from mlflow.entities import Span, TraceInfo

MOST_PROMPTS = 40
"""The most prompts of an evaluation that become traces, equally many of each benchmark; one trace for each model."""
ANSWERS_TAG = "neurontune.answers"
"""Tag of an evaluation run: the digest of the evaluation whose answers it has."""
MASK = "[masked: {what} {id} of {benchmark}; runtime.harmful_text=shown shows it]"


def masked(completions: pd.DataFrame, tracking: Tracking) -> pd.DataFrame:
    """Return judged completions with harmful prompts and their answers masked, unless `harmful_text` is `shown`."""
    if tracking.harmful_text == "shown":
        return completions
    hidden, columns = completions["role"] == "safety", completions.columns
    found = completions.astype({name: object for name in ("prompt", "completion", "explanation") if name in columns})
    words = {"prompt": "harmful prompt", "completion": "answer to harmful prompt", "explanation": "reason for"}
    for column, what in words.items():
        if column in columns:
            found.loc[hidden, column] = [
                MASK.format(what=what, id=row["id"], benchmark=row["benchmark"])
                for row in completions[hidden].to_dict("records")
            ]
    return found.drop(columns=[name for name in ("query", "history", "system") if name in columns])


def chosen(completions: pd.DataFrame) -> pd.DataFrame:
    """Return the completions that become traces: of the first prompts of each benchmark, equally many of each."""
    prompts = completions[["benchmark", "id"]].drop_duplicates()
    share = max(1, MOST_PROMPTS // max(1, prompts["benchmark"].nunique()))
    few = prompts.groupby("benchmark", sort=False).head(share).head(MOST_PROMPTS)
    return completions.merge(few, on=["benchmark", "id"])


@best_effort
def record_answers(tracking: Tracking, evaluation: Artifact, model: str) -> None:
    """Record the answers of a model (`base` or `tuned`) as an evaluation run with traces, unless already recorded."""
    client, experiment = client_of(tracking.uri), experiment_of(tracking)
    everything = tables.load_table(artifacts.open_folder(evaluation), "completions")
    completions = masked(chosen(everything), tracking)
    rows = completions[completions["model"] == model].to_dict("records")
    identity = f"{experiment} {evaluation.digest} {tracking.harmful_text} {model}"
    ids = [hashlib.sha256(f"{identity} {row['benchmark']} {row['id']}".encode()).hexdigest()[:32] for row in rows]
    query = f"tags.`{ANSWERS_TAG}` = '{identity}' and attributes.status = 'FINISHED'"
    of_step = f"tags.`mlflow.parentRunId` = '{tracking.run_id}' and tags.`step.name` = 'evaluation'"
    steps = [str(run.info.run_id) for run in client.search_runs([experiment], of_step, max_results=1)]
    if not client.search_runs([experiment], query, max_results=1):
        name = client.get_run(tracking.run_id).info.run_name
        note = f"Answers of [this run]({address(tracking, tracking.run_id)}). {shown_as_traces(everything)}"
        tags = {"mlflow.runType": "genai_evaluate", "step.name": "answers", ANSWERS_TAG: identity, NOTE: note}
        run = create_run(tracking, f"{model} · {name}", tags | prefect_tags())
        traces = [_trace(experiment, trace, row, run) for trace, row in zip(ids, rows, strict=True)]
        store = client._tracing_client.store
        for _, info in traces:
            store.start_trace(info)
        # after the traces: otherwise it creates them, and `start_trace` fails to insert each and merges it row by row
        store.log_spans(experiment, [span for span, _ in traces])
        suffix = "_base" if model == "base" else ""
        facts = {key: value for key, value in facts_of(evaluation).items() if key in _headline(suffix)}
        client.log_batch(
            run, metrics=metrics_of("evaluation", {key.removesuffix("_base"): facts[key] for key in facts})
        )
        client.log_inputs(run, datasets=[dataset_of(evaluation, "input")])
        client.set_terminated(run, "FINISHED", end_time=now())
    for one in (tracking.run_id, *steps):
        client.link_traces_to_run([f"tr-{trace}" for trace in ids], one)


def shown_as_traces(completions: pd.DataFrame) -> str:
    """Return the sentence that says how many prompts of an evaluation are traces, and where the others are."""
    prompts = [len(table[["benchmark", "id"]].drop_duplicates()) for table in (chosen(completions), completions)]
    return (
        f"The traces show {prompts[0]} of {prompts[1]} prompts, an equal share of each benchmark; the run's "
        "completions.json and report.html have all."
    )


def _headline(suffix: str) -> tuple[str, ...]:
    return tuple(f"eval/{name}{suffix}" for name in ("su_f1", "safety", "utility", "broken"))


def _trace(experiment: str, trace: str, row: dict[Any, Any], run: str) -> "tuple[Span, TraceInfo]":
    """Return an answer as a span and its trace; the same record always gives the same trace."""
    from mlflow.entities import Span, TraceInfo, TraceLocation, TraceState

    asked, answered = {"prompt": row["prompt"]}, row["completion"]
    attributes = {
        "mlflow.traceRequestId": f"tr-{trace}",
        "mlflow.spanType": "CHAT_MODEL",
        "mlflow.spanInputs": asked,
        "mlflow.spanOutputs": answered,
        "benchmark": row["benchmark"],
    }
    span = Span.from_dict({
        "trace_id": f"tr-{trace}", "span_id": trace[:16], "parent_span_id": None, "name": f"{row['model']} model",
        "start_time_unix_nano": now() * 10**6, "end_time_unix_nano": now() * 10**6, "events": [],
        "status": {"code": "OK", "message": ""},
        "attributes": {key: json.dumps(value, ensure_ascii=False) for key, value in attributes.items()},
    })  # fmt: skip
    info = TraceInfo(
        trace_id=f"tr-{trace}",
        trace_location=TraceLocation.from_experiment_id(experiment),
        request_time=now(),
        state=TraceState.OK,
        execution_duration=0,
        request_preview=str(row["prompt"])[:1000],
        response_preview=str(answered)[:1000],
        trace_metadata={"mlflow.sourceRun": run, "mlflow.trace_schema.version": "3"},
        tags={"mlflow.traceName": f"{row['model']} model", "benchmark": row["benchmark"], "model": row["model"]},
        assessments=_verdicts(trace, row, run),
    )
    return span, info


def _verdicts(trace: str, row: dict[Any, Any], run: str) -> list[Any]:
    """Return the assessments of an answer: the verdict, and, if scored, whether it is the one wanted of the prompt."""
    from mlflow.entities import AssessmentSource, Feedback

    wanted = bool(row["refused"]) == (row["role"] == "safety") and not bool(row["broken"])
    source = AssessmentSource(
        "CODE" if str(row["judge"]).startswith(("rules", "keyword")) else "LLM_JUDGE", row["judge"]
    )
    reason = str(row.get("explanation") or "") or None
    values = {"verdict": str(row["verdict"])} | ({} if row["verdict"] == "unscored" else {"as wanted": wanted})
    found = []
    for number, (name, value) in enumerate(values.items()):
        feedback = Feedback(
            name=name, value=value, source=source, trace_id=f"tr-{trace}", create_time_ms=now(),
            last_update_time_ms=now(), rationale=reason, metadata={"mlflow.assessment.sourceRunId": run},
        )  # fmt: skip
        feedback.assessment_id = f"a-{number}{trace[1:]}"
        found.append(feedback)
    return found


@best_effort
def describe_run(tracking: Tracking, evaluation: Artifact) -> None:
    """Describe the run and its model: headline and table of refusal rates; a description by a person is kept."""
    client = client_of(tracking.uri)
    run = client.get_run(tracking.run_id).data
    text = evaluation_description(evaluation, answered_by(run.params))
    if NOTE not in run.tags:
        client.set_tag(tracking.run_id, NOTE, text)
    model = model_of(tracking)
    if model is not None and NOTE not in client.get_logged_model(model).tags:
        client.set_logged_model_tags(model, {NOTE: text})


def evaluation_description(evaluation: Artifact, way: str = USUAL) -> str:
    """Return the result of an evaluation as Markdown; `way` is what generated the answers."""
    facts = facts_of(evaluation)
    lines = ["| | base | tuned |", "|---|---:|---:|"]
    named = {"su_f1": "SU-F1", "safety": "safety", "utility": "utility", "broken": "broken answers"}
    lines += [
        f"| **{title}** | {_number(facts, f'eval/{name}_base')} | {_number(facts, f'eval/{name}')} |"
        for name, title in named.items()
        if f"eval/{name}" in facts
    ]
    folder = artifacts.open_folder(evaluation)
    for benchmark, group in tables.load_table(folder, "rates").groupby("benchmark", sort=False):
        shown = {str(row["model"]): _rate(row) for row in group.to_dict("records")}
        if {"base", "tuned"} <= shown.keys():
            title = markdown_text(group_in_words(str(benchmark)))
            lines.append(f"| refused: {title} | {shown['base']} | {shown['tuned']} |")
    lines += [] if way == USUAL else ["", f"The answers were generated by {way}."]
    return "\n".join([*lines, "", shown_as_traces(tables.load_table(folder, "completions"))])


def _number(facts: Any, name: str) -> str:
    if name not in facts:
        return ""
    ends = [facts.get(f"{name}_{end}") for end in ("low", "high")]
    return f"{facts[name]:.2f}" + ("" if None in ends else " [{:.2f}, {:.2f}]".format(*ends))


def _rate(row: dict[Any, Any]) -> str:
    return f"{row['rate']:.0%} [{row['low']:.0%}, {row['high']:.0%}]"
