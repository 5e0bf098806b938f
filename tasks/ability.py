"""The ability stage: what the change leaves of the model's general knowledge."""

from collections.abc import Mapping
from pathlib import Path

from neurontune_core import artifacts, tables
from neurontune_core.baselines.storage import load_change
from neurontune_core.config import RuntimeConfig
from neurontune_core.evaluation import ability
from neurontune_core.model.source import ModelReference
from neurontune_core.records import Artifact
from tasks.mlflow_store import Tracking
from tasks.models import batch_tokens, loaded
from tasks.progress import tracker
from tasks.stage import carry_out, stage_task

STAGE = "ability"


def key(change: Artifact, model: ModelReference) -> str:
    """Return the content key of the answers to the shipped questions before and after a change."""
    return artifacts.stage_key(STAGE, ability.VERSION, {}, model.identity, [change.digest])


@stage_task(STAGE, key)
def measure_ability(change: Artifact, model: ModelReference, runtime: RuntimeConfig, record: Tracking) -> Artifact:
    """Ask both models the shipped questions."""

    def fill(folder: Path) -> Mapping[str, float]:
        changing = load_change(artifacts.open_folder(change))
        with loaded(model, runtime, working=True) as chat:
            table, facts = ability.measure_ability(chat, changing, batch_tokens(chat, runtime), tracker(STAGE))
        tables.save_table(folder, "questions", table)
        return facts

    return carry_out(STAGE, key(change, model), fill, {}, [change], runtime, record)
