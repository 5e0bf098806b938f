import base64
import dataclasses
import html
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from report_sample import HOSTILE, material

from neurontune_core.evaluation import report
from neurontune_core.evaluation.report import (
    CURVES,
    RunRecord,
    changed_completions,
    factor_counts,
    flattened,
    render_report,
)
from neurontune_core.records import NeuronSet, PromptPair, ScalingFactors


@pytest.fixture
def record(pairs: list[PromptPair], scaling: ScalingFactors) -> RunRecord:
    return material(pairs, scaling)


@pytest.fixture
def page(record: RunRecord) -> str:
    return render_report(record)


class Outline(HTMLParser):
    """Checks that tags close in the order they open, and collects what refers to other files."""

    EMPTY = frozenset(("meta", "link", "input", "img", "br"))

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.places: set[str] = set()
        self.scripts = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.scripts += tag == "script"
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "action")]
        self.places |= {value or "" for name, value in attrs if name == "id"}
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_and_needs_nothing_else(page: str) -> None:
    outline = Outline()
    outline.feed(page)
    assert outline.open == []
    assert outline.scripts == 1
    assert all(link.startswith("#") or link == "data:," for link in outline.links)
    assert "url(" not in page and "@import" not in page
    assert len(page.encode()) < 200_000


def test_every_link_leads_to_a_place_on_the_page(record: RunRecord, monkeypatch: pytest.MonkeyPatch) -> None:
    told = record.completions
    disputed = told["verdict"].where(told["benchmark"] != "benign_ordinary", "broken")
    completions = told.assign(**{"verdict/keyword": disputed.replace({"refusal": "compliance"})})
    tuned = completions[(completions["model"] == "tuned") & (completions["role"] == "utility")]
    triggers = tuned[["id", "benchmark", "prompt"]].assign(word="", opening="", refused=True)
    whole = dataclasses.replace(record, completions=completions, triggers=triggers)
    changed = {row["anchor"] for row in changed_completions(completions)[0]}
    assert 0 < len(changed & {report.anchor(row) for row in triggers.to_dict("records")}) < len(triggers)
    for largest in (report.LARGEST_TEXT, 8000):
        monkeypatch.setattr(report, "LARGEST_TEXT", largest)
        outline = Outline()
        page = render_report(whole)
        outline.feed(page)
        assert {link[1:] for link in outline.links if link.startswith("#")} <= outline.places
        part = page.partition('<section id="disputed">')[2].partition("</section>")[0]
        assert set(re.findall('href="#(prompt-.*?)"', part)) == {
            row["anchor"] for row in changed_completions(completions)[0]
        }
        part = page.partition("Words that trigger")[2].partition("</section>")[0]
        assert 'href="#prompt-' in part or largest == 8000


def test_quantised_formats_are_named_where_there_were_any(record: RunRecord, page: str) -> None:
    assert "dequantised" not in page
    told = render_report(dataclasses.replace(record, dequantised="Q4_K and Q6_K"))
    assert "weights dequantised from Q4_K and Q6_K" in told
    told = render_report(dataclasses.replace(record, quantised="3.0% were rounded to 4-bit integers"))
    assert "factors learned on weights of which 3.0% were rounded to 4-bit integers" in told


def test_the_report_says_what_silencing_the_safety_set_does(record: RunRecord, page: str) -> None:
    assert "Cause and effect" not in page
    said = "silencing the safety set: plain refusals 56% -> 2%, matched random neurons 55%"
    facts = {**record.facts, "selection/knockout_prompts": 32.0}
    told = render_report(dataclasses.replace(record, silenced=said, facts=facts))
    assert "plain refusals 56% -&gt; 2%, matched random neurons 55%" in told and "n = 32 plain harmful prompts" in told


