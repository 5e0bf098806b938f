"""General ability of a recorded run's model: tasks of lm-evaluation-harness, recorded with the run's own results."""

from prefect import flow

from flows.inputs import check_inputs
from flows.pipeline import DEFAULTS
from flows.run_names import named, rename
from flows.stage_names import STAGES
from flows.stages import noted, recorded, run_stage
from neurontune_core.config import change_runtime
from neurontune_core.evaluation import harness
from neurontune_core.evaluation.harness import HarnessTasks
from neurontune_core.records import Artifact
from tasks.baseline import changing_stage
from tasks.harness import score_base, score_tuned
from tasks.recording import step_runs, tracking
from tasks.recording.runs import LATEST, find_run
from tasks.report import write_report


@flow(name="ability", flow_run_name=named(lambda given: f"ability {given['run']}"))
@noted
def ability(
    run: str = LATEST,
    tasks: tuple[str, ...] = ("mmlu", "gsm8k", "hellaswag"),
    task_folder: str | None = None,
    limit: int | None = None,
    settings: tuple[str, ...] = (),
) -> dict[str, Artifact]:
    """Run tasks of lm-evaluation-harness on the base and the tuned model of a recorded run.

    The scores are recorded with the run's own results, and the run's report is written again with them.

    Args:
        run: MLflow run id, Prefect flow run id, name of the run, or `latest` that ended well.
        tasks: Names of tasks, groups or tags.
        task_folder: Folder with YAML files of your own tasks, which may run Python code in the same folder.
        limit: Most rows of each task.
        settings: Changes to where and how it runs, as `runtime.field=value`, e.g. `runtime.device=cuda`.

    Returns:
        The run's artifacts by stage, `base-harness`, `harness`, and the report.

    Raises:
        InputError: no such run, tasks that cannot be run, or a run without factors or evaluation.
    """
    asked = HarnessTasks(tuple(tasks), task_folder, limit)
    harness.check_tasks(asked)
    found = find_run(run, change_runtime(DEFAULTS, settings).runtime, finished=True)
    config = change_runtime(found.config, settings)
    found.artifact("evaluation")
    change = found.artifact(changing_stage(found.stages))
    inputs, title = check_inputs(config), rename(f"{found.name} ability", f"ability {run}")
    data = harness.task_digests(asked)
    made: dict[str, Artifact] = {
        stage: found.artifact(stage) for stage in STAGES if stage in found.stages and stage != "attribution"
    }
    with recorded(config, title, inputs.model.identity, ()) as record:
        shared = {"asked": asked, "data": data, "model": inputs.model.evaluated}
        base = run_stage(record, score_base, **shared)
        tuned = run_stage(record, score_tuned, base=base, change=change, **shared)
        # recorded with the evaluated run's safety metrics: in its MLflow run, its model card and its report
        of_run = record.record.model_copy(update={"run_id": found.run_id})
        for artifact, made_from in ((base, []), (tuned, [base, change])):
            step_runs.record_reused(of_run, artifact, made_from)
            tracking.record_headline(of_run, artifact)
        made |= {base.stage: base, tuned.stage: tuned}
        report = write_report(config, found.name, made, inputs.model, record.runtime.root, of_run)
        return made | {report.stage: report}
