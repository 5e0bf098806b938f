"""The robustness study: its parts, an attack on a model each, which run side by side, and the table made of them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from neurontune_core import artifacts, tables
from neurontune_core.baselines.storage import load_change
from neurontune_core.config import EvaluationConfig, RobustnessConfig, RuntimeConfig
from neurontune_core.data.library import PublicLibrary
from neurontune_core.evaluation import answers
from neurontune_core.evaluation.judges import judge_by_name
from neurontune_core.evaluation.refusals import JUDGE, judge_version
from neurontune_core.model.source import ModelReference
from neurontune_core.records import Artifact
from neurontune_core.robustness import attacks, measure, summary
from tasks.ability import asked_model
from tasks.models import batch_tokens, loaded
from tasks.progress import tracker
from tasks.recording.data_files import data_file
from tasks.recording.mlflow_store import Tracking
from tasks.stage import carry_out, stage_task

PART, STAGE = "robustness-part", "robustness"
TABLE = "table"
PART_VERSION, VERSION = 1, 1
OWN = ("prompts_per_benchmark", "max_new_tokens", "seed")
"""Settings of the evaluation in whose place the study has its own."""


def part_key(
    config: RobustnessConfig,
    evaluation: EvaluationConfig,
    shard: int,
    pairs: Artifact,
    neurons: Artifact,
    change: Artifact | None,
    sets: Sequence[str],
    model: ModelReference,
) -> str:
    """Return the content key of attack `shard` (a place in `attacks.ATTACKS`) on the base model, or under a change."""
    attack = attacks.ATTACKS[shard]
    prompts = {name: value for name, value in answers.settings(evaluation).items() if name not in OWN}
    settings = {"attack": attack, "robustness": attacks.settings_of(config, attack), "prompts": prompts}
    inputs = [pairs.digest, *sets, judge_version(), change.digest if change else "base"]
    inputs += [neurons.digest] if attack == attacks.SILENCED else []
    return artifacts.stage_key(PART, PART_VERSION, settings, asked_model(model), inputs)


@stage_task(PART, part_key, f"{STAGE} {{shard}}")
def measure_part(
    config: RobustnessConfig,
    evaluation: EvaluationConfig,
    shard: int,
    pairs: Artifact,
    neurons: Artifact,
    change: Artifact | None,
    sets: Sequence[str],
    model: ModelReference,
    runtime: RuntimeConfig,
    record: Tracking,
) -> Artifact:
    """Put a model to one attack."""
    attack = attacks.ATTACKS[shard]

    def fill(folder: Path) -> Mapping[str, float]:
        all_pairs = tables.load_pairs(artifacts.open_folder(pairs))
        asked = attacks.study_prompts(all_pairs, config, evaluation, PublicLibrary(evaluation))
        changing = load_change(artifacts.open_folder(change)) if change else attacks.UNCHANGED
        selected = tables.load_neurons(artifacts.open_folder(neurons))
        with loaded(model, runtime, working=True) as chat:
            study = measure.Study(
                chat, changing, selected, asked, config, judge_by_name(JUDGE), batch_tokens(chat, runtime)
            )
            measured = measure.measure(study, attack, tracker(f"{STAGE}, {attack}"))
        tables.save_table(folder, "answers", measured.assign(model="tuned" if change else "base"))
        return {"answers": float(len(measured))}

    key = part_key(config, evaluation, shard, pairs, neurons, change, sets, model)
    inputs = [pairs, neurons, *([change] if change else []), *map(data_file, sets)]
    return carry_out(PART, key, fill, config, inputs, runtime, record)


def key(parts: Sequence[Artifact]) -> str:
    """Return the content key of the table of these parts."""
    return artifacts.stage_key(STAGE, VERSION, {}, "", [part.digest for part in parts])


@stage_task(STAGE, key)
def summarise_parts(
    config: RobustnessConfig, parts: Sequence[Artifact], runtime: RuntimeConfig, record: Tracking
) -> Artifact:
    """Put the parts together: a row a model, attack and setting."""

    def fill(folder: Path) -> Mapping[str, float]:
        every = pd.concat(
            [tables.load_table(artifacts.open_folder(part), "answers") for part in parts], ignore_index=True
        )
        table = summary.success_table(every)
        tables.save_table(folder, TABLE, table)
        tables.save_table(folder, "answers", every)
        return summary.facts_of(table)

    return carry_out(STAGE, key(parts), fill, config, list(parts), runtime, record)
