"""The causal study: how a model behaves when the neurons found by attribution are silenced, amplified or patched."""

from collections.abc import Mapping

from prefect import flow
from prefect.artifacts import create_markdown_artifact

from flows.inputs import Inputs, check_inputs
from flows.pipeline import DEFAULTS, find_neurons
from flows.run_names import named, of_config, rename, typed_name
from flows.shards import run_parts
from flows.stages import PipelineRun, noted, recorded, run_stage
from neurontune_core import artifacts
from neurontune_core.config import CAUSAL_SECTIONS, PipelineConfig, change_runtime, change_sections, runtime_alone
from neurontune_core.records import Artifact
from neurontune_core.run_name import run_name
from tasks import causal as tasks
from tasks import progress
from tasks.recording import tracking
from tasks.recording.runs import LATEST, find_run
from tasks.report import shown_stages, write_report


@flow(name="causal-study", flow_run_name=named(lambda given: f"causal {of_config(given)}"))
@noted
def causal_study(config: PipelineConfig = DEFAULTS) -> dict[str, Artifact]:
    """Find the neurons of a configuration, and measure the model's answers with sets of these neurons changed.

    Returns:
        The artifacts of the stages up to the selection, and `causal`.
    """
    inputs = check_inputs(config)
    with recorded(config, typed_name() or f"causal {run_name(config)}", inputs.model.identity, ()) as run:
        made = find_neurons(run, config, inputs)
        return made | {tasks.STAGE: run_cells(run, config, inputs, made)}


@flow(name="causal", flow_run_name=named(lambda given: f"causal {given['run']}"))
@noted
def causal(run: str = LATEST, settings: tuple[str, ...] = ()) -> dict[str, Artifact]:
    """Measure a recorded run's model with sets of its neurons silenced, amplified and patched.

    If the run was evaluated, its report is written again with the curves.

    Args:
        run: MLflow run id, Prefect flow run id, name of the run, or `latest`.
        settings: What is measured and where it runs, as `causal.field=value`, `evaluation.field=value` (the benchmarks)
            or `runtime.field=value`.

    Returns:
        The artifacts `causal` and, if the run was evaluated, `report`.

    Raises:
        InputError: no such run, or a setting of another section.
    """
    found = find_run(run, change_runtime(DEFAULTS, runtime_alone(settings)).runtime, finished=True)
    config = change_sections(found.config, settings, CAUSAL_SECTIONS)
    inputs = check_inputs(config)
    name = rename(f"causal {found.name}", f"causal {run}")
    with recorded(config, name, inputs.model.identity, ()) as record:
        made = {tasks.STAGE: run_cells(record, config, inputs, find_neurons(record, config, inputs))}
        if "evaluation" in found.stages:
            shown = shown_stages(found) | made
            # the report belongs to the run that was asked for
            of_run = record.record.model_copy(update={"run_id": found.run_id})
            made["report"] = write_report(found.config, found.name, shown, inputs.model, record.runtime.root, of_run)
        return made


def run_cells(run: PipelineRun, config: PipelineConfig, inputs: Inputs, made: Mapping[str, Artifact]) -> Artifact:
    """Run the parts of a causal study in parallel, and join them to a table; finished parts are reused.

    Raises:
        InputError: all parts failed because of bad input.
        ShardError: parts failed for other reasons, or only some of them.
    """
    progress.check()
    asked = tasks.CausalInputs(
        config.causal, config.selection, config.evaluation, config.attribution.method, made["pairs"], made["scores"],
        made["selection"], tuple(inputs.sets), inputs.model,
    )  # fmt: skip
    calls = [{"inputs": asked, "shard": shard} for shard in range(config.causal.shards)]
    parts = run_parts(tasks.measure_part, run, calls)
    study = run_stage(run, tasks.summarise_parts, config=config.causal, parts=parts)
    for file in (tasks.PAGE, tasks.PLOT, f"{tasks.TABLE}.parquet"):
        tracking.record_file(run.record, study, file)
    page = (artifacts.open_folder(study) / tasks.PAGE).read_text(encoding="utf-8")
    create_markdown_artifact(key="causal-page", markdown=page)
    return study
