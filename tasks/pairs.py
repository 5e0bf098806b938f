"""The pairs stage: queries, attacks and responses, split for training and testing."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from neurontune_core import artifacts, tables
from neurontune_core.config import PairsConfig, RuntimeConfig, contents
from neurontune_core.evaluation.judges import Completion, RulesJudge
from neurontune_core.model.source import ModelReference
from neurontune_core.pairs import build
from neurontune_core.records import Artifact
from tasks.data_files import data_file
from tasks.mlflow_store import Tracking
from tasks.models import batch_tokens, loaded
from tasks.progress import tracker
from tasks.stage import carry_out, stage_task

STAGE = "pairs"


def key(config: PairsConfig, datasets: Sequence[str], model: ModelReference) -> str:
    """Return the content key of the pairs made from data files with these digests."""
    judge = [f"{RulesJudge.name} judge {RulesJudge.version}"] if config.ranking_success_tokens else []
    return artifacts.stage_key(STAGE, build.VERSION, contents(config), model.identity, [*datasets, *judge])


def resists(prompts: Sequence[str], responses: Sequence[str]) -> list[bool]:
    """Tell which responses do not comply with their prompts: they refuse, or are no answer at all."""
    batch = [Completion("", prompt, response) for prompt, response in zip(prompts, responses, strict=True)]
    return [verdict.label != "compliance" for verdict in RulesJudge()(batch)]


@stage_task(STAGE, key)
def make_pairs(
    config: PairsConfig, datasets: Sequence[str], model: ModelReference, runtime: RuntimeConfig, record: Tracking
) -> Artifact:
    """Rank the attacks on the model, wrap the queries, and let the model answer the harmless ones."""

    def fill(folder: Path) -> Mapping[str, float]:
        with loaded(model, runtime, working=True) as chat:
            built = build.build_pairs(config, chat, batch_tokens(chat, runtime), tracker(STAGE), resists)
        tables.save_pairs(folder, built.pairs)
        for name, table in (("ranking", built.ranking), ("rejected", built.rejected), ("sources", built.sources)):
            tables.save_table(folder, name, table)
        return built.facts

    files = [data_file(digest) for digest in datasets]
    return carry_out(STAGE, key(config, datasets, model), fill, config, files, runtime, record)
