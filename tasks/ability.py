"""The ability stages: general knowledge of the base model, and of the changed model.

Two cached tasks, so that the base model's answers serve every tuning of it.
"""

from collections.abc import Mapping
from pathlib import Path

from neurontune_core import artifacts, tables
from neurontune_core.baselines.storage import load_change
from neurontune_core.evaluation import ability
from neurontune_core.model.source import ModelReference
from neurontune_core.records import Artifact
from tasks.models import loaded
from tasks.progress import tracker
from tasks.stage import StageRun, carry_out, stage_task

BASE, STAGE = "base-ability", "ability"
TABLE = "questions"


def asked_model(model: ModelReference) -> str:
    """Return the identity of a model that only answers: without the settings that only attribution depends on."""
    return model.model_copy(update={"dtype": "", "skip_uncovered_layers": False}).identity


def base_key(model: ModelReference) -> str:
    """Return the content key of the base model's answers to the shipped questions."""
    return artifacts.stage_key(BASE, ability.VERSION, {}, asked_model(model), [ability.questions_digest()])


def ability_key(base: Artifact, change: Artifact, model: ModelReference) -> str:
    """Return the content key of the answers to the same questions under a change."""
    return artifacts.stage_key(STAGE, ability.VERSION, {}, asked_model(model), [base.digest, change.digest])


@stage_task(BASE, base_key)
def measure_base(model: ModelReference, run: StageRun) -> Artifact:
    """Ask the base model the shipped questions."""

    def fill(folder: Path) -> Mapping[str, float]:
        with loaded(model, run.runtime, working=True) as chat:
            table, facts = ability.base_choices(chat, tracker(BASE))
        tables.save_table(folder, TABLE, table)
        return facts

    return carry_out(BASE, run, fill, {}, [])


@stage_task(STAGE, ability_key)
def measure_ability(base: Artifact, change: Artifact, model: ModelReference, run: StageRun) -> Artifact:
    """Ask the tuned model the same questions."""

    def fill(folder: Path) -> Mapping[str, float]:
        before = tables.load_table(artifacts.open_folder(base), TABLE)
        changing = load_change(artifacts.open_folder(change))
        with loaded(model, run.runtime, working=True) as chat:
            table, facts = ability.tuned_choices(before, changing, chat, tracker(STAGE))
        tables.save_table(folder, TABLE, table)
        return facts

    return carry_out(STAGE, run, fill, {}, [base, change])
