"""The report in a real browser."""

import base64
import dataclasses
import re
from pathlib import Path

import pandas as pd
import pytest
from headless import Browser
from report_sample import material

from neurontune_core.causal.drawing import draw_panels
from neurontune_core.evaluation.report import EarlierRun, RunRecord, render_report
from neurontune_core.records import PromptPair, ScalingFactors
from neurontune_core.studies.plots import as_svg

pytestmark = pytest.mark.browser


def open_report(browser: Browser, record: RunRecord, folder: Path) -> str:
    """Write the report of a run, open it, and return its page."""
    file, page = folder / "report.html", render_report(record)
    file.write_text(page, encoding="utf-8")
    browser.open(file.as_uri())
    return page


def test_the_report_works_in_a_browser(
    browser: Browser, pairs: list[PromptPair], scaling: ScalingFactors, tmp_path: Path
) -> None:
    open_report(browser, material(pairs, scaling), tmp_path)
    shown = "return [...document.querySelectorAll('article.pair')].filter((row) => row.checkVisibility()).length"

    assert browser.run("return document.title") == "A run <b>with</b> markup in its name", (
        "no script of a completion ran"
    )
    assert browser.run("return document.querySelectorAll('svg.chart').length") == 6
    sizes = browser.run(
        "return [...document.querySelectorAll('svg.chart')].map((e) => e.getBoundingClientRect().height)"
    )
    assert min(sizes) > 100
    assert browser.run("return document.documentElement.scrollWidth <= window.innerWidth"), "no sideways scrolling"
    rows = "return [...document.querySelectorAll('#neurons tbody tr')].map((e) => e.getBoundingClientRect().height)"
    assert 0 < max(browser.run(rows)) < 60, "the table is not stretched to the height of the chart beside it"

    assert (browser.run(shown), browser.run("return shown.textContent")) == (10, "10 of 10")
    browser.type("#search", "TRANSLATION safety-test-1")
    assert (browser.run(shown), browser.run("return shown.textContent")) == (1, "1 of 10")
    browser.type("#search", "no such words")
    assert browser.run(shown) == 0
    browser.type("#search", "taken over")
    assert browser.run(shown) == 1, "what is in a completion is found"
    browser.run("search.value = ''; benchmark.value = 'harmful_plain'; benchmark.dispatchEvent(new Event('input'))")
    assert browser.run(shown) == 9

    folded = "return [...document.querySelectorAll('article[data-harmful] details')].filter((e) => !e.open).length"
    assert browser.run(folded) == 9
    browser.click("#unfold")
    assert browser.run(folded) == 0
    assert browser.messages() == []


def large(pairs: list[PromptPair], scaling: ScalingFactors) -> RunRecord:
    """A run with two hundred changed answers, long names, categories, and words that set off refusals."""
    record = material(pairs, scaling)
    parts = []
    for number in range(20):
        part = record.completions.assign(cut=number == 0)
        part["id"] += f"/{number}"
        part["query_category"] += "_with_a_very_long_name_of_its_own" if number == 0 else ""
        part.loc[part["role"] == "utility", "benchmark"] = "xstest"
        parts.append(part)
    known = {"id": "utility-test-0/0", "benchmark": "xstest", "query_category": "c", "prompt": "Do I kill it?"}
    words = [known | {"word": word, "opening": "Yes" * 30, "refused": word != "kill"} for word in ("", "kill", "it")]
    completions = pd.concat(parts, ignore_index=True).sort_values("model", kind="stable", ignore_index=True)
    curves = {name: as_svg(figure).encode() for name, figure in draw_panels(responses()).items()}
    shown = {"triggers": pd.DataFrame(words), "weights": "f" * 64, "causal": curves}
    earlier = [*record.earlier, EarlierRun("x" * 300, 0.5, 0.5)]
    return dataclasses.replace(record, completions=completions, earlier=earlier, **shown)


def responses() -> pd.DataFrame:
    """A causal table with two interventions."""
    columns = ["intervention", "group", "neurons", "share", "refused", "low", "high"]
    rows = [("no change", "harmful_plain", "no change", 0.0, 0.8, 0.6, 0.9)]
    for intervention in ("zero", "x 2"):
        for share, refused in ((0.001, 0.4), (0.01, 0.1)):
            rows.append((intervention, "harmful_plain", "safety", share, refused, 0.0, 1.0))
    return pd.DataFrame(rows, columns=columns).assign(random=0.7, random_low=0.6, random_high=0.8)