def test_causal_curves_are_images_that_can_run_nothing(record: RunRecord, page: str) -> None:
    drawings = {"harmful <plain>": b"<svg><script>alert(1)</script></svg>", "harmless": b"<svg></svg>"}
    shown = render_report(dataclasses.replace(record, causal=drawings))
    for drawing in drawings.values():
        assert f'src="data:image/svg+xml;base64,{base64.b64encode(drawing).decode()}"' in shown
    assert 'alt="harmful &lt;plain&gt;: share' in shown
    assert "alert(1)" not in shown and 'id="causal"' not in page


def test_a_warning_stands_above_the_first_number(record: RunRecord, page: str) -> None:
    assert "Warning" not in page
    told = render_report(dataclasses.replace(record, warning="the model refuses 3 of 48 <b>"))
    notice = "<strong>Warning:</strong> the model refuses 3 of 48 &lt;b&gt;."
    assert told.index("<h1>") < told.index(notice) < told.index('class="tiles"')
    outline = Outline()
    outline.feed(told)
    assert outline.open == []


def test_texts_of_the_run_are_shown_and_never_markup(page: str) -> None:
    assert html.escape(HOSTILE, quote=False).replace("'", "&#39;").replace('"', "&#34;") in page
    assert HOSTILE not in page and "A run &lt;b&gt;with&lt;/b&gt;" in page


def test_only_the_pages_own_script_may_run(page: str) -> None:
    import base64
    import hashlib

    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'" in page


def test_headline_rates_and_provenance_are_there(page: str, record: RunRecord) -> None:
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))
    assert "all harmful high 9 0.0% 0 – 30 100.0% 70 – 100".replace(" – ", "&ndash;") in text
    for row in ("harmful plain", "harmless ordinary", "translation", "mental harm", "ordinary: science"):
        assert row in text
    assert f"{record.facts['eval/su_f1']:.3f}" in text
    assert html.escape(record.command).replace("&#x27;", "&#39;") in page
    assert "rules 11; agreement with keyword 1 on refusals: Cohen" in text
    for value in (*record.digests.values(), "evaluation.max_new_tokens", "neurontune"):
        assert value in page


def test_attack_success_by_each_judge_is_on_the_page(page: str) -> None:
    (section,) = re.findall(r'<section id="success">.*?</section>', page, flags=re.DOTALL)
    assert "rules 11" in section and "100.0%" in section and "keyword 1" in section and "not stated" in section


def test_harmful_texts_are_folded_and_harmless_ones_are_not(page: str, record: RunRecord) -> None:
    articles = re.findall(r"<article.*?</article>", page, re.DOTALL)
    assert len(articles) == 10
    for article in articles:
        assert ("data-harmful" in article) is ("<details>" in article)
        assert ("data-harmful" in article) is not ("<details open>" in article)
    assert sum("data-harmful" in article for article in articles) == 9


def test_cards_of_neurons_fold_harmful_prompts_and_show_texts_as_text(page: str, record: RunRecord) -> None:
    section = page.partition('<section id="cards">')[2].partition("</section>")[0]
    assert '<a href="#cards">' in page
    tables = section.split("<table")[1:]
    assert [table.count("<tr><td") for table in tables] == [2, 1]
    assert "safety neurons, strongest first" in section and "utility neurons, strongest first" in section
    row = tables[0].partition("<tr><td")[2].partition("</tr>")[0]
    cells = re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", row)))
    assert "0.0123 [0.01, 0.0146]" in cells and "' sure'" in cells and r"'\u202e'" in cells and r"'\n'" in cells
    assert f"{record.scaling.alpha[3]:.3f}" in row  # type: ignore[union-attr]
    folded = re.findall(r"<details>.*?</details>", section, re.DOTALL)
    assert len(folded) == 3 and all("harmful of" in part and "2.50" in part for part in folded)
    assert "harmful of" not in re.sub(r"<details>.*?</details>", "", section, flags=re.DOTALL)
    assert "<script>" not in section and "<img" not in section and "&lt;script&gt;" in section


