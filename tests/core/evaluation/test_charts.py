import re
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib import get_data_path
from PIL import ImageFont

from neurontune_core.evaluation import charts
from neurontune_core.evaluation.charts import Point


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0, 29, [0, 10, 20]),
        (-0.4, 2.7, [0, 1, 2]),
        (-210, 210, [-200, -100, 0, 100, 200]),
        (0.001, 0.004, [0.001, 0.002, 0.003, 0.004]),
    ],
)
def test_ticks_are_round_and_within(low: float, high: float, expected: list[float]) -> None:
    assert charts.ticks(low, high) == expected


def test_the_frontier_is_what_nothing_beats_in_both() -> None:
    points = [
        Point(str(i), s, u, "earlier") for i, (s, u) in enumerate([(0.5, 0.9), (0.9, 0.5), (0.6, 0.6), (0.5, 0.5)])
    ]
    assert [point.label for point in charts.frontier(points)] == ["1", "2", "0"]
    for point in points:
        beaten = any(
            other.safety >= point.safety and other.utility >= point.utility and other != point for other in points
        )
        assert (point in charts.frontier(points)) is not beaten


def places(drawing: str, cls: str) -> list[tuple[float, float]]:
    found = ElementTree.fromstring(drawing).findall(f".//circle[@class='dot {cls}']")
    return [(float(element.attrib["cx"]), float(element.attrib["cy"])) for element in found]


def test_points_sit_where_their_rates_say() -> None:
    drawing = charts.safety_utility([Point("base", 0, 1, "base"), Point("tuned", 1, 0.5, "tuned")])
    ((base_x, base_y),), ((tuned_x, tuned_y),) = places(drawing, "base"), places(drawing, "tuned")
    assert tuned_y == charts.TOP and base_y > tuned_y, "safety goes up"
    assert charts.LEFT < tuned_x < base_x
    assert (tuned_x - charts.LEFT) / (base_x - charts.LEFT) == pytest.approx(0.5)


@pytest.mark.parametrize(("base", "tuned"), [(0, 1), (1, 0), (0.5, 0.5)])
def test_names_of_points_stay_inside_the_drawing(base: float, tuned: float) -> None:
    drawing = charts.safety_utility([Point("base", base, 1, "base"), Point("tuned", tuned, 0.9, "tuned")])
    names = [text for text in ElementTree.fromstring(drawing).findall(".//text") if text.text in ("base", "tuned")]
    heights = [float(text.attrib["y"]) for text in names]
    assert len(heights) == 2 and min(heights) > charts.TOP + 2 and max(heights) < 420 - charts.BOTTOM


@pytest.mark.parametrize("name", ["smollm2", "k=500", "llama · tiny · steps=5", "response_weight=0.9", "tuned", "base"])
def test_names_get_as_much_room_as_a_wide_font_needs(name: str) -> None:
    needed = ImageFont.truetype(f"{get_data_path()}/fonts/ttf/DejaVuSans-Bold.ttf", 13).getlength(name)
    assert needed <= charts.text_width(name) < 1.3 * needed


def test_bars_are_as_high_as_their_counts() -> None:
    drawing = charts.stacked_layers(np.array([4, 0, 1]), np.array([2, 3, 0]))
    bars = ElementTree.fromstring(drawing).findall(".//rect")
    heights = [(element.attrib["class"], float(element.attrib["height"])) for element in bars]
    assert [name for name, _ in heights] == ["bar safety", "bar utility", "bar utility", "bar safety"]
    unit = heights[3][1]
    assert [height / unit for _, height in heights] == pytest.approx([4, 2, 3, 1], rel=0.01)


def test_every_neuron_is_one_dot() -> None:
    layers, alpha = np.array([0, 0, 1, 1]), np.array([1.5, -0.2, 0.7, 1.0], dtype=np.float32)
    drawing = charts.alpha_dots(layers, alpha, np.array(["safety", "utility", "utility", "safety"]), 2)
    dots = {
        element.attrib["class"]: re.findall(r"M([\d.]+) ([\d.]+)h0", element.attrib["d"])
        for element in ElementTree.fromstring(drawing).findall(".//path")
        if element.attrib["class"].startswith("dots")
    }
    assert {name: len(found) for name, found in dots.items()} == {"dots safety": 2, "dots utility": 2}
    heights = sorted(float(y) for found in dots.values() for _, y in found)
    # the lowest dot on the page is the smallest factor
    assert heights == pytest.approx(sorted(heights)) and heights[0] == min(float(y) for _, y in dots["dots safety"])


def test_curves_leave_out_what_is_not_finite() -> None:
    drawing = charts.curve("loss", [0, 1, 2, 3], [3.0, float("nan"), 2.0, 1.0])
    (line,) = (e for e in ElementTree.fromstring(drawing).findall(".//path") if "tuned" in e.attrib["class"])
    assert line.attrib["d"].count("L") == 2
    assert "nan" not in charts.curve("loss", [0], [float("nan")])
    assert "nan" not in charts.curve("constant", [0, 1], [1.0, 1.0])


def test_names_cannot_break_out_of_a_drawing() -> None:
    drawing = charts.safety_utility([Point("</svg><script>alert(1)</script>", 0.5, 0.5, "earlier")])
    assert "<script" not in drawing
