"""The pairs stage: queries, attacks and responses, split for training and testing."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from neurontune_core import artifacts, tables
from neurontune_core.config import contents
from neurontune_core.evaluation.refusals import judge_version, labels
from neurontune_core.model.source import ModelReference
from neurontune_core.pairs import build
from neurontune_core.pairs.prepare import Prepared
from neurontune_core.pairs.settings import PairsConfig
from neurontune_core.records import Artifact
from tasks.models import loaded
from tasks.progress import tracker
from tasks.recording.data_files import data_file
from tasks.stage import StageRun, carry_out, stage_task

STAGE = "pairs"


def pairs_key(config: PairsConfig, datasets: Sequence[str], model: ModelReference) -> str:
    """Return the content key of the pairs made from data files with these digests, by this version of the judge."""
    return artifacts.stage_key(STAGE, build.VERSION, contents(config), model.identity, [*datasets, judge_version()])


@stage_task(STAGE, pairs_key)
def make_pairs(
    config: PairsConfig, datasets: Sequence[str], model: ModelReference, prepared: Prepared, run: StageRun
) -> Artifact:
    """Rank the attacks on the model, wrap the queries, and let the model answer some of them."""

    def fill(folder: Path) -> Mapping[str, float]:
        with loaded(model, run.runtime, working=True) as chat:
            built = build.build_pairs(config, chat, tracker(STAGE), labels, prepared)
        tables.save_pairs(folder, built.pairs)
        for name in ("ranking", "rejected", "sources", "own_refusals"):
            tables.save_table(folder, name, getattr(built, name))
        return built.facts

    files = [data_file(digest) for digest in datasets]
    return carry_out(STAGE, run, fill, config, files)
