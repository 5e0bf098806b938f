"""The report of a run: one HTML file that needs no network and no other file."""

import base64
import hashlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd
from markupsafe import Markup, escape
from numpy.typing import NDArray

from neurontune_core.cards.card import NeuronCard
from neurontune_core.cards.shown import shown_cards
from neurontune_core.evaluation import charts
from neurontune_core.evaluation.charts import Point
from neurontune_core.evaluation.disagreements import SPOKEN, disagreements, gave_words, success_by_judge
from neurontune_core.evaluation.judges.error_rates import corrected_interval
from neurontune_core.evaluation.rates import by_model, category_rates, refused_by_category
from neurontune_core.evaluation.report_headline import StageTime, circumstances, duration, headline_tiles, moment
from neurontune_core.records import Role, ScalingFactors
from neurontune_core.shown_text import group_in_words

VERSION = 10
LARGEST_TEXT = 6_000_000
"""The most bytes of changed completions in a report, so that the page stays below 8 MB."""
ROW_MARKUP = 1000
MOST_DISAGREEMENTS = 100
CURVES = {
    "loss": "joint loss",
    "safety_loss": "safety loss",
    "utility_loss": "utility loss",
    "gradient_norm": "gradient norm",
    "alpha_mean_shift": "mean distance of the factors from 1",
}
CATEGORIES: tuple[tuple[str, str, Role], ...] = (
    ("Harmful prompts by attack category", "attack_category", "safety"),
    ("Harmless prompts by attack category", "attack_category", "utility"),
    ("Harmful prompts by category of harm", "query_category", "safety"),
)


@dataclass(frozen=True)
class EarlierRun:
    """Safety and utility (`eval/safety`, `eval/utility`) of another run of the same experiment."""

    name: str
    safety: float
    utility: float


@dataclass(frozen=True)
class RunRecord:
    """Everything that a report shows, as plain data.

    `settings` is the whole configuration (`PipelineConfig.model_dump(mode="json")`), `digests` the digest of every
    stage's artifact by stage, `command` the shell command that repeats the run, `dequantised` the quantised formats
    that the model's weights were converted from ("" for none), `quantised` the share of them that was rounded during
    learning, and to what ("" for none), `silenced` the effect of silencing the safety neurons ("" if not measured),
    `warning` why the safety neurons are not established ("" if they are), `cards` the cards of the strongest neurons,
    if there are any.
    A baseline has neither factors nor a curve. `completions` may have the column `cut`: the answer reached the length
    limit. `works` are the computations of the stages, `device` the device of the run, `weights` the digest of the
    model's weights, `triggers` the table of `over_refusal.measure_triggers`, `causal` the drawings of a causal study of
    the run's neurons by name, as SVG (none without one).
    """

    title: str
    model: str
    rates: pd.DataFrame
    completions: pd.DataFrame
    facts: Mapping[str, float]
    scaling: ScalingFactors | None
    curve: pd.DataFrame | None
    neurons_per_layer: Sequence[int]
    settings: Mapping[str, Any]
    versions: Mapping[str, str]
    digests: Mapping[str, str]
    command: str
    earlier: Sequence[EarlierRun] = ()
    dequantised: str = ""
    quantised: str = ""
    warning: str = ""
    silenced: str = ""
    cards: Sequence[NeuronCard] = ()
    works: Sequence[StageTime] = ()
    device: str = ""
    weights: str = ""
    triggers: pd.DataFrame | None = None
    causal: Mapping[str, bytes] = field(default_factory=dict)


