"""Commands that list presets, studies, a model's layers or verdicts, without running a model."""

import json
import os
from pathlib import Path
from typing import Any

from rich.table import Table

from flows.commands.console import TextConsole, echo, fitting_table
from neurontune_core.config import absolute_path
from neurontune_core.model.settings import ModelConfig
from neurontune_core.preset_files import preset_comment, preset_names

JUDGE_FIGURES = (
    "n",
    "verdicts",
    "gave",
    "degenerate",
    "f1",
    "f1_without_partial",
    "worst_group_f1",
    "false_refusal_unsafe",
    "false_refusal_safe",
)
"""The fields that `neurontune judge --json` prints."""
WIDTH = 160
"""Columns used if the output is not a terminal."""


def show_presets() -> None:
    """Print every shipped preset with the first comment of its file."""
    table = Table("preset", "what it is for", box=None)
    for name in preset_names():
        table.add_row(name, preset_comment(name))
    TextConsole(WIDTH).print(table)


def show_studies() -> None:
    """Print every shipped study with its number of variants and its question."""
    from neurontune_core.studies.catalogue import STUDIES

    table = Table("study", "variants", "what it asks", box=None)
    for name, study in STUDIES.items():
        table.add_row(name, str(len(study.variants)), study.question)
    TextConsole(WIDTH).print(table)


def show_coverage(name: str) -> bool:
    """Print a row for each decoder layer with the down projection found in it; return whether a run can be started.

    It can if every layer has a down projection, and the default method of attribution can follow its attention.

    Raises:
        InputError: the model does not exist or is not a decoder, or its attention cannot be followed.
    """
    from neurontune_core import neurons
    from neurontune_core.attribution.verify import check_attention
    from neurontune_core.model import source
    from neurontune_core.model.checks.folder import check_model_folder
    from neurontune_core.model.checks.name import check_name
    from neurontune_core.model.gguf import is_gguf

    config = ModelConfig.model_validate({"name": absolute_path(name)})
    check_name(config)
    if os.path.exists(config.name) and not is_gguf(config.name):
        check_model_folder(Path(config.name), config)
    skeleton = source.skeleton(config)
    rows = neurons.coverage(skeleton)
    shown = [
        {"layer": str(row.layer), "down projection": row.path, "layout": row.layout, "neurons": str(row.neurons)}
        | {"problem": row.problem}
        for row in rows
    ]
    TextConsole(WIDTH).print(fitting_table(shown))
    if any(row.problem for row in rows):
        return False
    check_attention(skeleton)
    return True


def show_judgement(file: str, judge: str, path: str | None, to: str | None, as_json: bool) -> None:
    """Judge the completions of a file, print counts and agreement with human labels, and write the verdicts to `to`.

    Raises:
        InputError: no such file, or a bad row.
    """
    from neurontune_core.evaluation.judges import judge_by_name
    from neurontune_core.evaluation.judges.scorefile import score_file

    figures = score_file(file, judge_by_name(judge, path), to)
    if as_json:
        echo(json.dumps({name: figures[name] for name in JUDGE_FIGURES}, indent=1))
        return
    for name, value in figures.items():
        TextConsole(WIDTH).print(f"{name.replace('_', ' '):<24} {_figure(value)}")
    if to is not None:
        echo(f"a row for each verdict: {to}")


def _figure(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{_figure(part)} {name}" for name, part in value.items()) or "-"
    return f"{value:.3f}" if isinstance(value, float) else "-" if value is None else str(value)
