"""The report's charts as SVG: the page needs no script and no library; its style sheet sets the colours."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from xml.etree import ElementTree

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from neurontune_core.label_places import Box, place_labels

LEFT, RIGHT, TOP, BOTTOM = 52.0, 12.0, 10.0, 38.0
"""Margins around the plotting area, in the SVG's own units (about pixels)."""
RADII = {"earlier": 4.0, "base": 7.0, "tuned": 7.0}
LINE, LONGEST_NAME = 15.0, 26
"""Height of a line, in the same units, and the most characters shown of a name."""
LETTER, LETTERS = 8.7, dict.fromkeys("ijl.,:;'|· ", 4.9) | dict.fromkeys("mwMW=+%@", 13.6)
"""Width of most letters, and of those that differ much, in the same units, in the widest usual font (DejaVu Sans)."""


@dataclass(frozen=True)
class Point:
    """One model in the safety-utility plane; `kind` is `base`, `tuned` or `earlier`."""

    label: str
    safety: float
    utility: float
    kind: str


class Plot:
    """An SVG with axes; its methods take data coordinates and append elements. ElementTree escapes all text."""

    def __init__(
        self,
        title: str,
        x: tuple[float, float],
        y: tuple[float, float],
        width: float = 400,
        height: float = 240,
        right: float = RIGHT,
    ) -> None:
        self.x_range, self.y_range, self.width, self.height = x, y, width, height
        self.right = width - right
        attributes = {"viewBox": f"0 0 {width:g} {height:g}", "role": "img", "aria-label": title, "class": "chart"}
        self.root = ElementTree.Element("svg", attributes)

    def x(self, value: float) -> float:
        """Horizontal place of a value."""
        low, high = self.x_range
        return LEFT + (value - low) / (high - low) * (self.right - LEFT)

    def y(self, value: float) -> float:
        """Vertical place of a value."""
        low, high = self.y_range
        return self.height - BOTTOM - (value - low) / (high - low) * (self.height - TOP - BOTTOM)

    def add(self, tag: str, text: str = "", tooltip: str = "", **attributes: str | float) -> None:
        """Append an element; `cls` stands for `class` and underscores for hyphens."""
        named = {
            ("class" if name == "cls" else name.replace("_", "-")): f"{value:.2f}"
            if isinstance(value, float)
            else value
            for name, value in attributes.items()
        }
        element = ElementTree.SubElement(self.root, tag, {name: str(value) for name, value in named.items()})
        if text:
            element.text = text
        if tooltip:
            ElementTree.SubElement(element, "title").text = tooltip

    def path(self, places: Iterable[tuple[float, float]], cls: str) -> None:
        """Append a line through points in data coordinates."""
        steps = " L".join(f"{self.x(x):.1f} {self.y(y):.1f}" for x, y in places)
        self.add("path", d=f"M{steps}", cls=f"line {cls}")

    def axes(
        self,
        x_label: str,
        y_label: str,
        x_ticks: Sequence[float] | None = None,
        form: Callable[[float], str] = "{:g}".format,
    ) -> None:
        """Append grid lines, tick labels and axis titles; `form` writes the vertical ticks."""
        bottom = self.height - BOTTOM
        for value in ticks(*self.y_range):
            place = self.y(value)
            self.add("line", x1=LEFT, x2=self.right, y1=place, y2=place, cls="grid")
            self.add("text", form(value), x=LEFT - 6, y=place + 4, cls="tick end")
        for value in ticks(*self.x_range) if x_ticks is None else x_ticks:
            self.add("text", f"{value:g}", x=self.x(value), y=bottom + 15, cls="tick middle")
        self.add("line", x1=LEFT, x2=self.right, y1=bottom, y2=bottom, cls="axis")
        self.add("text", x_label, x=(LEFT + self.right) / 2, y=self.height - 5, cls="label middle")
        if y_label:
            middle = (TOP + bottom) / 2
            self.add("text", y_label, transform=f"translate(12 {middle:.1f}) rotate(-90)", cls="label middle")

    def markup(self) -> Markup:
        """Return the finished drawing."""
        return Markup(ElementTree.tostring(self.root, encoding="unicode"))


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Return about `count` round numbers between two values: multiples of 1, 2 or 5 times a power of ten."""
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(index * step, 10) for index in range(first, math.floor(high / step + 1e-9) + 1)]


def frontier(points: Sequence[Point]) -> list[Point]:
    """Return the Pareto frontier: the points that no other exceeds in both safety and utility, by rising utility."""
    best: list[Point] = []
    for point in sorted(points, key=lambda p: (-p.utility, -p.safety)):
        if not best or point.safety > best[-1].safety:
            best.append(point)
    return best[::-1]


def safety_utility(points: Sequence[Point]) -> Markup:
    """Draw safety against utility with lines of equal SU-F1 and the frontier of all points.

    Every point has its name in a tooltip, and beside the point if there is room; this run and the base model are first
    to get room.
    """
    plot = Plot("Safety against utility", (0, 1), (0, 1), width=440, height=400, right=36)
    plot.axes("utility: harmless prompts answered", "safety: harmful prompts refused")
    for level in (0.3, 0.5, 0.7, 0.9):
        # 2 S U / (S + U) = level
        across = np.linspace(level / (2 - level), 1, 40)
        plot.path([(u, level * u / (2 * u - level)) for u in across], "contour")
        plot.add("text", f"{level:g}", x=plot.right + 8, y=plot.y(level / (2 - level)) + 4, cls="tick faint")
    plot.add("text", "SU-F1", x=plot.right + 34, y=TOP + 4, cls="tick faint end")
    edge = frontier(points)
    if len(edge) > 1:
        plot.path([(point.utility, point.safety) for point in edge], "frontier")
    for point in sorted(points, key=lambda p: ("earlier", "base", "tuned").index(p.kind)):
        tooltip = f"{point.label}: safety {point.safety:.3f}, utility {point.utility:.3f}"
        x, y, radius = plot.x(point.utility), plot.y(point.safety), RADII[point.kind]
        plot.add("circle", tooltip=tooltip, cx=x, cy=y, r=radius, cls=f"dot {point.kind}")
    _names(plot, sorted(points, key=lambda p: ("tuned", "base", "earlier").index(p.kind)))
    return plot.markup()


def _names(plot: Plot, points: Sequence[Point]) -> None:
    """Write the names of points that have room beside them, in the order of the points."""
    labels = [p.label if len(p.label) <= LONGEST_NAME else f"{p.label[: LONGEST_NAME - 1]}\u2026" for p in points]
    places = place_labels(
        [(plot.x(point.utility), plot.y(point.safety)) for point in points],
        [(text_width(label), LINE) for label in labels],
        [RADII[point.kind] for point in points],
        Box(LEFT + 2, TOP + 1, plot.right - 2, plot.height - BOTTOM - 2),
    )
    for point, label, box in zip(points, labels, places, strict=True):
        if box:
            strong = "" if point.kind == "earlier" else " strong"
            plot.add("text", label, x=box.left, y=box.top - 0.25 * LINE, cls=f"label{strong}")


def text_width(text: str) -> float:
    """Return the width of a text, at least as wide as a browser draws it."""
    return sum(LETTERS.get(letter, LETTER) for letter in text)


def stacked_layers(safety: NDArray[np.int64], utility: NDArray[np.int64]) -> Markup:
    """Draw the number of selected neurons of each layer, safety below and utility on top."""
    top = max(1, int((safety + utility).max()))
    plot = Plot("Selected neurons by layer", (-0.6, len(safety) - 0.4), (0, top * 1.05))
    plot.axes("layer", "neurons", _layer_ticks(len(safety)))
    for layer, (first, second) in enumerate(zip(safety.tolist(), utility.tolist(), strict=True)):
        tooltip = f"layer {layer}: {first} safety, {second} utility"
        _bar(plot, layer, 0, first, "safety", tooltip)
        _bar(plot, layer, first, first + second, "utility", tooltip)
    return plot.markup()


def signed_layers(raised: NDArray[np.int64], lowered: NDArray[np.int64]) -> Markup:
    """Draw how many neurons of each layer are amplified (up) and damped (down)."""
    top = max(1, int(raised.max()), int(lowered.max())) * 1.05
    plot = Plot("Amplified and damped neurons by layer", (-0.6, len(raised) - 0.4), (-top, top))
    plot.axes("layer", "damped | amplified", _layer_ticks(len(raised)), lambda value: f"{abs(value):g}")
    for layer, (up, down) in enumerate(zip(raised.tolist(), lowered.tolist(), strict=True)):
        tooltip = f"layer {layer}: {up} amplified, {down} damped"
        _bar(plot, layer, 0, up, "raised", tooltip)
        _bar(plot, layer, -down, 0, "lowered", tooltip)
    plot.add("line", x1=LEFT, x2=plot.right, y1=plot.y(0), y2=plot.y(0), cls="axis")
    return plot.markup()


def alpha_dots(layers: NDArray[np.int64], alpha: NDArray[np.float32], roles: NDArray[np.str_], depth: int) -> Markup:
    """Draw every factor over its layer, one dot a neuron, coloured by role; the line is 1 (no change)."""
    low, high = min(0.9, float(alpha.min())), max(1.1, float(alpha.max()))
    pad = 0.04 * (high - low)
    plot = Plot("Factor of each neuron by layer", (-0.6, depth - 0.4), (low - pad, high + pad))
    plot.axes("layer", "factor", _layer_ticks(depth))
    plot.path([(-0.6, 1), (depth - 0.4, 1)], "one")
    for role, shift in (("safety", -0.3), ("utility", 0.06)):
        chosen = np.flatnonzero(roles == role)
        # spread the dots of a layer sideways in a fixed pattern, so that they do not hide each other
        spread = shift + 0.24 * ((chosen * 0.618034) % 1)
        places = zip(layers[chosen] + spread, alpha[chosen], strict=True)
        dots = "".join(f"M{plot.x(x):.1f} {plot.y(float(y)):.1f}h0" for x, y in places)
        if dots:
            plot.add("path", d=dots, cls=f"dots {role}")
    return plot.markup()


def curve(name: str, steps: Sequence[float], values: Sequence[float]) -> Markup:
    """Draw one metric of the training curve over the outer steps; values that are not finite are left out."""
    shown = [(step, value) for step, value in zip(steps, values, strict=True) if math.isfinite(value)]
    lows, highs = [min((value for _, value in shown), default=0.0)], [max((value for _, value in shown), default=1.0)]
    low, high = min(lows), max(highs)
    pad = 0.06 * (high - low) or max(abs(high), 1.0) * 0.1
    last = max(1.0, float(max(steps, default=1)))
    plot = Plot(name, (0, last), (low - pad, high + pad), width=360, height=210)
    plot.axes("step", "", [value for value in ticks(0, last) if value == int(value)])
    if shown:
        plot.path(shown, "tuned")
    return plot.markup()


def _bar(plot: Plot, layer: int, low: float, high: float, cls: str, tooltip: str) -> None:
    if high > low:
        left, right, top = plot.x(layer - 0.38), plot.x(layer + 0.38), plot.y(high)
        width, height = right - left, plot.y(low) - top
        plot.add("rect", tooltip=tooltip, x=left, y=top, width=width, height=height, cls=f"bar {cls}")


def _layer_ticks(depth: int) -> list[float]:
    return [value for value in ticks(0, max(1, depth - 1), 7) if value == int(value) and value < depth]
