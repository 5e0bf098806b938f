"""A study's page in Markdown: question, table, drawing, and the commands that compute the numbers."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from neurontune_core.causal import page as causal_page
from neurontune_core.causal.cells import BASE, OPPOSING, RANDOM, SAFETY, ZERO
from neurontune_core.robustness import page as robustness_page
from neurontune_core.shown_text import markdown_block
from neurontune_core.studies import overlap
from neurontune_core.studies.catalogue import Study

Rows = list[dict[str, str]]
PROMPTS_OF = {"safety": "harmful", "utility": "harmless"}


def render_page(study: Study, body: str, command: str, commands: Mapping[str, str], notes: str = "") -> str:
    """Return the page around its body (table and drawing); `commands` repeat the single runs."""
    parts = [
        f"# {study.title}",
        study.question,
        body,
        *([notes] if notes else []),
        f"All of it:\n\n{markdown_block(command)}",
    ]
    if commands:
        single = "\n".join(f"# {' '.join(name.split())}\n{text}" for name, text in commands.items())
        parts.append(f"A row alone:\n\n{markdown_block(single)}")
    return "\n\n".join(parts) + "\n"


def comparison_body(table: pd.DataFrame, study: Study, plot: str) -> str:
    """Return a study's table and drawing (the file `plot`) in Markdown."""
    if study.layout == "causal":
        return causal_page.causal_body(table, plot)
    return f"{causal_page.markdown(study_rows(table, study))}\n\n![{study.title}]({plot})"


def ranking_rows(table: pd.DataFrame) -> Rows:
    """Return a row a ranking: how many plain harmful prompts are still refused, by the share of silenced neurons."""
    rows: Rows = []
    plain = table[table["group"] == "harmful_plain"]
    for name, part in plain.groupby("variant", sort=False):
        base = part[part["intervention"] == BASE].iloc[0]
        for neurons in (SAFETY, OPPOSING):
            own = part[(part["neurons"] == neurons) & (part["intervention"] == ZERO)]
            shown = {"ranking": str(name), "silenced": causal_page.SETS[neurons], "none": f"{base['refused']:.0%}"}
            shown |= {f"{row['share']:.2%}": causal_page.rate(row) for row in own.to_dict("records")}
            rows.append(shown | {"seconds to rank": f"{base['seconds']:.0f}", "n": f"{base['n']:.0f}"})
        drawn = part[(part["neurons"] == SAFETY) & part["random"].notna()]
        if len(drawn):
            shown = {"ranking": str(name), "silenced": causal_page.SETS[RANDOM], "none": f"{base['refused']:.0%}"}
            shown |= {f"{row['share']:.2%}": causal_page.random_rate(row) for row in drawn.to_dict("records")}
            rows.append(shown | {"seconds to rank": "", "n": f"{base['n']:.0f}"})
    return rows


def overlap_section(table: pd.DataFrame) -> str:
    """Return how many first neurons both rankings share, as a Markdown section (`overlap.overlap_table`)."""
    return f"## How far the two sets overlap\n\n{causal_page.markdown(overlap.overlap_rows(table))}"


def trial_rows(trials: Sequence[Mapping[str, float]]) -> str:
    """Return the trials on validation data as a Markdown table."""
    header = "| " + " | ".join(name.replace("_", " ") for name in trials[0]) + " |\n|" + "---|" * len(trials[0])
    rows = [[_number(name, value) for name, value in row.items()] for row in trials]
    return "\n".join([header, *("| " + " | ".join(row) + " |" for row in rows)])


def _number(name: str, value: float) -> str:
    if name.endswith("score"):
        return f"{value:.3f}"
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:.3g}"


def study_rows(table: pd.DataFrame, study: Study) -> Rows:
    """Return the table as text, with each interval beside its number."""
    if study.layout == "robustness":
        return robustness_page.attack_rows(table)
    if study.layout == "rankings":
        return ranking_rows(table)
    if study.layout == "layers":
        return [{str(name): str(value) for name, value in row.items()} for row in table.to_dict("records")]
    show = _matrix_row if study.layout in ("attack_types", "datasets") else _comparison_row
    return [show(row) for row in table.to_dict("records")]


def narrow_rows(table: pd.DataFrame, study: Study) -> Rows:
    """Return the table as text with few and short columns, as a terminal shows it; the page has the rest."""
    if study.layout == "causal":
        rows = []
        for intervention in dict.fromkeys(table["intervention"]):
            part = causal_page.rate_rows(table[table["intervention"] == intervention])
            rows += [{"done": str(intervention)} | _without_intervals(row) for row in part]
        return _largest_shares(rows)
    if study.layout == "rankings":
        return _largest_shares([_without_intervals(row) for row in ranking_rows(table)])
    if study.layout == "layers" or study.layout in ("attack_types", "datasets"):
        return [{name: value for name, value in row.items() if name != "n"} for row in study_rows(table, study)]
    return [
        {"variant": str(row["variant"]), "SU-F1": f"{row['su_f1']:.2f}"}
        | {"95%": "" if row["variant"] in ("mean", "standard deviation") else f"{row['low']:.2f}-{row['high']:.2f}"}
        | {"safety": f"{row['safety']:.0%}", "utility": f"{row['utility']:.0%}"}
        | {"KL": "" if math.isnan(row["kl"]) else f"{row['kl']:.2f}"}
        for row in table.to_dict("records")
    ]


def _without_intervals(row: Mapping[str, str]) -> dict[str, str]:
    """Return a row with only the rates of `causal.page`: `40% [12, 70]` becomes `40%`."""
    kept = {name: value for name, value in row.items() if name not in ("seconds to rank", "n")}
    return {name: value.split(" ")[0] if name.endswith("%") else value for name, value in kept.items()}


def _largest_shares(rows: Rows, most: int = 4) -> Rows:
    """Return rows with only the columns of the largest shares of neurons; all rows have the same columns."""
    shares = sorted({name for row in rows for name in row if name.endswith("%")}, key=lambda name: float(name[:-1]))
    texts = list(dict.fromkeys(name for row in rows for name in row if not name.endswith("%")))
    return [{name: row.get(name, "") for name in (*texts, *shares[-most:])} for row in rows]


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
        "prompts": PROMPTS_OF[row["role"]],
        "refused": f"{row['rate']:.1%} [{row['low']:.0%}, {row['high']:.0%}]",
        "n": str(row["n"]),
        "SU-F1 of the two": "" if math.isnan(row["su_f1"]) else f"{row['su_f1']:.3f}",
    }
