"""A tiny chat model in float64, neurons of both its layers, and a small corpus."""

from collections.abc import Callable
from itertools import product

import pytest
import torch

from neurontune_core.config import ScalingConfig
from neurontune_core.model import tiny
from neurontune_core.model.load import ChatModel
from neurontune_core.records import NeuronId, NeuronSet, PromptPair, Role

QUERIES: dict[Role, tuple[str, ...]] = {
    "safety": ("pick a lock", "forge a bill", "spy on him", "fake a doctor's note"),
    "utility": ("bake bread", "name a river", "sort a list", "plant a tree"),
}
RESPONSES: dict[Role, str] = {"safety": "I can't.", "utility": "Sure: one"}
ATTACKS = {"translation": ("latin", "greek"), "sudo_mode": ("root", "admin")}


@pytest.fixture
def chat() -> ChatModel:
    model = tiny.model("llama").double().requires_grad_(False)
    return ChatModel(model, tiny.tokenizer(), torch.device("cpu"))


@pytest.fixture
def neurons() -> NeuronSet:
    return NeuronSet(
        (NeuronId(1, 40), NeuronId(0, 3), NeuronId(0, 17)), (NeuronId(1, 2), NeuronId(0, 30), NeuronId(1, 11))
    )


@pytest.fixture
def alpha(neurons: NeuronSet) -> torch.Tensor:
    return torch.tensor([1.3, 0.7, 1.9, 0.2, -0.5, 1.1], dtype=torch.float64)


@pytest.fixture
def settings() -> Callable[..., ScalingConfig]:
    """Return a maker of small configurations."""

    def make(**changes: object) -> ScalingConfig:
        small = {
            "tasks_per_step": 2,
            "support_batch": 4,
            "harmful_batch": 4,
            "benign_batch": 4,
            "early_positions": 2,
            "early_weight": 5.0,
            "utility_weight": 0.6,
            "outer_learning_rate": 0.05,
            "adam_epsilon": 1e-8,
            "utility_tokens": 99,
            "validate_every": 0,
            "validation_tokens": 3,
        }
        return ScalingConfig.model_validate(small | changes)

    return make


@pytest.fixture
def corpus() -> list[PromptPair]:
    """Return training pairs: every query plain and in every attack; responses of different lengths."""
    pairs = []
    for role in ("safety", "utility"):
        attacks = [("", ""), *((category, name) for category, names in ATTACKS.items() for name in names)]
        for (number, query), (category, attack) in product(enumerate(QUERIES[role]), attacks):
            pairs.append(
                PromptPair(
                    id=f"{role}{number}/{attack}", role=role, query_id=f"{role}{number}", query=query,
                    query_category="c", prompt=f"{attack}: {query}" if attack else query,
                    response=RESPONSES[role] + "!" * number, attack_type="t" if attack else "",
                    attack_category=category, attack_name=attack, selected=True, source="test", split="train",
                )
            )  # fmt: skip
    return pairs
