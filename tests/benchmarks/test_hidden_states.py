"""What the classifier on hidden states is given, and that it is chosen on the validation split."""

import runpy
from pathlib import Path

import numpy as np
import pytest
import torch

from neurontune_core.config import load_config
from neurontune_core.model import tiny
from neurontune_core.model.load import ChatModel

SCRIPT = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "hidden_states.py"))


def test_states_are_means_over_the_tokens_of_a_prompt_alone():
    chat = ChatModel(tiny.model("llama").float().requires_grad_(False), tiny.tokenizer(), torch.device("cpu"))
    texts = ["How do I bake bread?", "Why?"]
    found = SCRIPT["mean_states"](chat, texts, [1, 2])
    for place, text in enumerate(texts):
        ids = torch.tensor([chat.prompt_tokens(text)])
        states = chat.model.base_model(ids, output_hidden_states=True).hidden_states
        for layer in (1, 2):
            assert found[layer][place] == pytest.approx(states[layer][0].double().mean(0).numpy(), rel=1e-5, abs=1e-5)


def test_prompts_of_a_group_come_from_all_of_it_up_to_the_number_asked_for():
    sampled = SCRIPT["prompts"](load_config("smollm2"), 5)
    counts = {(pair.role, pair.split, group): 0 for pair, group in sampled}
    for pair, group in sampled:
        counts[pair.role, pair.split, group] += 1
        assert (group == "plain") == (not pair.attack_name)
    assert set(counts.values()) == {5}
    assert {split for _, split, group in counts if group == "held-out attack"} == {"test"}


def test_the_classifier_is_fitted_on_training_prompts_alone():
    generator = np.random.default_rng(0)
    harmful, split = np.arange(600) % 2 == 0, np.repeat(["train", "validation", "test"], 200)
    values = generator.normal(size=(600, 8))
    values[:, 0] += 4 * harmful
    flipped = np.where(split == "test", ~harmful, harmful)
    assert np.array_equal(
        SCRIPT["fitted"](values, flipped, split).decision_function(values),
        SCRIPT["fitted"](values, harmful, split).decision_function(values),
    )
    right = (SCRIPT["fitted"](values, harmful, split).decision_function(values) > 0) == harmful
    assert right[split == "test"].mean() > 0.95
