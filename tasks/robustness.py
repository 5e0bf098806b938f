"""The robustness study: its parts (one attack on one model each), which run in parallel, and their table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from neurontune_core import artifacts, tables
from neurontune_core.baselines.storage import load_change
from neurontune_core.data.library import PublicLibrary
from neurontune_core.evaluation import answers
from neurontune_core.evaluation.judges import judge_by_name
from neurontune_core.evaluation.refusals import JUDGE, judge_version
from neurontune_core.evaluation.settings import EvaluationConfig
from neurontune_core.model.source import ModelReference
from neurontune_core.records import Artifact
from neurontune_core.robustness import attacks, measure, summary
from neurontune_core.robustness.settings import RobustnessConfig
from tasks.ability import asked_model
from tasks.models import loaded, with_device
from tasks.progress import tracker
from tasks.recording.data_files import data_file
from tasks.stage import StageRun, carry_out, stage_task, with_parts

PART, STAGE = "robustness-part", "robustness"
TABLE = "table"
PART_VERSION, VERSION = 2, 2
OWN = ("prompts_per_benchmark", "max_new_tokens", "seed")
"""Settings of the evaluation that the study does not use, because it has its own."""


@dataclass(frozen=True)
class RobustnessInputs:
    """What all parts of a robustness study share: settings, model, and the artifacts with its prompts and neurons."""

    config: RobustnessConfig
    evaluation: EvaluationConfig
    pairs: Artifact
    neurons: Artifact
    sets: tuple[str, ...]
    model: ModelReference


def part_key(inputs: RobustnessInputs, shard: int, change: Artifact | None) -> str:
    """Return the content key of attack `shard` (index in `attacks.ATTACKS`) on the base model or a changed model."""
    attack = attacks.ATTACKS[shard]
    prompts = {name: value for name, value in answers.prompt_settings(inputs.evaluation).items() if name not in OWN}
    settings = {"attack": attack, "robustness": attacks.settings_of(inputs.config, attack), "prompts": prompts}
    digests = [inputs.pairs.digest, *inputs.sets, judge_version(), change.digest if change else "base"]
    digests += [inputs.neurons.digest] if attack == attacks.SILENCED else []
    return artifacts.stage_key(PART, PART_VERSION, settings, asked_model(inputs.model), digests)


@stage_task(PART, part_key, f"{STAGE} {{shard}}")
def measure_part(inputs: RobustnessInputs, shard: int, change: Artifact | None, run: StageRun) -> Artifact:
    """Run one attack on a model."""
    attack, config, evaluation = attacks.ATTACKS[shard], inputs.config, inputs.evaluation

    def fill(folder: Path) -> Mapping[str, float]:
        all_pairs = tables.load_pairs(artifacts.open_folder(inputs.pairs))
        asked = attacks.attackable_prompts(all_pairs, config, evaluation, PublicLibrary(evaluation))
        changing = load_change(artifacts.open_folder(change)) if change else attacks.UNCHANGED
        selected = tables.load_neurons(artifacts.open_folder(inputs.neurons))
        with loaded(inputs.model, run.runtime, working=True) as chat:
            study = measure.RobustnessStudy(chat, changing, selected, asked, config, judge_by_name(JUDGE))
            measured = measure.measure_attack(study, attack, tracker(f"{STAGE}, {attack}"))
        tables.save_table(folder, "answers", measured.assign(model="tuned" if change else "base"))
        return {"answers": float(len(measured))}

    made_from = [inputs.pairs, inputs.neurons, *([change] if change else []), *map(data_file, inputs.sets)]
    return carry_out(PART, run, fill, with_device(config, run.runtime), made_from)


def table_key(parts: Sequence[Artifact]) -> str:
    """Return the content key of the table of these parts."""
    return artifacts.stage_key(STAGE, VERSION, {}, "", [part.digest for part in parts])


@stage_task(STAGE, table_key)
def summarise_parts(config: RobustnessConfig, parts: Sequence[Artifact], run: StageRun) -> Artifact:
    """Join the parts to a table: a row a model, attack and setting."""

    def fill(folder: Path) -> Mapping[str, float]:
        every = pd.concat(
            [tables.load_table(artifacts.open_folder(part), "answers") for part in parts], ignore_index=True
        )
        table = summary.success_table(every)
        tables.save_table(folder, TABLE, table)
        tables.save_table(folder, "answers", every)
        return summary.attack_facts(table)

    return carry_out(STAGE, run, fill, with_parts(config, parts), list(parts))
