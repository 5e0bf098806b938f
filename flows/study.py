"""Studies: the pipeline under several settings, and one page that compares them."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from prefect import flow, tags
from prefect.artifacts import create_markdown_artifact, create_table_artifact

from flows.causal import causal_study
from flows.first_stages import selection_only
from flows.inputs import check_inputs, data_read_once
from flows.pipeline import check_answers, check_fit, pipeline
from flows.robustness import check_attacked, robustness_study
from flows.run_names import named, typed_name
from flows.stages import noted, recorded
from flows.trials import Row, run_trials
from neurontune_core import artifacts, tables
from neurontune_core.attribution.settings import first_layer
from neurontune_core.baselines.settings import SearchedSettings
from neurontune_core.config import PipelineConfig, load_config
from neurontune_core.model.source import ModelReference
from neurontune_core.records import Artifact
from neurontune_core.studies.catalogue import SEARCHED, Study
from neurontune_core.studies.choice import choose, lowered
from neurontune_core.studies.page import study_rows
from neurontune_core.studies.worth import arms_of
from tasks.models import describe
from tasks.progress import of_variant
from tasks.recording import reproduce
from tasks.study import PAGE, TABLE, Variant, write_study

StudyName = Literal[
    "baselines",
    "attribution-validity",
    "neuron-count",
    "frontier",
    "cross-attack",
    "cross-task",
    "overlap",
    "layers",
    "causal",
    "robustness",
    "rankings",
    "automatic-count",
    "seeds",
    "scaling-methods",
    "dial",
    "margin-fit",
    "selection-worth",
    "own",
]

FLOWS: dict[str, Callable[[PipelineConfig], dict[str, Artifact]]] = {
    "selection": selection_only,
    "causal": causal_study,
    "robustness": robustness_study,
    "evaluation": pipeline,
}
"""The flow that runs a variant, by the last stage."""
CHOSEN = "chosen by trials"

logger = logging.getLogger("neurontune")


@flow(name="study", flow_run_name=named(lambda given: f"study {given['study']} {given['preset']}"))
@noted
def study(
    study: StudyName = "baselines",
    preset: str = "smollm2",
    settings: tuple[str, ...] = (),
    variants: dict[str, tuple[str, ...]] | None = None,
    trials: int | None = None,
    only: tuple[str, ...] = (),
) -> Artifact:
    """Run the pipeline once for each variant; stages that variants share are computed once.

    Args:
        study: A named study, or `own` for the variants given below.
        preset: Shipped preset, or path of a TOML file, that all variants start from.
        settings: Changes common to all variants, as `section.field=value`.
        variants: Of `own`, or to replace a study's: a name and its settings for each variant, e.g.
            `{"20 steps": ["scaling.steps=20"]}`.
        trials: Number of trials on validation data, 0 for none: of numbers of neurons in `automatic-count` (8 by
            default), of step sizes or strengths for each other method in `baselines` (8) and `robustness` (0), of
            MAML's settings in `scaling-methods` (8).
        only: Run only the variants whose name contains one of these texts, e.g. `seed 0`; all if it is empty.

    Returns:
        The study's artifact: the table, the drawing and the page.

    Raises:
        InputError: a setting that does not fit, found before anything is computed.
    """
    chosen = choose(study, variants, trials, only)
    common = load_config(preset, settings)
    if not variants:
        chosen = _fitting(chosen, common)
    configs = {name: _config(chosen, preset, settings, changes) for name, changes in chosen.variants.items()}
    if chosen.layout == "worth":
        arms_of(configs)  # an error before the first run
    found: list[Row] = []
    with tags(f"study:{study}"), data_read_once():
        models = _checked_models(chosen, configs)
        if chosen.searched and chosen.trials:
            told = SEARCHED[chosen.searched]
            logger.info("study %s tries %d %s on validation data (--trials 0: none)", study, chosen.trials, told)
        if chosen.tried and chosen.trials:
            best, found = run_trials(configs[chosen.tried], chosen.searched, chosen.trials)
            tuned = _chosen(configs, best)
            configs |= tuned
            models |= dict.fromkeys(tuned, describe(best.model))
        ran: dict[str, Variant] = {}
        computed: list[float] = []  # seconds of each variant of which not everything was reused
        for name, config in configs.items():
            started = time.time()
            with of_variant(name):
                ran[name] = Variant(config, FLOWS[chosen.through](config), models[name])
            if _made_since(started, ran[name].made):
                computed.append(time.time() - started)
            _tell_progress(study, len(ran), len(configs), computed)
        trials = chosen.trials if chosen.searched else None
        command = reproduce.study_command(study, preset, settings, variants or {}, trials, only)
        title = typed_name() or f"study {study} {common.runtime.preset}"
        with recorded(common, title, describe(common.model).identity, ()) as run:
            result = write_study(study, chosen, ran, found, common, command, run.record)
    _publish(result, chosen)
    return result


def _fitting(study: Study, common: PipelineConfig) -> Study:
    """Return a study with numbers of neurons that the model has: at most half of those attributed, for each role.

    Random sets have as many neurons in every layer and are drawn from those that are not chosen, so a study that
    compares them takes at most an eighth.
    """
    widths = describe(common.model).neurons_per_layer
    share = 8 if study.layout == "worth" else 2
    most = max(1, sum(widths[first_layer(common.attribution, len(widths)) :]) // share)
    fitting = lowered(study, most)
    if fitting != study:
        logger.warning(
            "the model has few neurons, so at most %d safety and %d utility neurons are compared", most, most
        )
    return fitting


def _made_since(started: float, made: Mapping[str, Artifact]) -> bool:
    """Whether any of a variant's artifacts was computed since a moment, and not reused."""
    return any(artifacts.read_manifest(artifact)["started"] >= started for artifact in made.values())


