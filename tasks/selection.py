"""The selection stage: which neurons are tuned, and the effect of silencing them."""

from collections.abc import Mapping
from pathlib import Path

from neurontune_core import artifacts, tables
from neurontune_core.attribution.settings import AttributionMethod
from neurontune_core.evaluation.refusals import judge_version, labels
from neurontune_core.model.source import ModelReference
from neurontune_core.records import Artifact, NeuronSet
from neurontune_core.selection import knockout, select
from neurontune_core.selection.settings import SelectionConfig
from tasks.models import loaded
from tasks.stage import StageRun, carry_out, stage_task

STAGE = "selection"


def selection_key(
    config: SelectionConfig, method: AttributionMethod, pairs: Artifact, scores: Artifact, model: ModelReference
) -> str:
    """Return the content key of the neurons selected by these scores of this attribution method."""
    asked = [pairs.digest, judge_version()] if config.knockout_prompts else []
    settings = config.model_dump(mode="json") | {"method_of_scores": method}
    return artifacts.stage_key(STAGE, select.VERSION, settings, model.identity, [scores.digest, *asked])


@stage_task(STAGE, selection_key)
def select_neurons(
    config: SelectionConfig,
    method: AttributionMethod,
    pairs: Artifact,
    scores: Artifact,
    model: ModelReference,
    run: StageRun,
) -> Artifact:
    """Select the neurons that carry safety and utility most strongly; check the safety neurons by silencing them."""

    def fill(folder: Path) -> Mapping[str, float]:
        table = tables.load_table(artifacts.open_folder(scores), "scores")
        selection = select.select_neurons(table, config, model.neurons_per_layer, method, model.experts_per_layer)
        tables.save_neurons(folder, selection.neurons)
        tables.save_table(folder, "ranking", selection.ranking)
        return selection.facts | silenced(selection.neurons)

    def silenced(neurons: NeuronSet) -> dict[str, float]:
        prompts = knockout.knockout_prompts(
            tables.load_pairs(artifacts.open_folder(pairs)), config.knockout_prompts, config.seed
        )
        if not prompts:
            return {}
        with loaded(model, run.runtime, working=True) as chat:
            return knockout.knock_out(chat, neurons, model.neurons_per_layer, prompts, labels, config.seed)

    return carry_out(STAGE, run, fill, config, [pairs, scores])