def render_report(record: RunRecord) -> str:
    """Return the report as one HTML page: rates, neurons, factors, curves, changed completions, provenance."""
    folder = Path(__file__).parent
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "spoken": spoken, "anchor": anchor}
    environment.filters |= {"moment": moment, "duration": duration}
    script = (folder / "report.js").read_text(encoding="utf-8")
    changed, left_out = changed_completions(record.completions)
    disputed = disagreements(record.completions)
    return environment.get_template("report.html").render(
        record=record,
        script=Markup(script),
        # the browser runs only this script, so a script inside a completion does nothing
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        headline=headline_tiles(record.facts),
        circumstances=circumstances(record.works, record.device, record.weights),
        benchmarks=[with_correction(row, record.completions["judge"].iloc[0]) for row in _rates(record)],
        scatter=charts.safety_utility(_points(record)),
        success=success_by_judge(record.completions),
        disputed=disputed[:MOST_DISAGREEMENTS],
        disputed_total=len(disputed),
        over_refusal=over_refusal_tables(record.completions),
        triggers=trigger_rows(record.triggers),
        causal={name: base64.b64encode(drawing).decode() for name, drawing in record.causal.items()},
        categories=[(title, rows) for title, rows in _categories(record.completions) if rows],
        factors=factor_charts(record.scaling, record.neurons_per_layer) if record.scaling else {},
        factor_counts=factor_counts(record.scaling) if record.scaling else [],
        cards=[
            (role, list(cards))
            for role, cards in itertools.groupby(shown_cards(record.cards, record.scaling), lambda card: card.role)
        ],
        curves=list(_curves(record.curve)),
        changed=changed,
        anchors={row["anchor"] for row in changed},
        left_out=left_out,
        changes=sorted({row["change"] for row in changed}),
        verdicts=SPOKEN,
        judge=", ".join(sorted(set(record.completions["judge"]))),
        kappas=list(_kappas(record.facts)),
        settings=list(flattened(record.settings)),
    )


def paired_rows(table: pd.DataFrame, column: str) -> list[dict[str, Any]]:
    """Return one row a benchmark or category, with the base and the tuned model's rates side by side."""
    rows = []
    for name in dict.fromkeys(table[column]):
        models = {row["model"]: row for row in table[table[column] == name].to_dict("records")}
        rows.append({"name": name, "base": models["base"], "tuned": models["tuned"]})
    return rows


def with_correction(row: dict[str, Any], judge: str) -> dict[str, Any]:
    """Return a row of `paired_rows` with `corrected`: the tuned model's rate corrected for the judge's error.

    Its 95% interval covers the sampling of prompts and the uncertainty of that error; None for an unmeasured judge.
    """
    tuned = row["tuned"]
    return row | {"corrected": corrected_interval(tuned["refused"], tuned["n"], judge, tuned["role"])}


def changed_completions(completions: pd.DataFrame) -> tuple[list[dict[str, Any]], int]:
    """Return the prompts whose completion changed, changed verdicts first, and how many did not fit on the page.

    Verdicts have their names in `SPOKEN`; `anchor` is the same for the same prompt in every report.
    """
    models = by_model(completions)
    rows = []
    for base, tuned in zip(models["base"].to_dict("records"), models["tuned"].to_dict("records"), strict=True):
        if base["completion"] != tuned["completion"]:
            before, after = (SPOKEN.get(row["verdict"], row["verdict"]) for row in (base, tuned))
            change = "same outcome" if before == after else f"{before} to {after}"
            harmful = base["role"] == "safety"
            rows.append(
                {
                    "base": base,
                    "tuned": tuned,
                    "change": change,
                    "harmful": harmful,
                    "before": said_before(base),
                    "anchor": anchor(base),
                    "gave": {row["model"]: gave_words(row.get("gave"), harmful) for row in (base, tuned)},
                }
            )
    rows.sort(key=lambda row: row["change"] == "same outcome")
    size, shown = 0, 0
    for row in rows:
        texts = (row["before"], row["base"]["prompt"], row["base"]["completion"], row["tuned"]["completion"])
        size += ROW_MARKUP + sum(len(escape(text).encode()) for text in texts)
        if size > LARGEST_TEXT:
            break
        shown += 1
    return rows[:shown], len(rows) - shown


def anchor(row: Mapping[Any, Any]) -> str:
    """Return the HTML anchor of a prompt within a report."""
    return "prompt-" + hashlib.sha256(f"{row['benchmark']}/{row['id']}".encode()).hexdigest()[:12]


def over_refusal_tables(completions: pd.DataFrame) -> list[tuple[str, list[dict[str, Any]]]]:
    """Return the rates of refused harmless prompts by category, one list of `paired_rows` a benchmark."""
    table = refused_by_category(completions)
    return [(str(name), paired_rows(part, "category")) for name, part in table.groupby("benchmark", sort=False)]


def trigger_rows(triggers: pd.DataFrame | None) -> list[dict[str, Any]] | None:
    """Return the false refusals that were examined, those with trigger words first; None without a `triggers` table."""
    if triggers is None:
        return None
    rows = []
    for _, part in triggers.groupby(["id", "benchmark"], sort=False):
        whole, words = part[part["word"] == ""].iloc[0].to_dict(), part[part["word"] != ""]
        freed = words[~words["refused"]].to_dict("records")
        rows.append({"prompt": whole, "tried": len(words), "words": freed})
    return sorted(rows, key=lambda row: not row["words"])


