"""The selection stage: which neurons are tuned."""

from collections.abc import Mapping
from pathlib import Path

from neurontune_core import artifacts, tables
from neurontune_core.config import RuntimeConfig, SelectionConfig
from neurontune_core.model.source import ModelReference
from neurontune_core.records import Artifact
from neurontune_core.selection import select
from tasks.mlflow_store import Tracking
from tasks.stage import carry_out, stage_task

STAGE = "selection"


def key(config: SelectionConfig, scores: Artifact, model: ModelReference) -> str:
    """Return the content key of the neurons selected by these scores."""
    return artifacts.stage_key(STAGE, select.VERSION, config, model.identity, [scores.digest])


@stage_task(STAGE, key)
def select_neurons(
    config: SelectionConfig, scores: Artifact, model: ModelReference, runtime: RuntimeConfig, record: Tracking
) -> Artifact:
    """Take the highest-scored safety and utility neurons."""

    def fill(folder: Path) -> Mapping[str, float]:
        table = tables.load_table(artifacts.open_folder(scores), "scores")
        selection = select.select_neurons(table, config, model.neurons_per_layer)
        tables.save_neurons(folder, selection.neurons)
        tables.save_table(folder, "ranking", selection.ranking)
        return selection.facts

    return carry_out(STAGE, key(config, scores, model), fill, config, [scores], runtime, record)