def test_a_run_without_cards_has_no_section_and_a_baseline_no_factors(record: RunRecord) -> None:
    assert "strongest first" not in render_report(dataclasses.replace(record, cards=()))
    settings = {**record.settings, "baseline": {"method": "lora"}}
    bare = render_report(dataclasses.replace(record, scaling=None, curve=None, settings=settings))
    assert "strongest first" in bare and "0.0123" in bare


def test_changed_outcomes_come_first_and_the_size_is_bounded(
    record: RunRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = record.completions.copy()
    first = other.index[other["model"] == "tuned"][0]
    other.loc[first, "completion"] = "another answer"
    other.loc[first, ["verdict", "refused"]] = ["compliance", False]
    rows, left_out = changed_completions(other)
    assert [row["change"] for row in rows] == ["answered to refused"] * 9 + ["same outcome"]
    assert left_out == 0
    monkeypatch.setattr(report, "LARGEST_TEXT", 8000)
    few, left_out = changed_completions(other)
    assert 0 < len(few) < 10 and len(few) + left_out == 10
    assert few == rows[: len(few)]


def test_the_page_of_a_large_run_stays_below_8_mb(record: RunRecord) -> None:
    parts = []
    for number in range(300):
        part = record.completions.copy()
        part["id"] += f"/{number}"
        part["prompt"] = "Say 'it' & <b>do</b> it. " * 60
        parts.append(part.sort_values("model", kind="stable"))
    page = render_report(dataclasses.replace(record, completions=pd.concat(parts, ignore_index=True)))
    assert 4_000_000 < len(page.encode()) < 8_000_000
    assert "more do not fit on this page" in page


def test_every_number_is_explained_in_its_section(page: str) -> None:
    """The words above columns and drawings stand in the section's note."""
    words = {
        "rates": ["p", "corrected", "broken"],
        "neurons": ["factor", "amplified", "damped", "sign flipped"],
        "cards": ["score", "promotes", "suppresses", "excited most by"],
        "training": [title.removeprefix("mean ").removesuffix(" from 1") for title in CURVES.values()],
    }
    sections = dict(re.findall(r'<section id="([a-z-]+)">(.*?)</section>', page, re.DOTALL))
    for name, terms in words.items():
        notes = re.sub(r"<[^>]*>", "", " ".join(re.findall(r'<p class="note">(.*?)</p>', sections[name])))
        for term in terms:
            assert re.search(rf"(^|\W){re.escape(term)}(:|\W)", notes, re.IGNORECASE), (name, term)


def test_factors_are_counted_by_sign() -> None:
    neurons = NeuronSet(((0, 1), (0, 2), (1, 1)), ((1, 2),))
    rows = factor_counts(ScalingFactors(neurons, np.array([1.5, 1.0, -0.5, 0.8], dtype=np.float32)))
    assert [(row["role"], row["neurons"], row["raised"], row["lowered"], row["flipped"]) for row in rows] == [
        ("safety", 3, 1, 1, 1),
        ("utility", 1, 0, 1, 0),
    ]


def test_a_run_without_neurons_training_or_changes_still_has_a_report(record: RunRecord) -> None:
    same = record.completions.copy()
    same["completion"], same["verdict"], same["refused"] = "x", "compliance", False
    bare = dataclasses.replace(
        record,
        completions=same,
        scaling=ScalingFactors(NeuronSet((), ()), np.zeros(0, dtype=np.float32)),
        curve=record.curve.iloc[:0],
        earlier=(),
    )
    page = render_report(bare)
    for sentence in ("No neuron was selected", "The factors were not trained", "No answer changed"):
        assert sentence in page


def test_settings_are_flattened_to_the_names_of_the_command_line() -> None:
    settings = {"model": {"name": "m", "revision": None}, "pairs": {"sources": {}, "harmful": ["a"]}}
    assert list(flattened(settings)) == [
        ("model.name", "m"),
        ("model.revision", "None"),
        ("pairs.sources", "{}"),
        ("pairs.harmful", "['a']"),
    ]