def _tell_progress(study: str, done: int, variants: int, computed: Sequence[float]) -> None:
    """Log how many variants are done, and how long the others take at the mean time of those that were computed."""
    if done == variants:
        return
    told = f"study {study}: {done} of {variants} variants done, {done - len(computed)} of them reused"
    if computed:
        mean = sum(computed) / len(computed)
        told += f"; the computed ones took {mean:.0f} s each, at this rate the others take"
        told += f" {mean * (variants - done) / 60:.0f} minutes"
    logger.info("%s", told)


def _config(study: Study, preset: str, settings: tuple[str, ...], changes: tuple[str, ...]) -> PipelineConfig:
    """Return the configuration of a variant; a baseline without trials of its own gets the study's."""
    config = load_config(preset, settings, variant=changes)
    if study.searched == "baselines" and isinstance(config.baseline, SearchedSettings) and not config.baseline.trials:
        return load_config(preset, settings, variant=[*changes, f"baseline.trials={study.trials}"])
    return config


def _chosen(variants: Mapping[str, PipelineConfig], best: PipelineConfig) -> dict[str, PipelineConfig]:
    """Return what trials chose; where a variant is of second order, also the same settings in second order."""
    found = {CHOSEN: best}
    if any(getattr(config.scaling, "order", "first") == "second" for config in variants.values()):
        second = best.scaling.model_copy(update={"order": "second"})
        found[f"{CHOSEN}, second order"] = best.model_copy(update={"scaling": second})
    return found


def _checked_models(study: Study, configs: Mapping[str, PipelineConfig]) -> dict[str, ModelReference]:
    """Check the input of all variants, before the first one runs, and return their models."""
    inputs = {name: check_inputs(config) for name, config in configs.items()}
    for name, config in configs.items():
        if study.through in ("evaluation", "robustness"):
            check_fit(config, inputs[name])
        if study.through == "evaluation":
            check_answers(config, inputs[name])
        elif study.through == "robustness":
            check_attacked(config, inputs[name])
    return {name: each.model for name, each in inputs.items()}


def _publish(result: Artifact, chosen: Study) -> None:
    """Show the table and the page on the flow run's page in the Prefect UI."""
    folder = artifacts.open_folder(result)
    if chosen.layout != "causal":  # the page of a causal study has a table for each intervention
        rows = study_rows(tables.load_table(folder, TABLE), chosen)
        create_table_artifact(key="study", table=rows, description=f"{chosen.question} With 95% intervals.")
    create_markdown_artifact(key="study-page", markdown=(folder / PAGE).read_text(encoding="utf-8"))
