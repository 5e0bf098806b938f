"""Draw attack success: all attacks side by side, and the curves over samples and over the averaged fraction."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from neurontune_core.robustness.attacks import ATTACKS, AVERAGED, BEST_OF, PLAIN

COLOURS = ("#777777", "#b5432f", "#2f6db5", "#3f8f4f", "#8a5fb0", "#c08a2d")


def draw_attacks(table: pd.DataFrame, title: str) -> Figure:
    """Return the drawing: points with 95% intervals by attack; attack success over N; over the fraction averaged."""
    variants = list(table["variant"].unique())
    figure = Figure(figsize=(12.5, 5), layout="constrained")
    left, middle, right = figure.subplots(1, 3, width_ratios=(1.6, 1, 1))
    labels = [
        (attack, setting)
        for attack in ATTACKS
        for setting in table.loc[table["attack"] == attack, "setting"].unique()
        if attack != BEST_OF or setting == table.loc[table["attack"] == attack, "setting"].iloc[-1]
    ][::-1]
    for number, variant in enumerate(variants):
        own, colour = table[table["variant"] == variant], COLOURS[number % len(COLOURS)]
        shift = 0.7 * ((len(variants) - 1) / 2 - number) / max(1, len(variants))
        part = own.set_index(["attack", "setting"])
        known = [label for label in labels if label in part.index]
        _points(left, part.loc[known], [labels.index(label) + shift for label in known], colour, variant)
        _curve(middle, own[own["attack"] == BEST_OF], colour)
        plain = own[own["attack"] == PLAIN]
        moved = own[own["attack"] == AVERAGED]
        if len(moved):
            _curve(right, pd.concat([plain.assign(place=0.0), moved]).sort_values("place"), colour)
    left.set_yticks(range(len(labels)), [f"{attack}: {setting}".removesuffix(": ") for attack, setting in labels])
    left.set_xlim(-0.02, 1.02)
    left.set_xlabel("attack success, 95%")
    middle.set_xlabel("samples (best of N)")
    right.set_xlabel("averaged: fraction of the way back")
    for axes in (middle, right):
        axes.set_ylim(-0.02, 1.02)
    for axes in (left, middle, right):
        axes.grid(alpha=0.3)
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=6, frameon=False, fontsize=9)
    figure.suptitle(title, x=0.01, ha="left", fontsize=11)
    return figure


def _points(axes: Axes, part: pd.DataFrame, places: list[float], colour: str, name: str) -> None:
    axes.errorbar(part["asr"], places, xerr=_spans(part), fmt="o", ms=4, capsize=2, color=colour, label=name)


def _curve(axes: Axes, part: pd.DataFrame, colour: str) -> None:
    axes.plot(part["place"], part["asr"], color=colour, marker="o", ms=2.5)
    axes.fill_between(part["place"], part["low"], part["high"], color=colour, alpha=0.12)


def _spans(part: pd.DataFrame) -> list[pd.Series]:
    return [(part["asr"] - part["low"]).clip(lower=0), (part["high"] - part["asr"]).clip(lower=0)]
