"""A study's drawing, as SVG text."""

import io
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import cast
from warnings import catch_warnings, filterwarnings

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from neurontune_core.causal.cells import SAFETY as SAFETY_SET
from neurontune_core.causal.cells import ZERO
from neurontune_core.causal.drawing import draw_responses, label_logarithmic
from neurontune_core.label_places import Box, place_labels
from neurontune_core.robustness.drawing import draw_attacks
from neurontune_core.shown_text import printable
from neurontune_core.studies.catalogue import Layout
from neurontune_core.studies.results import pareto_front

SAFETY, UTILITY, BASE = "#b5432f", "#2f6db5", "#777777"


def draw(table: pd.DataFrame, layout: Layout, title: str) -> str:
    """Return the drawing of a study's table, the same for the same table."""
    return as_svg(figure_of(table, layout, title))


def figure_of(table: pd.DataFrame, layout: Layout, title: str) -> Figure:
    """Return the drawing as a figure: names stay in its frame and do not cover each other."""
    names = {name: table[name].map(printable) for name in ("variant", "tested on", "group") if name in table}
    with _names_as_text():
        return _figure_of(table.assign(**names), layout, title)


def _figure_of(table: pd.DataFrame, layout: Layout, title: str) -> Figure:
    if layout == "causal":
        return draw_responses(table, title)
    if layout == "robustness":
        return draw_attacks(table, title)
    figure = Figure(figsize=_size(table, layout), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    figure.suptitle(_wrapped(title, 70), x=0.01, ha="left", fontsize=11)
    _DRAWINGS[layout](axes, table)
    return figure


@contextmanager
def _names_as_text() -> Iterator[None]:
    """Inside this context, text between dollar signs is no formula, and a missing letter of a font gives no warning."""
    with matplotlib.rc_context({"text.parse_math": False}), catch_warnings():
        filterwarnings("ignore", "Glyph .* missing from font")  # the viewer's fonts may have them
        yield


def _size(table: pd.DataFrame, layout: Layout) -> tuple[float, float]:
    """Width and height of a drawing, in inches: so that a row, or a column of a matrix, has room for its name."""
    if layout == "worth":
        return 7.5, 4.6
    if layout in ("plane", "rankings"):
        return 8.5, 4.6 + 0.1 * max(0, table["variant"].nunique() - 10)
    matrix = layout in ("attack_types", "datasets")
    names = table["tested on"].unique() if matrix else table["variant"].unique()
    lines = max(1 + _wrapped(str(name)).count("\n") for name in names)
    width = max(7.5, 3.2 + 2.4 * table["variant"].nunique()) if matrix else 7.5
    if layout == "layers":
        return width, 4.0 + 0.3 * len(names)
    return width, 1.9 + len(names) * max(0.36, 0.2 * lines)


def _wrapped(text: str, width: int = 30) -> str:
    return textwrap.fill(text, width)


def as_svg(figure: Figure) -> str:
    """Return a figure as SVG text, the same for the same figure: with fixed names inside the file and no date."""
    text = io.StringIO()
    for each in figure.findobj(Text):
        each.set_parse_math(False)
    with _names_as_text(), matplotlib.rc_context({"svg.hashsalt": "neurontune", "svg.fonttype": "none"}):
        figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()


def _methods(axes: Axes, table: pd.DataFrame) -> None:
    rows = table[~table["variant"].isin(["mean", "standard deviation"])].iloc[::-1]
    places = np.arange(len(rows))
    spans = np.abs(rows[["low", "high"]].to_numpy().T - rows["su_f1"].to_numpy())
    axes.errorbar(rows["su_f1"], places, xerr=spans, fmt="o", color="black", capsize=3, label="SU-F1, 95%")
    axes.scatter(rows["safety"], places, marker="|", s=120, color=SAFETY, label="harmful refused")
    axes.scatter(rows["utility"], places, marker="|", s=120, color=UTILITY, label="harmless answered")
    axes.set_yticks(places, [_wrapped(str(name)) for name in rows["variant"]], fontsize=9)
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.set_xlim(-0.02, 1.02)
    axes.grid(axis="x", alpha=0.3)
    _legend_below(axes, 3)


def _plane(axes: Axes, table: pd.DataFrame) -> None:
    tuned, base = table[table["variant"] != "base model"], table[table["variant"] == "base model"]
    front = tuned[pareto_front(tuned["safety"].tolist(), tuned["utility"].tolist())].sort_values("safety")
    axes.plot(front["safety"], front["utility"], color=UTILITY, alpha=0.5, label="Pareto front")
    axes.scatter(tuned["safety"], tuned["utility"], color="black", s=22, label="variants")
    axes.scatter(base["safety"], base["utility"], color=BASE, marker="s", s=22, label="base model")
    axes.margins(0.08)
    for low, high, limit in ((*axes.get_xlim(), axes.set_xlim), (*axes.get_ylim(), axes.set_ylim)):
        limit(max(low, -0.03), min(high, 1.03))  # both are shares
    axes.set_xlabel("harmful prompts refused")
    axes.set_ylabel("harmless prompts answered")
    axes.grid(alpha=0.3)
    _legend_below(axes, 3)
    _name_points(axes, tuned)


def _name_points(axes: Axes, rows: pd.DataFrame) -> None:
    """Write the variants beside their points where there is room; the table beside the drawing has them all."""
    figure = cast(Figure, axes.figure)
    points = list(zip(rows["safety"], rows["utility"], strict=True))
    names = [axes.annotate(_wrapped(str(name)), place, (0, 0), textcoords="offset points", size=8, linespacing=1.0)
             for name, place in zip(rows["variant"], points, strict=True)]  # fmt: skip
    figure.draw_without_rendering()  # only now is it known where the axes lie and how large the texts are
    figure.set_layout_engine("none")
    sizes = [(box.width + 2, box.height + 2) for box in (name.get_window_extent() for name in names)]
    places = [tuple(axes.transData.transform(point)) for point in points]
    boxes = place_labels(places, sizes, [4.0] * len(points), Box(*axes.bbox.extents))
    to_points = 72 / figure.dpi
    for name, (x, _), box in zip(names, places, boxes, strict=True):
        if box is None:
            name.remove()
        else:
            low = name.get_window_extent().y0  # lower than its anchor, because letters reach below their line
            name.set_position(((box.left + 1 - x) * to_points, (box.bottom + 1 - low) * to_points))


def _legend_below(axes: Axes, columns: int) -> None:
    axes.figure.legend(loc="outside lower center", ncols=columns, frameon=False, fontsize=9)


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
    axes.set_xticks(range(len(columns)), [_wrapped(name, 14) for name in columns], fontsize=8)
    axes.set_yticks(range(len(rows)), [_wrapped(str(name)) for name in rows], fontsize=9)
    axes.set_xlabel("trained on; share of the prompts refused")


def _rankings(axes: Axes, table: pd.DataFrame) -> None:
    silenced = table[(table["group"] == "harmful_plain") & (table["intervention"] == ZERO)]
    for number, (name, part) in enumerate(silenced.groupby("variant", sort=False)):
        own = part[part["neurons"] == SAFETY_SET].sort_values("share")
        style = ["-", "--", ":", "-."][number % 4]
        axes.plot(own["share"], own["refused"], linestyle=style, marker="o", ms=3, label=_wrapped(str(name)))
    drawn = silenced[(silenced["neurons"] == SAFETY_SET) & silenced["random"].notna()].groupby("share")
    ends = drawn.agg(low=("random_low", "min"), high=("random_high", "max"))
    axes.fill_between(ends.index, ends["low"], ends["high"], color=BASE, alpha=0.4, label="random, matched by layer")
    label_logarithmic(axes, sorted(silenced.loc[silenced["share"] > 0, "share"].unique()), 250)
    axes.set_ylim(-0.03, 1.03)
    axes.set_xlabel("neurons silenced, share of all")
    axes.set_ylabel("plain harmful prompts refused")
    axes.grid(alpha=0.3)
    axes.figure.legend(loc="outside right upper", frameon=False, fontsize=8)


def _layers(axes: Axes, table: pd.DataFrame) -> None:
    for number, (name, part) in enumerate(table.groupby("variant", sort=False)):
        depth = part["layer"] / max(1, part["layer"].max())
        for role, colour in (("safety", SAFETY), ("utility", UTILITY)):
            share = part[role] / max(1, part[role].sum())
            style = ["-", "--", ":", "-."][number % 4]
            axes.plot(depth, share, color=colour, linestyle=style, label=_wrapped(f"{role}, {name}", 40))
    axes.set_xlabel("depth in the model (0: first layer, 1: last)")
    axes.set_ylabel("share of the role's neurons")
    _legend_below(axes, 2)


def _worth(axes: Axes, table: pd.DataFrame) -> None:
    spans = [table["attributed"] - table["attributed_low"], table["attributed_high"] - table["attributed"]]
    axes.errorbar(table["neurons"], table["attributed"], yerr=spans, fmt="o-", color=SAFETY, capsize=3,
                  label="attributed, range of the seeds")  # fmt: skip
    axes.plot(table["neurons"], table["random"], "s--", color=UTILITY, ms=4, label="random, matched by layer")
    axes.fill_between(table["neurons"], table["random_low"], table["random_high"], color=UTILITY, alpha=0.25,
                      label="range of the random sets")  # fmt: skip
    if table["all"].notna().any():
        axes.axhline(table["all"].max(), color="black", ls="-.", lw=1, label="all neurons, (IA)3")
    axes.axhline(table["base"].iloc[0], color=BASE, ls=":", label="base model")
    label_logarithmic(axes, table["neurons"].tolist(), 350, "{:,}".format)
    axes.margins(0.08)
    axes.set_ylim(-0.02, 1.02)
    axes.set_xlabel("neurons scaled, safety and utility together")
    axes.set_ylabel("SU-F1")
    axes.grid(alpha=0.3)
    _legend_below(axes, 2)


_DRAWINGS: dict[Layout, Callable[[Axes, pd.DataFrame], None]] = {
    "methods": _methods,
    "seeds": _methods,
    "plane": _plane,
    "attack_types": _matrix,
    "datasets": _matrix,
    "layers": _layers,
    "rankings": _rankings,
    "worth": _worth,
}
