"""A tiny random model, a corpus of twelve queries in three wrappings, and factors far from one."""

import numpy as np
import pytest
import torch

from neurontune_core.evaluation.settings import EvaluationConfig
from neurontune_core.model import source
from neurontune_core.model.load import ChatModel, load
from neurontune_core.model.settings import ModelConfig
from neurontune_core.records import NeuronId, NeuronSet, PromptPair, Role, ScalingFactors, Split


@pytest.fixture(scope="session")
def chat(tmp_path_factory: pytest.TempPathFactory) -> ChatModel:
    root = str(tmp_path_factory.mktemp("models"))
    return load(source.describe(ModelConfig(name="random:llama")), root, torch.device("cpu"))


def pair(query: str, role: Role, split: Split, category: str, attack: str = "") -> PromptPair:
    text = f"What about {query}?"
    return PromptPair(
        id=f"{query}/{attack}" if attack else query,
        role=role,
        query_id=query,
        query=text,
        query_category=category,
        prompt=f"{attack}: {text}" if attack else text,
        response="",
        attack_type="pretending" if attack else "",
        attack_category=attack,
        attack_name=attack,
        selected=False,
        source="test",
        split=split,
    )


@pytest.fixture
def pairs() -> list[PromptPair]:
    """Per split and role three queries: plain, wrapped in a trained attack, and in test in one never trained on."""
    rows = []
    for split in ("train", "test"):
        for role, categories in (
            ("safety", ["mental_harm", "pornography", "mental_harm"]),
            ("utility", ["ordinary/science", "ordinary/cooking", "borderline/homonyms"]),
        ):
            for number, category in enumerate(categories):
                attacks = ["", "sudo_mode"] + ["translation"] * (split == "test")
                rows += [pair(f"{role}-{split}-{number}", role, split, category, attack) for attack in attacks]
    return rows


@pytest.fixture
def scaling() -> ScalingFactors:
    neurons = NeuronSet(
        tuple(NeuronId(layer, index) for layer in (0, 1) for index in range(10)),
        tuple(NeuronId(layer, index) for layer in (0, 1) for index in range(20, 30)),
    )
    return ScalingFactors(neurons, np.linspace(-2, 4, 40, dtype=np.float32))


@pytest.fixture
def settings() -> EvaluationConfig:
    return EvaluationConfig(prompts_per_benchmark=2, max_new_tokens=6, bootstrap_samples=100)