@pytest.mark.parametrize(("width", "height"), [(360, 740), (390, 844), (768, 1024), (920, 900), (1280, 900)])
def test_nothing_is_wider_than_the_window(
    browser: Browser, pairs: list[PromptPair], scaling: ScalingFactors, tmp_path: Path, width: int, height: int
) -> None:
    browser.resize(width, height, mobile=width < 500)
    open_report(browser, large(pairs, scaling), tmp_path)
    assert browser.run("return window.innerWidth") == width
    browser.run("for (const each of document.querySelectorAll('details')) each.open = true")
    cut = """return [...document.querySelectorAll('main *')].filter((each) => {
        const box = each.getBoundingClientRect();
        return box.width && (box.right > window.innerWidth + 1 || box.left < -1);
    }).map((each) => each.outerHTML.slice(0, 200))"""
    assert browser.run(cut) == []
    narrow = """return [...document.querySelectorAll('td.name, .beside td.faint')].map(
        (each) => each.getBoundingClientRect().width).filter((width) => width && width < 60)"""
    assert browser.run(narrow) == [], "no word is broken for want of room"
    small = """return [...document.querySelectorAll('main *')].filter((each) => each.childNodes.length
        && [...each.childNodes].some((node) => node.nodeType == 3 && node.data.trim())
        && each.checkVisibility() && !each.closest('template')).map((each) => {
        const svg = each.closest('svg');
        const scale = svg ? svg.getBoundingClientRect().width / svg.viewBox.baseVal.width : 1;
        return [parseFloat(getComputedStyle(each).fontSize) * scale, each.outerHTML.slice(0, 100)];
    }).filter(([size]) => size < 9)"""
    assert browser.run(small) == []
    smaller = """return [...document.querySelectorAll('.drawings img')].map(
        (each) => each.getBoundingClientRect().width / each.naturalWidth)"""
    scales = browser.run(smaller)
    assert len(scales) == 2 and min(scales) > 0.85, "their letters of 8 points are no smaller than 9 pixels"
    browser.run("window.scrollTo(0, 3000)")
    assert browser.run("return document.querySelector('nav').getBoundingClientRect().top") == 0, "it stays"


def test_answers_come_as_one_scrolls_and_a_search_opens_what_it_finds(
    browser: Browser, pairs: list[PromptPair], scaling: ScalingFactors, tmp_path: Path
) -> None:
    page = open_report(browser, large(pairs, scaling), tmp_path)
    count = "return document.querySelectorAll('article.pair').length"
    assert browser.run(count) < 100 and browser.run("return shown.textContent") == "200 of 200"
    # a slow machine loads later than it scrolls, so scroll until all are there
    browser.until(f"window.scrollTo(0, document.body.scrollHeight); {count} === 200")

    opened = "return [...document.querySelectorAll('article.pair')].every((each) => each.querySelector('details').open)"
    browser.type("#search", "TRANSLATION safety-test-1 /7")
    assert browser.run(count) == 1 and browser.run(opened)
    assert browser.run("return nothing.checkVisibility()") is False
    browser.type("#search", "no such words")
    assert browser.run(count) == 0
    assert browser.run("return nothing.checkVisibility() && nothing.innerText") == (
        "Nothing was found for \u201cno such words\u201d."
    )
    anchor = re.findall(r'<article class="pair" id="(prompt-[0-9a-f]{12})"', page)[150]
    browser.run(f"location.hash = '#{anchor}'")
    browser.until(f"return document.getElementById('{anchor}')?.querySelector('details').open")
    top = browser.until(f"return document.getElementById('{anchor}').getBoundingClientRect().top")
    assert 0 <= top < 900
    assert browser.messages() == []


def test_printing_gives_the_highlights(
    browser: Browser, pairs: list[PromptPair], scaling: ScalingFactors, tmp_path: Path
) -> None:
    open_report(browser, large(pairs, scaling), tmp_path)
    printed = base64.b64decode(browser.call("POST", f"{browser.session}/print", {}))
    assert 1 <= len(re.findall(rb"/Type\s*/Page[^s]", printed)) <= 6


def test_the_chart_stands_on_the_first_printed_page(
    browser: Browser, pairs: list[PromptPair], scaling: ScalingFactors, tmp_path: Path
) -> None:
    """A chart is never broken, so one that does not fit below the tiles would leave half of the page empty."""
    open_report(browser, large(pairs, scaling), tmp_path)
    width, height = 718, 1047  # A4 with margins of 1 cm
    browser.devtools("Emulation.setEmulatedMedia", media="print")
    browser.resize(width, height)
    chart = "return document.querySelector('.beside figure').getBoundingClientRect().bottom"
    assert browser.run(chart) < height
