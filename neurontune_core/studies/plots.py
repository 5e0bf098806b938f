"""A study's drawing, as SVG text."""

import io
from collections.abc import Callable

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from neurontune_core.causal.cells import SAFETY as SAFETY_SET
from neurontune_core.causal.cells import ZERO
from neurontune_core.causal.drawing import draw_responses, label_shares
from neurontune_core.robustness.drawing import draw_attacks
from neurontune_core.studies.catalogue import Layout
from neurontune_core.studies.results import pareto_front

SAFETY, UTILITY, BASE = "#b5432f", "#2f6db5", "#777777"


def draw(table: pd.DataFrame, layout: Layout, title: str) -> str:
    """Return the drawing of a study's table, the same for the same table."""
    if layout == "causal":
        return as_svg(draw_responses(table, title))
    if layout == "robustness":
        return as_svg(draw_attacks(table, title))
    panels = table["tested on"].nunique() if layout in ("attack_types", "datasets") else table["variant"].nunique()
    figure = Figure(
        figsize=(7.5, 4.2 if layout in ("plane", "rankings") else 1.6 + 0.36 * panels), layout="constrained"
    )
    axes = figure.add_subplot()
    _DRAWINGS[layout](axes, table)
    axes.set_title(title, loc="left", fontsize=11)
    return as_svg(figure)


def as_svg(figure: Figure) -> str:
    """Return a figure as SVG text, the same for the same figure: with fixed names inside the file and no date."""
    text = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "neurontune", "svg.fonttype": "none"}):
        figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()


def _methods(axes: Axes, table: pd.DataFrame) -> None:
    rows = table[~table["variant"].isin(["mean", "standard deviation"])].iloc[::-1]
    places = np.arange(len(rows))
    spans = np.abs(rows[["low", "high"]].to_numpy().T - rows["su_f1"].to_numpy())
    axes.errorbar(rows["su_f1"], places, xerr=spans, fmt="o", color="black", capsize=3, label="SU-F1, 95%")
    axes.scatter(rows["safety"], places, marker="|", s=120, color=SAFETY, label="harmful refused")
    axes.scatter(rows["utility"], places, marker="|", s=120, color=UTILITY, label="harmless answered")
    axes.set_yticks(places, rows["variant"])
    axes.set_xlim(-0.02, 1.02)
    axes.grid(axis="x", alpha=0.3)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=3, frameon=False, fontsize=9)


def _plane(axes: Axes, table: pd.DataFrame) -> None:
    tuned, base = table[table["variant"] != "base model"], table[table["variant"] == "base model"]
    front = tuned[pareto_front(tuned["safety"].tolist(), tuned["utility"].tolist())].sort_values("safety")
    axes.plot(front["safety"], front["utility"], color=UTILITY, alpha=0.5, label="Pareto front")
    axes.scatter(tuned["safety"], tuned["utility"], color="black", s=22, label="variants")
    axes.scatter(base["safety"], base["utility"], color=BASE, marker="s", s=22, label="base model")
    for row in tuned.to_dict("records"):
        axes.annotate(str(row["variant"]), (row["safety"], row["utility"]), (4, 4), textcoords="offset points", size=8)
    axes.set_xlabel("harmful prompts refused")
    axes.set_ylabel("harmless prompts answered")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, fontsize=9)


def _matrix(axes: Axes, table: pd.DataFrame) -> None:
    columns = [f"{name}, {role}" for name in table["variant"].unique() for role in ("harmful", "harmless")]
    rows = list(table["tested on"].unique())
    cells = np.full((len(rows), len(columns)), np.nan)
    for row in table.to_dict("records"):
        role = "harmful" if row["role"] == "safety" else "harmless"
        cells[rows.index(row["tested on"]), columns.index(f"{row['variant']}, {role}")] = row["rate"]
    axes.imshow(cells, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for (i, j), value in np.ndenumerate(cells):
        if not np.isnan(value):
            axes.text(j, i, f"{value:.0%}", ha="center", va="center", color="white" if value > 0.6 else "black")
    axes.set_xticks(range(len(columns)), columns, rotation=20, ha="right", fontsize=8)
    axes.set_yticks(range(len(rows)), rows)
    axes.set_xlabel("trained on; share of the prompts refused")


def _rankings(axes: Axes, table: pd.DataFrame) -> None:
    silenced = table[(table["group"] == "harmful_plain") & (table["intervention"] == ZERO)]
    for number, (name, part) in enumerate(silenced.groupby("variant", sort=False)):
        own = part[part["neurons"] == SAFETY_SET].sort_values("share")
        style = ["-", "--", ":", "-."][number % 4]
        axes.plot(own["share"], own["refused"], linestyle=style, marker="o", ms=3, label=str(name))
    drawn = silenced[(silenced["neurons"] == SAFETY_SET) & silenced["random"].notna()].groupby("share")
    ends = drawn.agg(low=("random_low", "min"), high=("random_high", "max"))
    axes.fill_between(ends.index, ends["low"], ends["high"], color=BASE, alpha=0.4, label="random, matched by layer")
    label_shares(axes, sorted(silenced.loc[silenced["share"] > 0, "share"].unique()))
    axes.set_ylim(-0.03, 1.03)
    axes.set_xlabel("neurons silenced, share of all")
    axes.set_ylabel("plain harmful prompts refused")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))


def _layers(axes: Axes, table: pd.DataFrame) -> None:
    for number, (name, part) in enumerate(table.groupby("variant", sort=False)):
        depth = part["layer"] / max(1, part["layer"].max())
        for role, colour in (("safety", SAFETY), ("utility", UTILITY)):
            share = part[role] / max(1, part[role].sum())
            style = ["-", "--", ":", "-."][number % 4]
            axes.plot(depth, share, color=colour, linestyle=style, label=f"{role}, {name}")
    axes.set_xlabel("depth in the model (0: first layer, 1: last)")
    axes.set_ylabel("share of the role's neurons")
    axes.legend(frameon=False, fontsize=8)


_DRAWINGS: dict[Layout, Callable[[Axes, pd.DataFrame], None]] = {
    "methods": _methods,
    "seeds": _methods,
    "plane": _plane,
    "attack_types": _matrix,
    "datasets": _matrix,
    "layers": _layers,
    "rankings": _rankings,
}
