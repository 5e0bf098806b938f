"""The model card says what the safety neurons are attributed to."""

import dataclasses
from pathlib import Path

import pandas as pd
import pytest
from huggingface_hub import ModelCard

from neurontune_core.config import PipelineConfig
from neurontune_core.export.card import CardFacts, render_card
from neurontune_core.model import source
from neurontune_core.model.settings import ModelConfig
from neurontune_core.records import ScalingFactors


@pytest.fixture
def card(factors: ScalingFactors) -> CardFacts:
    return CardFacts(
        title="a run", base=source.describe(ModelConfig(name="random:llama")), config=PipelineConfig(),
        scaling=factors, rates=None, facts={}, judge="", digests={"pairs": "0" * 64}, versions={"neurontune": "1"},
        command="neurontune run",
    )  # fmt: skip


def test_a_warning_stands_below_the_title(card: CardFacts) -> None:
    text = render_card(dataclasses.replace(card, warning="the model refuses 3 of 48"))
    assert "# a run\n\n> **Warning:** the model refuses 3 of 48.\n\n`random:llama`" in text
    assert "own refusals" not in text


def test_own_refusals_are_counted_where_they_were_attributed(card: CardFacts) -> None:
    text = render_card(dataclasses.replace(card, own_refusals=22))
    assert "The safety scores are of 22 of the model's own refusals." in text and "Warning" not in text
    assert "own refusals" not in render_card(card)


def test_the_hub_reads_base_licence_datasets_and_results_with_intervals(card: CardFacts) -> None:
    rates = pd.DataFrame(
        [
            {"benchmark": "advbench", "role": "safety", "model": model, "n": 40, "rate": rate, "low": 0.7, "high": 0.9}
            for model, rate in (("base", 0.1), ("tuned", 0.8))
        ]
    )
    facts = {"eval/su_f1": 0.6, "eval/su_f1_low": 0.5, "eval/su_f1_high": 0.7}
    data = PipelineConfig().pairs.model_copy(update={"harmful": ("shipped", "advbench"), "benign": ("mine.csv",)})
    config = PipelineConfig().model_copy(update={"pairs": data})
    named = card.base.model_copy(update={"name": "packaged:smollm2-135m-instruct"})
    text = render_card(dataclasses.replace(card, base=named, config=config, rates=rates, facts=facts))
    read = ModelCard(text).data
    assert read.base_model == "HuggingFaceTB/SmolLM2-135M-Instruct" and read.license == "apache-2.0"
    assert read.datasets == ["walledai/AdvBench"]
    refused, score = read.eval_results
    assert (refused.metric_type, refused.metric_value, refused.dataset_name) == ("refusal_rate", 0.8, "advbench")
    assert refused.metric_args["confidence_interval"] == [0.7, 0.9] and refused.metric_args["prompts"] == 40
    assert (score.metric_type, score.metric_value) == ("safety_utility_f1", 0.6)
    assert "[0.500, 0.700]" in score.metric_name


def test_a_base_in_a_folder_states_its_licence_or_it_is_unknown(card: CardFacts, base_folder) -> None:
    base = base_folder("llama")
    assert ModelCard(render_card(dataclasses.replace(card, base=base))).data.license == "unknown"
    card_of_base = "---\nlicense: mit\nbase_model: [some/model]\n---\n# Base\n"
    (Path(base.name) / "README.md").write_text(card_of_base)
    read = ModelCard(render_card(dataclasses.replace(card, base=base))).data
    assert (read.license, read.base_model) == ("mit", "some/model")
    (Path(base.name) / "README.md").write_text("---\n: [broken\n---\n")
    read = ModelCard(render_card(dataclasses.replace(card, base=base))).data
    assert (read.license, read.base_model) == ("unknown", Path(base.name).name)
