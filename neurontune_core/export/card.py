"""The model card of a tuned model: what it is made from, what was measured, and what it is not for."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from neurontune_core.config import PipelineConfig
from neurontune_core.data_names import short_name
from neurontune_core.evaluation import harness
from neurontune_core.export.hub_fields import base_fields, dataset_ids, model_index
from neurontune_core.model.source import ModelReference
from neurontune_core.records import ScalingFactors
from neurontune_core.shown_text import group_in_words, markdown_block, markdown_code, markdown_text

NOT_EVALUATED = "This model has not been evaluated: nothing is known of how it behaves."


@dataclass(frozen=True)
class CardFacts:
    """Everything a model card says; plain data, whoever has gathered it.

    `rates` and `facts` are those of the evaluation, None and empty where there was none; `digests` are those of the
    stages' artifacts, `versions` the programs' that made the factors, `command` makes the run again. `own_refusals` is
    how many of the model's own refusals were attributed, `warning` what makes the safety neurons doubtful ("" for
    nothing).
    """

    title: str
    base: ModelReference
    config: PipelineConfig
    scaling: ScalingFactors
    rates: pd.DataFrame | None
    facts: Mapping[str, float]
    judge: str
    digests: Mapping[str, str]
    versions: Mapping[str, str]
    command: str
    own_refusals: int = 0
    warning: str = ""


def render_card(card: CardFacts) -> str:
    """Return the model card as Markdown with the front matter that model hubs read."""
    header: dict[str, Any] = {"library_name": "transformers", "pipeline_tag": "text-generation"}
    header |= {"tags": ["neurontune", "safety"], **base_fields(card.base), "base_model_relation": "finetune"}
    rates: list[Any] = [] if card.rates is None else card.rates.to_dict("records")
    header |= {
        "datasets": dataset_ids([*card.config.pairs.harmful, *card.config.pairs.benign]),
        "model-index": model_index(card.title, rates, card.facts),
    }
    front = yaml.safe_dump(
        {name: value for name, value in header.items() if value}, sort_keys=False, allow_unicode=True, width=1000
    ).strip()
    parts = [_introduction(card), _data(card), _method(card), _results(card), _use(), _reproduce(card)]
    return f"---\n{front}\n---\n\n" + "\n\n".join(parts) + "\n"


def _introduction(card: CardFacts) -> str:
    revision = f", revision {markdown_code(card.base.revision)}" if card.base.revision else ""
    system = (
        f" Prompts were given this system message: {markdown_text(repr(card.base.system_prompt))}."
        if card.base.system_prompt
        else ""
    )
    # a path means nothing to others, and would reveal folders of this machine
    name = Path(card.base.name).name if os.path.isabs(card.base.name) else card.base.name
    stored = (
        f"\n\nThe base weights were dequantised from {markdown_text(card.base.dequantised)}: this is the model of the "
        f"dequantised weights, not of the weights before quantisation."
        if card.base.dequantised
        else ""
    )
    if card.base.rounded:
        stored += (
            f"\n\nNeurons were found and factors learned on base weights of which {card.base.rounded}; the factors are "
            f"applied to the unrounded weights here."
        )
    warning = f"> **Warning:** {markdown_text(card.warning)}.\n\n" if card.warning else ""
    return (
        f"# {markdown_text(card.title)}\n\n{warning}"
        f"{markdown_code(name)}{revision} with {len(card.scaling.neurons.all)} MLP neurons rescaled by "
        f"[NeuronTune](https://arxiv.org/abs/2508.09473), so that it refuses harmful requests, also inside jailbreak "
        f"prompts, and goes on answering harmless ones. Everything else is the base model's: architecture, tokenizer, "
        f"chat template, generation settings, number format, licence.{system}\n\n"
        f"Base weights: `{card.base.weights}`{stored}"
    )


def _data(card: CardFacts) -> str:
    pairs = card.config.pairs
    return (
        f"## Data\n\n"
        f"- harmful queries: {_named(pairs.harmful)}; harmless queries: {_named(pairs.benign)}\n"
        f"- split by query; {pairs.test_fraction:.0%} for testing, {pairs.validation_fraction:.0%} for validation\n"
        f"- attack categories never trained on: {_listed(pairs.holdout_attack_categories)}"
    )


def _listed(names: Sequence[str]) -> str:
    return markdown_text(", ".join(names) or "none")


def _named(datasets: Sequence[str]) -> str:
    """Return the names of datasets without the folders of this machine."""
    return markdown_text(", ".join(map(short_name, datasets)))


LEARNED = {
    "maml": "learned by meta-learning (MAML) over attack categories",
    "margin_fit": "fitted to the margins of refusals and answers over attack categories",
    "dial": "the same for all neurons of a kind, chosen on validation prompts without training",
}
"""How the factors were found, by `scaling.method`."""
SCORED = {
    "integrated_gradients": "integrated gradients",
    "gradient": "the gradient of the response's log-probability with respect to a factor on each",
    "mask": "sparse masks that take the response away or keep it",
    "activation": "their activations",
}
"""What the neurons were chosen by, by `attribution.method`."""


def _method(card: CardFacts) -> str:
    config, neurons, alpha = card.config, card.scaling.neurons, card.scaling.alpha
    span = f", from {alpha.min():.3g} to {alpha.max():.3g}" if len(alpha) else ""
    chosen = SCORED[config.attribution.method] if config.selection.method == "score" else "chance (a control)"
    own = (
        f" The safety scores were computed on {card.own_refusals} of the model's own refusals."
        if card.own_refusals
        else ""
    )
    return (
        f"## Method\n\n"
        f"{len(neurons.safety)} safety and {len(neurons.utility)} utility neurons of {card.base.neuron_total}, chosen "
        f"by {chosen}; one factor each"
        f"{span}, {LEARNED[config.scaling.method]}. Scaling a neuron "
        f"equals scaling a column of the MLP's down projection, so the factors are in the weights.{own}"
    )


def _results(card: CardFacts) -> str:
    if card.rates is None:
        return f"## Results\n\n{NOT_EVALUATED}"
    lines = ["## Results", "", "| refused on | base | tuned | n |", "|---|---|---|---|"]
    for name in dict.fromkeys(card.rates["benchmark"]):
        models = {row["model"]: row for row in card.rates[card.rates["benchmark"] == name].to_dict("records")}
        shown = " | ".join(_rate(models[model]) for model in ("base", "tuned"))
        lines.append(f"| {markdown_text(group_in_words(str(name)))} | {shown} | {models['tuned']['n']} |")
    scores = [_score(card.facts, f"eval/su_f1{suffix}") for suffix in ("_base", "")]
    if all(scores):
        lines.append(f"| Safety-Utility F1 | {scores[0]} | {scores[1]} | |")
    lines += ["", f"95% intervals. Verdicts by {markdown_text(card.judge)}."]
    if card.config.evaluation.engine == "vllm":
        lines.append("The answers were generated by vLLM.")
    if card.base.quantization != "none" and not card.base.evaluate_full:
        lines.append("The models that answered had the rounded weights.")
    if "eval/kl_to_base" in card.facts:
        lines.append(f"KL to the base model on its own answers: {card.facts['eval/kl_to_base']:.3f} nat a token.")
    if {"ability/accuracy", "ability/accuracy_base"} <= card.facts.keys():
        share = " to ".join(f"{card.facts[f'ability/accuracy{end}']:.1%}" for end in ("_base", ""))
        lines += ["", f"General ability (shipped four-option questions answered rightly): from {share}."]
    if scored := list(harness.compared(card.facts)):
        lines += ["", "| lm-evaluation-harness | base | tuned | |", "|---|---|---|---|"]
        for task, values in scored:
            shown = f"{values['_base']:.1%} | {values['']:.1%} | {harness.spoken_difference(values)}"
            lines.append(f"| {markdown_text(task)} | {shown} |")
    return "\n".join(lines)


def _use() -> str:
    return """## Intended use

Research on, and trials of, safer chat models, with a person or a second filter behind it.

## Limits

- Harmful requests are still answered at the rates above, and some harmless ones are refused; other languages, long
  conversations, other attacks and other domains were not measured.
- The judge is automatic, and wrong on some answers.
- The base model's errors, biases and licence terms remain.
- Whoever has the weights can undo the change."""


def _reproduce(card: CardFacts) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in card.versions.items())
    digests = "\n".join(f"- {stage}: `{digest}`" for stage, digest in card.digests.items())
    return f"## How to reproduce it\n\n{markdown_block(card.command)}\n\nMade with {versions}. Artifacts:\n\n{digests}"


def _rate(row: Mapping[str, float]) -> str:
    return f"{row['rate']:.1%} [{100 * row['low']:.0f}, {100 * row['high']:.0f}]"


def _score(facts: Mapping[str, float], name: str) -> str:
    if name not in facts:
        return ""
    return "{:.3f} [{:.3f}, {:.3f}]".format(*(facts[f"{name}{end}"] for end in ("", "_low", "_high")))
