"""The pipeline: pairs -> attribution (shards) -> scores -> selection -> scaling -> evaluation (base, tuned)."""

from collections.abc import Callable, Mapping, Sequence

from prefect import flow

from flows.commands import summary
from flows.inputs import Inputs, check_inputs
from flows.run_names import named, of_config, rename, typed_name
from flows.shards import run_shards
from flows.stage_names import Stage
from flows.stages import NotStoredError, PipelineRun, noted, recorded, run_stage
from neurontune_core.baselines.fit import check_packages, check_peft, is_validated
from neurontune_core.config import PipelineConfig, change_runtime, check_dial, load_config
from neurontune_core.evaluation.vllm_engine import check_engine
from neurontune_core.pairs.prepare import Prepared
from neurontune_core.records import ROLES, Artifact
from neurontune_core.run_name import run_name
from neurontune_core.scaling.validation import check_queries
from tasks.ability import measure_ability, measure_base
from tasks.baseline import changing_stage, fit_baseline
from tasks.cards import COUNT, make_cards
from tasks.evaluation import answer_base, answer_tuned, evaluate_model
from tasks.pairs import make_pairs
from tasks.recording.mlflow_store import Tracking
from tasks.recording.runs import LATEST, find_run
from tasks.report import write_report
from tasks.scaling import learn_scaling
from tasks.scores import merge_scores
from tasks.selection import select_neurons
from tasks.triggers import find_triggers

DEFAULTS = load_config()
_name_flow_run = named(of_config)


@flow(name="neurontune", flow_run_name=_name_flow_run)
@noted
def pipeline(config: PipelineConfig = DEFAULTS, refresh: tuple[Stage, ...] = ()) -> dict[str, Artifact]:
    """Find and scale the neurons that carry safety and utility in a chat model, and measure what that changes.

    Args:
        config: One section for each stage; a stage whose section and inputs have not changed is reused.
        refresh: Stages to compute again even if their results exist.

    Returns:
        The artifacts of the stages that make one each (all but attribution) and the report, by stage.
    """
    inputs = check_inputs(config)
    check_fit(config, inputs, refresh)
    check_answers(config, inputs, refresh)
    name = typed_name() or run_name(config)
    with recorded(config, name, inputs.model.identity, refresh) as run:
        made = find_neurons(run, config, inputs)
        made |= describe_neurons(run, inputs, made)
        made |= learn_change(run, config, inputs, made)
        return made | measure_change(run, config, name, inputs, made)


def make_pairs_of(run: PipelineRun, config: PipelineConfig, inputs: Inputs) -> Artifact:
    """Run the first stage: build the pairs, or reuse them."""
    return run_stage(
        run, make_pairs, config=config.pairs, datasets=inputs.datasets, model=inputs.model, prepared=inputs.prepared
    )


def find_neurons(run: PipelineRun, config: PipelineConfig, inputs: Inputs) -> dict[str, Artifact]:
    """Run the stages from the pairs to the selection."""
    model = inputs.model
    pairs = make_pairs_of(run, config, inputs)
    shards = run_shards(run, config.attribution, pairs, model)
    scores = run_stage(run, merge_scores, shards=shards)
    neurons = run_stage(
        run, select_neurons, config=config.selection, method=config.attribution.method, pairs=pairs, scores=scores,
        model=model,
    )  # fmt: skip
    return {artifact.stage: artifact for artifact in (pairs, scores, neurons)}


def describe_neurons(run: PipelineRun, inputs: Inputs, made: Mapping[str, Artifact]) -> dict[str, Artifact]:
    """Make the cards of the strongest neurons, which the report shows."""
    data = {"pairs": made["pairs"], "neurons": made["selection"], "model": inputs.model}
    return {"cards": run_stage(run, make_cards, count=COUNT, **data)}


def learn_change(
    run: PipelineRun, config: PipelineConfig, inputs: Inputs, made: Mapping[str, Artifact]
) -> dict[str, Artifact]:
    """Learn the scaling factors, or fit the configured baseline instead."""
    data = {"pairs": made["pairs"], "neurons": made["selection"], "model": inputs.model}
    if config.baseline.method == "none":
        return {"scaling": run_stage(run, learn_scaling, config=config.scaling, **data)}
    return {"baseline": run_stage(run, fit_baseline, config=config.baseline, scaling=config.scaling, **data)}


def find_and_learn(run: PipelineRun, config: PipelineConfig, inputs: Inputs) -> dict[str, Artifact]:
    """Run the stages from the pairs to the learned change."""
    made = find_neurons(run, config, inputs)
    return made | learn_change(run, config, inputs, made)


def generate_answers(
    run: PipelineRun, config: PipelineConfig, inputs: Inputs, made: Mapping[str, Artifact]
) -> tuple[Artifact, Artifact]:
    """Let the base and the changed model answer; `made` needs `pairs` and `scaling` or `baseline`."""
    model, evaluation = inputs.model.evaluated, config.evaluation
    base = run_stage(run, answer_base, config=evaluation, pairs=made["pairs"], sets=inputs.sets, model=model)
    change = made[changing_stage(made)]
    return base, run_stage(run, answer_tuned, config=evaluation, base=base, change=change, model=model)


