"""A study's page in Markdown: question, table, drawing, and the commands that give the numbers."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from neurontune_core.studies.catalogue import Study

Rows = list[dict[str, str]]
ROLES = {"safety": "harmful", "utility": "harmless"}


def render_page(study: Study, rows: Rows, plot: str, command: str, commands: Mapping[str, str], notes: str = "") -> str:
    """Return the page; `plot` is the file of the drawing, `commands` make the single runs again."""
    header = "| " + " | ".join(rows[0]) + " |\n|" + "---|" * len(rows[0])
    body = "\n".join("| " + " | ".join(row.values()) + " |" for row in rows)
    single = "\n".join(f"# {name}\n{text}" for name, text in commands.items())
    return (
        f"# {study.title}\n\n{study.question}\n\n{header}\n{body}\n\n![{study.title}]({plot})\n\n"
        + (f"{notes}\n\n" if notes else "")
        + f"All of it:\n\n```\n{command}\n```\n\nA row alone:\n\n```\n{single}\n```\n"
    )


def trial_rows(trials: Sequence[Mapping[str, float]]) -> str:
    """Return the trials on validation data as a Markdown table."""
    header = "| " + " | ".join(name.replace("_", " ") for name in trials[0]) + " |\n|" + "---|" * len(trials[0])
    rows = [
        [f"{value:.3f}" if name.endswith("f1") else f"{value:,.0f}" for name, value in row.items()] for row in trials
    ]
    return "\n".join([header, *("| " + " | ".join(row) + " |" for row in rows)])


def shown_rows(table: pd.DataFrame, study: Study) -> Rows:
    """Return the table as text, with intervals beside the numbers they belong to."""
    if study.layout == "layers":
        return [{str(name): str(value) for name, value in row.items()} for row in table.to_dict("records")]
    show = _matrix_row if study.layout in ("attack_types", "datasets") else _comparison_row
    return [show(row) for row in table.to_dict("records")]


def _comparison_row(row: Mapping[Any, Any]) -> dict[str, str]:
    shown = {"variant": str(row["variant"]), "SU-F1": f"{row['su_f1']:.3f} [{row['low']:.2f}, {row['high']:.2f}]"}
    if row["variant"] in ("mean", "standard deviation"):
        shown["SU-F1"] = f"{row['su_f1']:.3f}"
    difference = row.get("difference", math.nan)
    interval = f" [{row['difference_low']:+.2f}, {row['difference_high']:+.2f}]"
    shown["difference"] = "" if math.isnan(difference) else f"{difference:+.3f}{interval}"
    for name, title in (("safety", "harmful refused"), ("utility", "harmless answered")):
        shown[title] = f"{row[name]:.1%}"
    for name in ("harmful plain", "harmful held-out", "ordinary", "borderline", "benign attacked", "benign held-out"):
        shown[f"refused: {name}"] = "" if math.isnan(row[name]) else f"{row[name]:.1%}"
    shown["KL to base"] = "" if math.isnan(row["kl"]) else f"{row['kl']:.3f}"
    shown |= {"broken": f"{row['broken']:.1%}", "parameters": f"{row['parameters']:,.0f}"}
    return shown | {"seconds": f"{row['seconds']:.0f}", "n": f"{row['n']:.0f}"}


def _matrix_row(row: Mapping[Any, Any]) -> dict[str, str]:
    return {
        "trained on": str(row["variant"]),
        "tested on": str(row["tested on"]),
        "prompts": ROLES[row["role"]],
        "refused": f"{row['rate']:.1%} [{row['low']:.0%}, {row['high']:.0%}]",
        "n": str(row["n"]),
        "SU-F1 of the two": "" if math.isnan(row["su_f1"]) else f"{row['su_f1']:.3f}",
    }
