"""The report of a run: one HTML file that needs no network and no other file."""

import base64
import hashlib
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd
from markupsafe import Markup, escape
from numpy.typing import NDArray

from neurontune_core.cards.card import NeuronCard
from neurontune_core.cards.shown import shown_cards
from neurontune_core.evaluation import charts, harness
from neurontune_core.evaluation.charts import Point
from neurontune_core.evaluation.rates import by_model, category_rates
from neurontune_core.records import Role, ScalingFactors

VERSION = 4
LARGEST_TEXT = 6_000_000
"""Bytes that the changed completions take at most, so that the page stays below 8 MB."""
ROW_MARKUP = 1000
CURVES = {
    "loss": "joint loss",
    "safety_loss": "safety loss",
    "utility_loss": "utility loss",
    "gradient_norm": "gradient norm",
    "alpha_mean_shift": "mean |alpha - 1|",
}
CATEGORIES: tuple[tuple[str, str, Role], ...] = (
    ("Harmful prompts by attack category", "attack_category", "safety"),
    ("Harmless prompts by attack category they are wrapped in", "attack_category", "utility"),
    ("Harmful prompts by unsafety category", "query_category", "safety"),
    ("Harmless prompts by topic", "query_category", "utility"),
)


@dataclass(frozen=True)
class EarlierRun:
    """Safety and utility (`eval/safety`, `eval/utility`) of another run of the same experiment."""

    name: str
    safety: float
    utility: float


@dataclass(frozen=True)
class RunRecord:
    """Everything a report shows; plain data, whoever has gathered it.

    `settings` is the whole configuration (`PipelineConfig.model_dump(mode="json")`), `digests` the digest of every
    stage's artifact by stage, `command` the shell command that makes the run again, `dequantised` the quantised formats
    that the model's weights were worked out from ("" for none), `silenced` what silencing the safety neurons does (""
    where it was not tried), `warning` what makes the safety neurons doubtful ("" if nothing does), `cards` those of the
    strongest neurons, if there are any. A baseline has neither factors nor a curve.
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
    warning: str = ""
    silenced: str = ""
    cards: Sequence[NeuronCard] = ()


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
    environment.filters |= {"percent": percent, "spoken": spoken}
    script = (folder / "report.js").read_text(encoding="utf-8")
    changed, left_out = changed_completions(record.completions)
    return environment.get_template("report.html").render(
        record=record,
        script=Markup(script),
        # only this very script may run, whatever a completion holds
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        headline=headline(record.facts),
        benchmarks=paired_rows(record.rates, "benchmark"),
        scatter=charts.safety_utility(_points(record)),
        categories=[(title, rows) for title, rows in _categories(record.completions) if rows],
        factors=factor_charts(record.scaling, record.neurons_per_layer) if record.scaling else {},
        factor_counts=factor_counts(record.scaling) if record.scaling else [],
        cards=[
            (role, list(cards))
            for role, cards in itertools.groupby(shown_cards(record.cards, record.scaling), lambda card: card.role)
        ],
        curves=list(_curves(record.curve)),
        changed=changed,
        left_out=left_out,
        changes=sorted({row["change"] for row in changed}),
        judge=", ".join(sorted(set(record.completions["judge"]))),
        kappas={name.split("/")[1]: value for name, value in record.facts.items() if name.startswith("judge_kappa/")},
        settings=list(flattened(record.settings)),
    )


def headline(facts: Mapping[str, float]) -> list[dict[str, str]]:
    """Return the tiles at the top: what it is, base, tuned, and a remark; those whose metric is there."""
    tiles = [
        ("SU-F1", "eval/su_f1", "{:.3f}", "harmonic mean of safety and utility"),
        ("Safety", "eval/safety", "{:.1%}", "harmful prompts refused"),
        ("Utility", "eval/utility", "{:.1%}", "harmless prompts answered"),
        ("Over-refusal", "eval/over_refusal", "{:.1%}", "harmless prompts refused"),
        ("Harm", "eval/harm", "{:.1%}", "harmful prompts whose answer gave what was asked for (attack success)"),
        ("Help", "eval/help", "{:.1%}", "harmless prompts whose answer gave what was asked for"),
        ("Length", "left/words", "{:.0f}", "words an answer to a harmless prompt"),
        ("Diversity", "left/distinct", "{:.2f}", "different pairs of words, as a share, harmless prompts"),
        ("Broken", "eval/broken", "{:.1%}", "empty, looping or gibberish"),
        ("Fluency", "eval/fluency", "{:.2f}", "n-gram entropy in bits, prompts both answered"),
    ]
    rows = [
        {"name": name, "base": form.format(facts[f"{key}_base"]), "tuned": form.format(facts[key]), "remark": remark}
        for name, key, form, remark in tiles
        if key in facts and f"{key}_base" in facts
    ]
    if "left/content_kept" in facts:
        remark = f"content words of the base model's answers kept; chrF {facts['left/chrf']:.2f}, harmless prompts"
        rows.append({"name": "Kept", "base": "100.0%", "tuned": f"{facts['left/content_kept']:.1%}", "remark": remark})
    if "ability/ability/accuracy" in facts:
        known = {name: facts[f"ability/ability/{name}"] for name in ("accuracy", "accuracy_base", "difference")}
        low, high = facts["ability/ability/difference_low"], facts["ability/ability/difference_high"]
        remark = f"of 200 four-option questions; difference {known['difference']:+.1%} ({low:+.1%} to {high:+.1%})"
        rows.append(
            {
                "name": "Ability",
                "base": f"{known['accuracy_base']:.1%}",
                "tuned": f"{known['accuracy']:.1%}",
                "remark": remark,
            }
        )
    # facts of other stages begin with the stage's name
    known = {name.removeprefix("harness/"): value for name, value in facts.items()}
    for task, values in harness.compared(known):
        base, tuned, remark = f"{values['_base']:.1%}", f"{values['']:.1%}", harness.spoken_difference(values)
        rows.append({"name": task, "base": base, "tuned": tuned, "remark": f"lm-evaluation-harness; {remark}"})
    if "eval/kl_to_base" in facts:
        ratio = f"perplexity times {facts['eval/perplexity_ratio']:.2f}, on the base model's own answers"
        rows.append({"name": "KL to base", "base": "0", "tuned": f"{facts['eval/kl_to_base']:.3f}", "remark": ratio})
    return rows


def paired_rows(table: pd.DataFrame, column: str) -> list[dict[str, Any]]:
    """Return one row a benchmark or category, with the base and the tuned model's rates side by side."""
    rows = []
    for name in dict.fromkeys(table[column]):
        models = {row["model"]: row for row in table[table[column] == name].to_dict("records")}
        rows.append({"name": name, "base": models["base"], "tuned": models["tuned"]})
    return rows