def measure_change(
    run: PipelineRun, config: PipelineConfig, title: str, inputs: Inputs, made: Mapping[str, Artifact]
) -> dict[str, Artifact]:
    """Evaluate the changed model and write the report; `made` needs `pairs` and `scaling` or `baseline`."""
    new = _measure(run, config, inputs, made)
    report = write_report(config, title, dict(made) | new, inputs.model, run.runtime.root, run.record)
    summary.publish(dict(made) | new, report, run.record)
    return new | {report.stage: report}


def _measure(
    run: PipelineRun, config: PipelineConfig, inputs: Inputs, made: Mapping[str, Artifact]
) -> dict[str, Artifact]:
    """Run the stages from the answers to the words that the changed model refuses."""
    model = inputs.model.evaluated
    base, tuned = generate_answers(run, config, inputs, made)
    judged = run_stage(run, evaluate_model, config=config.evaluation, base=base, tuned=tuned, judges=inputs.judges)
    known = run_stage(run, measure_base, model=model)
    left = run_stage(run, measure_ability, base=known, change=made[changing_stage(made)], model=model)
    words = run_stage(run, find_triggers, change=made[changing_stage(made)], evaluation=judged, model=model)
    return {artifact.stage: artifact for artifact in (base, tuned, judged, known, left, words)}


def check_fit(config: PipelineConfig, inputs: Inputs, refresh: Sequence[Stage] = ()) -> None:
    """Check that the dial has its sets, validation its queries, and that packages to fit the baseline are installed.

    A baseline that is stored already needs no packages.

    Args:
        config: the configuration of the run.
        inputs: its checked inputs.
        refresh: stages to compute again.

    Raises:
        InputError: the dial has other sets of neurons, the validation split has too few queries, or the baseline is to
            be fitted and a package is missing.
    """
    check_dial(config)
    if is_validated(config.baseline, config.scaling):
        prepared: Prepared = inputs.prepared.unquote()
        held = [query.role for query in prepared.queries if prepared.splits[query.id] == "validation"]
        for role in ROLES:
            check_queries(role, held.count(role))
    if config.baseline.method == "none":
        return
    run = _stored_only(config, refresh)
    if not _are_stored(lambda: find_and_learn(run, config, inputs)):
        check_packages(config.baseline)


def check_answers(
    config: PipelineConfig, inputs: Inputs, refresh: Sequence[Stage] = (), made: Mapping[str, Artifact] | None = None
) -> None:
    """Check that vLLM and peft are there if they have to let the changed model answer.

    Stored answers need no engine to be judged. After a new verdict the model with a baseline answers once more, to find
    the words that it refuses.

    Args:
        config: the configuration of the run.
        inputs: its checked inputs.
        refresh: stages to compute again.
        made: the artifacts of the stages up to the change; by default those that the run would reuse.

    Raises:
        InputError: answers are to be generated, and vLLM cannot (`check_engine`), or peft is missing.
    """
    if config.evaluation.engine != "vllm" and config.baseline.method == "none":
        return
    run = _stored_only(config, refresh)
    if not _are_stored(lambda: generate_answers(run, config, inputs, made or find_and_learn(run, config, inputs))):
        check_engine(config)
    if not _are_stored(lambda: _measure(run, config, inputs, made or find_and_learn(run, config, inputs))):
        check_peft(config.baseline)


def _are_stored(stages: Callable[[], object]) -> bool:
    """Tell whether stages, of a run with `stored_only`, find all their artifacts."""
    try:
        stages()
    except NotStoredError:
        return False
    return True


def _stored_only(config: PipelineConfig, refresh: Sequence[Stage]) -> PipelineRun:
    """Return a run that computes nothing, and raises `NotStoredError` at the first stage that it would compute."""
    return PipelineRun(config.runtime, Tracking(uri=""), frozenset(refresh), stored_only=True)


@flow(name="attribution-shard", flow_run_name=named(lambda given: f"{given['run']} shard {given['shard']}"))
@noted
def attribution_shard(
    run: str = LATEST, shard: int = 1, settings: tuple[str, ...] = (), force: bool = False
) -> Artifact:
    """Compute only one shard of attribution of a recorded run, with that run's own settings.

    Args:
        run: MLflow run id, Prefect flow run id, name of the run, or `latest`.
        shard: Which shard, counted from 1 as in its name (`attribution shard 2/4`).
        settings: Changes to where and how it runs, as `runtime.field=value`, e.g. `runtime.device=cuda`.
        force: Compute it again even if its result exists.

    Raises:
        InputError: no such run or shard.
    """
    found = find_run(run, change_runtime(DEFAULTS, settings).runtime)
    config = change_runtime(found.config, settings)
    found.check_shard(shard)
    inputs = check_inputs(config)
    name = rename(f"{found.name} shard {shard}", f"{run} shard {shard}")
    with recorded(config, name, inputs.model.identity, ("attribution",) if force else ()) as record:
        pairs = make_pairs_of(record, config, inputs)
        (part,) = run_shards(record, config.attribution, pairs, inputs.model, only=shard - 1)
    return part
