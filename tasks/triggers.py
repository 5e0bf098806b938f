"""The triggers stage: which words of harmless prompts trigger the tuned model's refusals."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from neurontune_core import artifacts, tables
from neurontune_core.baselines.storage import load_change
from neurontune_core.evaluation import over_refusal
from neurontune_core.evaluation.refusals import judge_version, labels
from neurontune_core.model.source import ModelReference
from neurontune_core.records import REFUSED, Artifact
from tasks.models import loaded
from tasks.progress import tracker
from tasks.stage import StageRun, carry_out, stage_task

STAGE, TABLE = "triggers", "words"


def triggers_key(change: Artifact, evaluation: Artifact, model: ModelReference) -> str:
    """Return the content key of the words that trigger the false refusals of an evaluation."""
    inputs = [change.digest, evaluation.digest, judge_version()]
    return artifacts.stage_key(STAGE, over_refusal.VERSION, {}, model.identity, inputs)


@stage_task(STAGE, triggers_key)
def find_triggers(change: Artifact, evaluation: Artifact, model: ModelReference, run: StageRun) -> Artifact:
    """Leave out the words of falsely refused prompts, one at a time, and let the tuned model answer again."""

    def fill(folder: Path) -> Mapping[str, float]:
        completions = tables.load_table(artifacts.open_folder(evaluation), "completions")
        changing = load_change(artifacts.open_folder(change))
        with loaded(model, run.runtime, working=True) as chat:
            table, facts = over_refusal.measure_triggers(chat, changing, completions, openings_refuse, tracker(STAGE))
        tables.save_table(folder, TABLE, table)
        return facts

    return carry_out(STAGE, run, fill, {}, [change, evaluation])


def openings_refuse(prompts: Sequence[str], openings: Sequence[str]) -> list[bool]:
    """Return whether each opening refuses, by the rules judge."""
    return [label in REFUSED for label in labels(prompts, openings)]