def said_before(row: Mapping[Any, Any]) -> str:
    """Return the system message and the turns before a prompt, a turn a line; "" if there are none."""
    system = [f"system: {row['system']}"] if row.get("system") else []
    return "\n".join([*system, *(f"{turn['role']}: {turn['content']}" for turn in row.get("history", ()))])


def factor_charts(scaling: ScalingFactors, neurons_per_layer: Sequence[int]) -> dict[str, Markup]:
    """Return drawings of where the neurons sit, of their factors, and of the signs of change, by layer."""
    depth = len(neurons_per_layer)
    layers = np.array([neuron.layer for neuron in scaling.neurons.all], dtype=np.int64)
    roles = _roles(scaling)
    if not len(layers):
        return {}

    def count(chosen: NDArray[np.bool_]) -> NDArray[np.int64]:
        return np.bincount(layers[chosen], minlength=depth)

    return {
        "place": charts.stacked_layers(count(roles == "safety"), count(roles == "utility")),
        "alpha": charts.alpha_dots(layers, scaling.alpha, roles, depth),
        "sign": charts.signed_layers(count(scaling.alpha > 1), count(scaling.alpha < 1)),
    }


def factor_counts(scaling: ScalingFactors) -> list[dict[str, Any]]:
    """Return, for both roles, how many factors lie above and below 1, and their range."""
    roles = _roles(scaling)
    rows = []
    for role in ("safety", "utility"):
        alpha = scaling.alpha[roles == role]
        if len(alpha):
            signs = {
                "raised": int((alpha > 1).sum()),
                "lowered": int((alpha < 1).sum()),
                "flipped": int((alpha < 0).sum()),
            }
            span = {"low": float(alpha.min()), "median": float(np.median(alpha)), "high": float(alpha.max())}
            rows.append({"role": role, "neurons": len(alpha)} | signs | span)
    return rows


def flattened(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield every setting as (`section.field`, value)."""
    for name, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from flattened(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", str(value)


def percent(value: float) -> str:
    """Return a share as a percentage with one digit."""
    return f"{value:.1%}"


def spoken(name: str) -> str:
    """Return a category or benchmark name as words."""
    return group_in_words(name).replace("/", ": ")


def _rates(record: RunRecord) -> list[dict[str, Any]]:
    return paired_rows(record.rates, "benchmark")


def _curves(curve: pd.DataFrame | None) -> Iterator[tuple[str, Markup]]:
    if curve is not None and len(curve):
        for name, title in CURVES.items():
            if name in curve:
                yield title, charts.curve(title, curve["step"].tolist(), curve[name].tolist())


def told_apart(names: Sequence[str]) -> list[str]:
    """Return the names of runs without their common leading parts: `a.b`, `a.c` become `b`, `c`."""
    parts = [name.split(" \u00b7 ") for name in names]
    shared = 0
    while len({tuple(part[: shared + 1]) for part in parts}) == 1 and all(len(part) > shared + 1 for part in parts):
        shared += 1
    return [" \u00b7 ".join(part[shared:]) for part in parts]


def _kappas(facts: Mapping[str, float]) -> Iterator[tuple[str, float]]:
    """Yield in words on what judges agree, and their kappa."""
    questions = {"judge_kappa": "refusals", "harm_kappa": "harm"}
    for name, value in facts.items():
        key, _, judges = name.partition("/")
        if key in questions:
            yield f"agreement {'of' if ' and ' in judges else 'with'} {judges} on {questions[key]}", value


def _points(record: RunRecord) -> list[Point]:
    facts = record.facts
    return [
        *(
            Point(name, run.safety, run.utility, "earlier")
            for name, run in zip(told_apart([run.name for run in record.earlier]), record.earlier, strict=True)
        ),
        Point("base", facts["eval/safety_base"], facts["eval/utility_base"], "base"),
        Point("tuned", facts["eval/safety"], facts["eval/utility"], "tuned"),
    ]


def _categories(completions: pd.DataFrame) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    for title, column, role in CATEGORIES:
        yield title, paired_rows(category_rates(completions, column, role), "category")


def _roles(scaling: ScalingFactors) -> NDArray[np.str_]:
    neurons = scaling.neurons
    return np.array(["safety"] * len(neurons.safety) + ["utility"] * len(neurons.utility))
