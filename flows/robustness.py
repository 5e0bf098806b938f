"""The robustness study: attacks that know of the tuning, on the base model and on a model changed by a method."""

from collections.abc import Mapping

from prefect import flow

from flows.inputs import Inputs, check_inputs
from flows.pipeline import DEFAULTS, check_fit, find_neurons, learn_change
from flows.run_names import named, of_config, typed_name
from flows.shards import run_parts
from flows.stages import PipelineRun, noted, recorded, run_stage
from neurontune_core import artifacts
from neurontune_core.baselines.storage import load_change
from neurontune_core.config import PipelineConfig
from neurontune_core.errors import InputError
from neurontune_core.records import Artifact
from neurontune_core.robustness.attacks import ATTACKS, fits
from neurontune_core.run_name import run_name
from tasks import progress
from tasks import robustness as tasks
from tasks.baseline import changing_stage
from tasks.recording import tracking


@flow(name="robustness-study", flow_run_name=named(lambda given: f"robustness {of_config(given)}"))
@noted
def robustness_study(config: PipelineConfig = DEFAULTS) -> dict[str, Artifact]:
    """Learn the change of a configuration, and run every attack on the base and on the changed model.

    Returns:
        The artifacts of the stages up to the change, and `robustness`.

    Raises:
        InputError: the model that is attacked is quantised already.
    """
    inputs = check_inputs(config)
    check_fit(config, inputs)
    check_attacked(config, inputs)
    with recorded(config, typed_name() or f"robustness {run_name(config)}", inputs.model.identity, ()) as run:
        made = find_neurons(run, config, inputs)
        made |= learn_change(run, config, inputs, made)
        return made | {tasks.STAGE: attack(run, config, inputs, made)}


def check_attacked(config: PipelineConfig, inputs: Inputs) -> None:
    """Check that the attacked model has weights that an attack can round.

    Raises:
        InputError: it is quantised already.
    """
    if inputs.model.evaluated.quantization != "none":
        raise InputError(
            f"model.quantization: {config.model.quantization!r} leaves no weights that an attack could round; set "
            f"model.evaluate_full=true, so that the unrounded model is attacked"
        )


def attack(run: PipelineRun, config: PipelineConfig, inputs: Inputs, made: Mapping[str, Artifact]) -> Artifact:
    """Run the attacks on both models in parallel, and join the results to a table; finished parts are reused.

    Raises:
        InputError: all attacks failed because of bad input.
        ShardError: attacks failed for other reasons, or only some of them.
    """
    progress.check()
    asked = tasks.RobustnessInputs(
        config.robustness,
        config.evaluation,
        made["pairs"],
        made["selection"],
        tuple(inputs.sets),
        inputs.model.evaluated,
    )
    changed = made[changing_stage(made)]
    parts = []
    for artifact in (None, changed):
        change = load_change(artifacts.open_folder(artifact)) if artifact else None
        shards = [number for number, name in enumerate(ATTACKS) if fits(name, change)]
        calls = [{"inputs": asked, "change": artifact, "shard": shard} for shard in shards]
        parts += run_parts(tasks.measure_part, run, calls)
    study = run_stage(run, tasks.summarise_parts, config=config.robustness, parts=parts)
    tracking.record_file(run.record, study, f"{tasks.TABLE}.parquet")
    return study
