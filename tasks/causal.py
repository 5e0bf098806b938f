"""The causal study: its parts, which run in parallel, and the table, drawing and page made from them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd

from neurontune_core import artifacts, tables
from neurontune_core.attribution.settings import AttributionMethod
from neurontune_core.causal import cells, measure, page, prompts, summary
from neurontune_core.causal.sets import Sets
from neurontune_core.causal.settings import CausalConfig
from neurontune_core.data.library import PublicLibrary
from neurontune_core.evaluation import answers
from neurontune_core.evaluation.refusals import judge_version, labels
from neurontune_core.evaluation.settings import EvaluationConfig
from neurontune_core.model.source import ModelReference
from neurontune_core.records import Artifact
from neurontune_core.selection.ranking import strengths
from neurontune_core.selection.settings import SelectionConfig
from tasks.models import loaded, with_device
from tasks.progress import tracker
from tasks.recording.data_files import data_file
from tasks.stage import StageRun, carry_out, stage_task, with_parts

PART, STAGE = "causal-part", "causal"
TABLE, PAGE, PLOT = "table", "page.md", "plot.svg"
PART_VERSION, VERSION = 3, 5


@dataclass(frozen=True)
class CausalInputs:
    """What all parts of a causal study share: settings, model, and the artifacts with its prompts and neurons."""

    config: CausalConfig
    selection: SelectionConfig
    evaluation: EvaluationConfig
    method: AttributionMethod
    pairs: Artifact
    scores: Artifact
    neurons: Artifact
    sets: tuple[str, ...]
    model: ModelReference


def part_key(inputs: CausalInputs, shard: int) -> str:
    """Return the content key of part `shard`, counted from 0, of `config.shards`."""
    settings = {
        "causal": inputs.config.model_dump(mode="json"),
        "ranking": {name: getattr(inputs.selection, name) for name in ("statistic", "safety_set", "utility_set")},
        "method": inputs.method,
        "prompts": answers.prompt_settings(inputs.evaluation),
    }
    made_from = [artifact.digest for artifact in (inputs.pairs, inputs.scores, inputs.neurons)]
    digests = [*made_from, *inputs.sets, judge_version(inputs.config.judge), f"shard {shard}"]
    return artifacts.stage_key(PART, PART_VERSION, settings, inputs.model.identity, digests)


@stage_task(PART, part_key, f"{STAGE} {{shard}}")
def measure_part(inputs: CausalInputs, shard: int, run: StageRun) -> Artifact:
    """Measure one part of the study's cells: ask the model with the neurons of each cell changed."""
    config, model = inputs.config, inputs.model

    def fill(folder: Path) -> Mapping[str, float]:
        all_pairs = tables.load_pairs(artifacts.open_folder(inputs.pairs))
        asked = prompts.grouped_prompts(all_pairs, config, inputs.evaluation, PublicLibrary(inputs.evaluation))
        harmless = [
            pair for pair in all_pairs if pair.role == "utility" and pair.split == "train" and not pair.attack_name
        ]
        with loaded(model, run.runtime, working=True) as chat:
            fitting, left_out = prompts.prompts_with_room(asked, chat, config.tokens)
            judge = partial(labels, judge=config.judge)
            study = measure.CausalStudy(chat, _sets(inputs), fitting, harmless, judge, config.tokens)
            kinds = {name: prompts.kind_of(own) for name, own in asked.items()}
            mine = cells.in_shard(cells.plan_cells(config, kinds), shard, config.shards)
            measured = measure.measure_cells(study, mine, tracker(f"{STAGE} {shard + 1}/{config.shards}"))
        tables.save_table(folder, "answers", measured)
        tables.save_table(folder, "left_out", left_out)
        return {"answers": float(len(measured)), "cells": float(len(mine)), "left_out": float(len(left_out))}

    made_from = [inputs.pairs, inputs.scores, inputs.neurons, *map(data_file, inputs.sets)]
    return carry_out(PART, run, fill, with_device(config, run.runtime), made_from)


def _sets(inputs: CausalInputs) -> Sets:
    """Return the neurons of both roles ordered by strength, and the selected ones."""
    table = tables.load_table(artifacts.open_folder(inputs.scores), "scores")
    widths = inputs.model.neurons_per_layer
    selected = tables.load_neurons(artifacts.open_folder(inputs.neurons))
    return Sets(strengths(table, inputs.selection, widths, inputs.method), selected, widths, inputs.config.seed)


def table_key(parts: Sequence[Artifact]) -> str:
    """Return the content key of the table of these parts."""
    return artifacts.stage_key(STAGE, VERSION, {}, "", [part.digest for part in parts])


@stage_task(STAGE, table_key)
def summarise_parts(config: CausalConfig, parts: Sequence[Artifact], run: StageRun) -> Artifact:
    """Join the parts to a table (a row a set, size, intervention and group), a drawing and a page."""

    def fill(folder: Path) -> Mapping[str, float]:
        # matplotlib, which the report of a run does not need
        from neurontune_core.causal.drawing import draw_responses
        from neurontune_core.studies.plots import as_svg

        every = pd.concat(
            [tables.load_table(artifacts.open_folder(part), "answers") for part in parts], ignore_index=True
        )
        table = summary.causal_table(every)
        tables.save_table(folder, TABLE, table)
        tables.save_table(folder, "answers", every)
        (folder / PLOT).write_text(as_svg(draw_responses(table, "Cause and effect")), encoding="utf-8")
        (folder / PAGE).write_text(f"# Cause and effect\n\n{page.causal_body(table, PLOT)}\n", encoding="utf-8")
        return summary.causal_facts(table, every)

    return carry_out(STAGE, run, fill, with_parts(config, parts), list(parts))