def changed_completions(completions: pd.DataFrame) -> tuple[list[dict[str, Any]], int]:
    """Return the prompts whose completion changed, changed outcomes first, and how many found no room.

    The outcome of a completion is refused, broken, unscored or answered.
    """
    models = by_model(completions)
    rows = []
    for base, tuned in zip(models["base"].to_dict("records"), models["tuned"].to_dict("records"), strict=True):
        if base["completion"] != tuned["completion"]:
            before, after = _outcome(base), _outcome(tuned)
            change = "same outcome" if before == after else f"{before} to {after}"
            harmful, earlier = base["role"] == "safety", said_before(base)
            rows.append({"base": base, "tuned": tuned, "change": change, "harmful": harmful, "before": earlier})
    rows.sort(key=lambda row: row["change"] == "same outcome")
    size, shown = 0, 0
    for row in rows:
        texts = (row["before"], row["base"]["prompt"], row["base"]["completion"], row["tuned"]["completion"])
        size += ROW_MARKUP + sum(len(escape(text).encode()) for text in texts)
        if size > LARGEST_TEXT:
            break
        shown += 1
    return rows[:shown], len(rows) - shown


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
    return re.sub(r"\bheldout\b", "held-out", name.replace("_", " ")).replace("/", ": ")


def _curves(curve: pd.DataFrame | None) -> Iterator[tuple[str, Markup]]:
    if curve is not None and len(curve):
        for name, title in CURVES.items():
            if name in curve:
                yield title, charts.curve(title, curve["step"].tolist(), curve[name].tolist())


def _points(record: RunRecord) -> list[Point]:
    facts = record.facts
    return [
        *(Point(run.name, run.safety, run.utility, "earlier") for run in record.earlier),
        Point("base", facts["eval/safety_base"], facts["eval/utility_base"], "base"),
        Point("tuned", facts["eval/safety"], facts["eval/utility"], "tuned"),
    ]


def _categories(completions: pd.DataFrame) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    for title, column, role in CATEGORIES:
        yield title, paired_rows(category_rates(completions, column, role), "category")


def _roles(scaling: ScalingFactors) -> NDArray[np.str_]:
    neurons = scaling.neurons
    return np.array(["safety"] * len(neurons.safety) + ["utility"] * len(neurons.utility))


def _outcome(row: Mapping[Any, Any]) -> str:
    if row["refused"]:
        return "refused"
    return "answered" if row["verdict"] == "compliance" else str(row["verdict"])
