"""Names in the drawings of studies stay in the frame and do not cover each other."""

from itertools import combinations
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from test_studies import GOOD, SHY, answers

from neurontune_core.causal.drawing import draw_panels
from neurontune_core.causal.summary import causal_table
from neurontune_core.records import NeuronId, NeuronSet
from neurontune_core.robustness.summary import success_table
from neurontune_core.shown_text import printable
from neurontune_core.studies import page, plots, results
from neurontune_core.studies.catalogue import STUDIES, Study


def shown_texts(figure: Figure) -> list[Text]:
    """All texts that are drawn: of the tick labels those of ticks in view."""
    texts = [*figure.texts]
    texts += [text for legend in figure.legends for text in legend.get_texts()]
    for axes in figure.axes:
        if not axes.get_visible():
            continue
        texts += [axes.title, axes._left_title, axes._right_title, axes.xaxis.label, axes.yaxis.label, *axes.texts]
        if axes.get_legend():
            texts += axes.get_legend().get_texts()
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            texts += [tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
    return [text for text in texts if text.get_text() and text.get_visible()]


def check_legible(figure: Figure) -> None:
    figure.draw_without_rendering()
    texts = shown_texts(figure)
    boxes = [text.get_window_extent() for text in texts]
    frame = figure.bbox
    for text, box in zip(texts, boxes, strict=True):
        inside = box.x0 >= -1 and box.y0 >= -1 and box.x1 <= frame.x1 + 1 and box.y1 <= frame.y1 + 1
        assert inside, f"{text.get_text()!r} leaves the frame: {box} of {frame}"
        assert text.get_fontsize() >= 8
    for (one, first), (other, second) in combinations(zip(texts, boxes, strict=True), 2):
        wide = min(first.x1, second.x1) - max(first.x0, second.x0)
        high = min(first.y1, second.y1) - max(first.y0, second.y0)
        assert wide <= 1 or high <= 1, f"{one.get_text()!r} covers {other.get_text()!r}"


def comparison(names: list[str]) -> pd.DataFrame:
    """A table of variants, many of which do about the same."""
    table = results.comparison_table({name: GOOD if number % 2 else SHY for number, name in enumerate(names)})
    spread = np.linspace(0, 0.3, len(table))
    return table.assign(safety=0.7 + 0.9 * spread % 0.3, utility=0.9 - spread, low=table["su_f1"] * 0.9)


LONG = [f"a variant with quite a long name of its own, number {number}" for number in range(6)]


@pytest.mark.parametrize(
    "name", [name for name, study in STUDIES.items() if study.layout in ("methods", "plane", "seeds")]
)
def test_names_of_shipped_variants_are_legible(name: str) -> None:
    study = STUDIES[name]
    table = comparison(list(study.variants))
    check_legible(plots.figure_of(table, study.layout, study.title))


@pytest.mark.parametrize("layout", ["methods", "plane"])
@pytest.mark.parametrize("names", [["one"], LONG, [f"v{number}" for number in range(40)]])
def test_names_of_any_variants_are_legible(layout: str, names: list[str]) -> None:
    check_legible(plots.figure_of(comparison(names), layout, "A title " * 12))  # type: ignore[arg-type]


@pytest.mark.parametrize("layout", ["methods", "plane", "attack_types"])
@pytest.mark.filterwarnings("error")
def test_a_name_is_drawn_as_the_text_it_is(layout: str) -> None:
    names = ["$5_ to $", "a $\\frac$ b^2", "<b>&amp;</b>", "\x1b[31mred", "\x00", "漢字"]
    both = results.attack_type_table(dict.fromkeys(names, GOOD)) if layout == "attack_types" else comparison(names)
    drawn = ElementTree.fromstring(plots.draw(both, layout, "costs $1_ to $"))  # type: ignore[arg-type]
    texts = " ".join("".join(text.itertext()) for text in drawn.iter("{http://www.w3.org/2000/svg}text"))
    assert "costs $1_ to $" in texts
    for name in names if layout == "methods" else []:
        assert printable(name) in texts


@pytest.mark.parametrize(("safety", "utility"), [(0.0, 1.0), (0.97, 0.02)])
def test_the_plane_shows_only_shares(safety: float, utility: float) -> None:
    table = comparison(["one", "two"]).assign(safety=safety, utility=utility)
    figure = plots.figure_of(table, "plane", "Plane")
    check_legible(figure)
    for low, high in (figure.axes[0].get_xlim(), figure.axes[0].get_ylim()):
        assert -0.05 < low < high < 1.05


def test_variants_at_one_place_have_their_names_side_by_side() -> None:
    table = comparison(["one", "two", "three"]).assign(safety=0.8, utility=0.7)
    figure = plots.figure_of(table, "plane", "Plane")
    check_legible(figure)
    assert {text.get_text() for text in figure.axes[0].texts} == {"one", "two", "three"}


@pytest.mark.parametrize("names", [["good"], LONG[:3], ["role playing", "attention shifting", "privilege escalation"]])
def test_matrices_are_legible(names: list[str]) -> None:
    both = {name: GOOD for name in names}
    check_legible(plots.figure_of(results.attack_type_table(both), "attack_types", "Transfer between types of attack"))
    check_legible(plots.figure_of(results.dataset_table(both), "datasets", "Transfer between datasets"))


@pytest.mark.parametrize("names", [["the preset's model"], LONG])
def test_layers_are_legible(names: list[str]) -> None:
    neurons = NeuronSet((NeuronId(0, 1),), (NeuronId(1, 5),))
    table = results.layer_table({name: (neurons, (4, 6, 3)) for name in names})
    check_legible(plots.figure_of(table, "layers", "Where the neurons sit"))


@pytest.mark.parametrize("copies", [1, 2, 7])
def test_dose_response_curves_are_legible(copies: int) -> None:
    one = causal_table(answers())
    groups = [
        "harmful_plain",
        "harmful_heldout_attack",
        "benign_borderline",
        "a_file_of_ones_own_with_a_long_name_indeed",
    ]
    many = [
        one.assign(group=groups[number % 4], intervention=one["intervention"].where(one["share"] == 0, f"x {number}.5"))
        for number in range(copies)
    ]
    close = pd.concat(many)
    crowded = close.assign(share=close["share"].replace({0.01: 0.0011}))
    for table in (close, crowded):
        check_legible(plots.figure_of(table, "causal", "Cause and effect"))
        panels = draw_panels(table)
        assert len(panels) == len(table[table["share"] > 0].groupby(["intervention", "group"]))
        for panel in panels.values():
            check_legible(panel)
            assert panel.get_figwidth() * 96 < 390, "a phone shows it without making it smaller"


@pytest.mark.parametrize("sizes", [1, 2])
def test_the_band_of_random_sets_is_seen_at_one_size_too(sizes: int) -> None:
    one = causal_table(answers())
    kept = sorted(one.loc[one["random"].notna(), "share"].unique())[:sizes]
    (panel, *_) = draw_panels(one[one["share"].isin([0.0, *kept])]).values()
    (axes,) = panel.axes
    (band,) = [each for each in (*axes.patches, *axes.collections) if each.get_label() == "random, matched by layer"]
    assert band.get_window_extent().width > 0.1 * axes.get_window_extent().width


def test_rankings_are_legible() -> None:
    names = list(STUDIES["rankings"].variants)
    table = results.causal_tables({name: causal_table(answers()) for name in names}, dict.fromkeys(names, 3.0))
    check_legible(plots.figure_of(table, "rankings", STUDIES["rankings"].title))


def narrow(study: Study, table: pd.DataFrame, width: int) -> list[str]:
    from rich.console import Console

    from flows.commands.console import fitting_table

    console = Console(width=width)
    with console.capture() as capture:
        console.print(fitting_table(page.narrow_rows(table, study)), width=width)
    return capture.get().splitlines()


def attacked() -> pd.DataFrame:
    """Answers of four prompts under three attacks; every second one gives what was asked for."""
    asked = [("no attack", "", 1), ("prefilled", "Of course! Step 1:", 1), *(("best of N", "", n) for n in (1, 2))]
    rows = [
        (model, attack, setting, 0.0, sample, f"p{number}", number % 2 == 0, "compliance")
        for model in ("base", "tuned") for attack, setting, sample in asked for number in range(4)
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=["model", "attack", "setting", "place", "sample", "id", "gave", "label"])


@pytest.mark.parametrize("width", [60, 78])
def test_a_result_fits_a_terminal(width: int) -> None:
    causal = causal_table(answers())
    names = list(STUDIES["rankings"].variants)
    layers = results.layer_table({"model": (NeuronSet((NeuronId(0, 1),), (NeuronId(1, 5),)), (4, 6))})
    tables = {
        "baselines": comparison(list(STUDIES["baselines"].variants)),
        "seeds": pd.concat([comparison(["a", "b"]), results.spread(comparison(["a", "b"]))], ignore_index=True),
        "cross-attack": results.attack_type_table({"attention shifting": GOOD}),
        "causal": results.causal_tables({"model": causal}, {"model": 1.0}),
        "rankings": results.causal_tables({name: causal for name in names}, dict.fromkeys(names, 3.0)),
        "layers": layers,
        "robustness": results.attack_table(dict.fromkeys(STUDIES["robustness"].variants, success_table(attacked()))),
    }
    for name, table in tables.items():
        lines = narrow(STUDIES[name], table, width)
        assert max(map(len, lines)) <= width, name
        assert not any("\u2026" in line for line in lines), "nothing is cut"
    text = "\n".join(narrow(STUDIES["baselines"], tables["baselines"], 78))
    assert "safety system prompt" in text and "SU-F1" in text
    rows = page.narrow_rows(tables["robustness"], STUDIES["robustness"])
    assert rows[0] == {"attack": "no attack", "setting": ""} | dict.fromkeys(
        ("base model", *STUDIES["robustness"].variants), "50%"
    )
