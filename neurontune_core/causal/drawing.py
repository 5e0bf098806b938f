"""Dose-response curves: how many prompts are refused by how many neurons are changed, and how."""

import math
import textwrap
from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from neurontune_core.causal.cells import BASE, OPPOSING, RANDOM, SAFETY, UTILITY
from neurontune_core.causal.page import SETS
from neurontune_core.shown_text import group_in_words

COLOURS = {SAFETY: "#b5432f", OPPOSING: "#2f6db5", UTILITY: "#3f8f4f"}
WIDTH, HEIGHT, COLUMNS = 3.4, 2.6, 4
FONT = 8


def draw_responses(table: pd.DataFrame, title: str) -> Figure:
    """Return the drawing of a causal table: a panel an intervention and group, the share of neurons on its axis.

    The band is the range of the matched random sets, the dashed line the model without a change.
    """
    panels = _panels(table)
    columns = min(COLUMNS, max(1, len(panels)))
    rows = -(-len(panels) // columns) or 1
    figure = Figure(figsize=(WIDTH * columns, HEIGHT * rows + (1.6 if columns == 1 else 0.8)), layout="constrained")
    grid = figure.subplots(rows, columns, sharey=True, squeeze=False)
    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    for axes, (name, part, base) in zip(grid.flat, panels, strict=False):
        _panel(axes, name, part, base)
    _legend(figure, 1 if columns == 1 else columns + 1)
    text = f"{title}: prompts refused, by the share of all neurons that is changed"
    figure.suptitle(textwrap.fill(text, 34 * columns), x=0.01, ha="left", fontsize=11)
    return figure


def draw_panels(table: pd.DataFrame) -> dict[str, Figure]:
    """Return each panel of `draw_responses` as its own drawing by its name, for a page as narrow as a phone's."""
    drawings = {}
    for name, part, base in _panels(table):
        figure = Figure(figsize=(WIDTH, HEIGHT + 0.5), layout="constrained")
        _panel(figure.add_subplot(), name, part, base)
        _legend(figure, 2, fontsize=FONT, columnspacing=1.0, handlelength=1.5)
        drawings[name] = figure
    return drawings


def _panels(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame, float]]:
    """Return the name of each panel, its rows, and the share refused without a change."""
    sized = table[(table["share"] > 0) & table["neurons"].isin(list(COLOURS))]
    base = table[table["intervention"] == BASE].groupby("group")["refused"].first().to_dict()
    return [
        (f"{group_in_words(str(group))}: {intervention}", part, float(base[group]))
        for (intervention, group), part in sized.groupby(["intervention", "group"], sort=False)
    ]


def _legend(figure: Figure, across: int, **look: float) -> None:
    handles = {
        label: handle for axes in figure.axes for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    look = {"fontsize": 9} | look
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=across, frameon=False, **look)


def _panel(axes: Axes, name: str, part: pd.DataFrame, base: float) -> None:
    axes.set_title(textwrap.fill(name, 34), fontsize=9, loc="left")
    for neurons, colour in COLOURS.items():
        own = part[part["neurons"] == neurons].sort_values("share")
        if own.empty:
            continue
        spans = [(own["refused"] - own["low"]).clip(lower=0), (own["high"] - own["refused"]).clip(lower=0)]
        axes.errorbar(own["share"], own["refused"], yerr=spans, color=colour, marker="o", ms=3, capsize=2, lw=1.2,
                      label=SETS[neurons])  # fmt: skip
    random = part[part["random"].notna()].sort_values("share")
    band: dict[str, Any] = {"color": "#999999", "alpha": 0.4, "label": SETS[RANDOM]}
    if random["share"].nunique() == 1:  # a band between two sizes would have no width
        axes.axhspan(random["random_low"].min(), random["random_high"].max(), **band)
    elif not random.empty:
        axes.fill_between(random["share"], random["random_low"], random["random_high"], **band)
    axes.axhline(base, color="black", ls="--", lw=0.8, label="no change")
    label_logarithmic(axes, sorted(part["share"].unique()), 150)
    axes.set_ylim(-0.03, 1.03)
    axes.grid(alpha=0.3)


def label_logarithmic(
    axes: Axes,
    values: Sequence[float],
    width: float,
    shown: Callable[[float], str] = lambda share: f"{100 * share:.3g}%",
) -> None:
    """Put values on a logarithmic axis, labelled where there is room.

    Args:
        axes: the axes.
        values: the values, rising.
        width: least width that the axes will have, in points.
        shown: a value's label; by default it is a share, in percent.
    """
    labels, end = [], -math.inf
    span = math.log(values[-1] / values[0]) or 1.0
    for value in values:
        text = shown(value)
        # a letter is about 0.64 of its height wide
        place, half = width * math.log(value / values[0]) / span, 0.32 * FONT * len(text)
        labels.append(text if place - half > end + 3 else "")
        end = place + half if labels[-1] else end
    axes.set_xscale("log")
    axes.set_xticks(values, labels, fontsize=FONT)
    axes.minorticks_off()
