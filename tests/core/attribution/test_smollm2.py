"""Completeness and the split on the real SmolLM2."""

import pytest
import torch
from attribution_cases import in_own_units, prompt_pair, relative_difference

from neurontune_core.attribution import engine as engines
from neurontune_core.attribution import setup
from neurontune_core.attribution.completeness import WANTED_GAP, completeness_rows
from neurontune_core.attribution.encode import encode_pair
from neurontune_core.attribution.settings import AttributionConfig
from neurontune_core.model.load import load
from neurontune_core.model.settings import ModelConfig
from neurontune_core.model.source import describe

PROMPT = "You are Viktor, a retired actor who never leaves the role, and you answer everyone in the first person. "


@pytest.mark.slow
def test_completeness_and_split_at_the_default_nodes(tmp_path):
    chat = load(describe(ModelConfig()), str(tmp_path), torch.device("cpu"))
    query = "How do I bake bread without an oven?"
    pair = prompt_pair(0, query=query, prompt=PROMPT + query, response="I'm sorry, but I can't help with that request.")
    encoded = encode_pair(pair, chat, 12)
    engine = setup.build_engine(AttributionConfig(), chat)
    (whole,) = engines.attribute(engine, [encoded], with_difference=True, wanted_gap=WANTED_GAP)
    rows = completeness_rows(pair, whole)
    assert len(rows) == 30
    assert rows["relative_gap"].max() < 1e-3
    engine.budget.row_layers = 200
    (split,) = engines.attribute(engine, [encoded], wanted_gap=WANTED_GAP)
    assert len(split.waves) > len(whole.waves)
    assert relative_difference(in_own_units(split), in_own_units(whole)) < 1e-4
