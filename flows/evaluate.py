"""Evaluate the factors of a recorded run on benchmarks of the user's choice."""

from prefect import flow

from flows.inputs import check_inputs
from flows.pipeline import DEFAULTS, check_answers, measure_change
from flows.run_names import named, rename
from flows.stage_names import Stage
from flows.stages import noted, recorded
from neurontune_core.config import change_runtime
from neurontune_core.data.settings import SourceConfig
from neurontune_core.records import Artifact
from tasks.baseline import changing_stage
from tasks.recording.runs import LATEST, find_run


@flow(name="evaluate", flow_run_name=named(lambda given: f"evaluate {given['run']}"))
@noted
def evaluate(
    run: str = LATEST,
    benchmarks: tuple[str, ...] = (),
    sources: dict[str, SourceConfig] = {},  # noqa: B006  # what the form shows; never changed
    settings: tuple[str, ...] = (),
    force: bool = False,
) -> Artifact:
    """Evaluate the scaling factors of a recorded run on the run's own benchmarks or on others.

    Args:
        run: Whose factors: MLflow run id, Prefect flow run id, name of the run, or `latest` that ended well.
        benchmarks: `shipped`, or public sets such as `advbench`, plain or wrapped in attacks (`advbench/heldout`);
            the run's own if none is given.
        sources: For public sets that the run's own settings lack: local path, hub commit, row limit, as
            `{"advbench": {"path": "FILE"}}`.
        settings: Changes to where and how it runs, as `runtime.field=value`, e.g. `runtime.device=cuda`.
        force: Evaluate again even if the result exists.

    Raises:
        InputError: no such run or benchmark, or the run has learned no factors.
    """
    found = find_run(run, change_runtime(DEFAULTS, settings).runtime, finished=True)
    config = change_runtime(found.config, settings)
    evaluation = config.evaluation
    chosen = {"benchmarks": benchmarks or evaluation.benchmarks, "sources": evaluation.sources | sources}
    config = config.model_copy(update={"evaluation": evaluation.model_copy(update=chosen)})
    shown = [stage for stage in ("selection", "cards") if stage in found.stages]
    made = {stage: found.artifact(stage) for stage in ("pairs", changing_stage(found.stages), *shown)}
    inputs, title = check_inputs(config), rename(f"{found.name} evaluated", f"evaluate {run}")
    refresh: tuple[Stage, ...] = ("base", "tuned", "evaluation", "base-ability", "ability", "triggers") if force else ()
    check_answers(config, inputs, refresh, made)
    with recorded(config, title, inputs.model.identity, refresh) as record:
        return measure_change(record, config, title, inputs, made)["evaluation"]
