"""The model card says what the safety neurons are attributed to."""

import dataclasses

import pytest

from neurontune_core.config import ModelConfig, PipelineConfig
from neurontune_core.export.card import CardFacts, render_card
from neurontune_core.model import source
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
