"""A tiny chat model in float64, neurons of both its layers, and a small corpus."""

from collections.abc import Callable
from dataclasses import replace
from itertools import product

import pytest
import torch

from neurontune_core.model import tiny
from neurontune_core.model.load import ChatModel
from neurontune_core.records import NeuronId, NeuronSet, PromptPair, Role
from neurontune_core.scaling.problem import Problem
from neurontune_core.scaling.settings import DialSettings, MamlSettings, MarginFitSettings

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


SMALL = {
    "harmful_batch": 4,
    "harmless_batch": 4,
    "attacked_share": 0.5,
    "query_attacks": 1,
    "utility_weight": 0.6,
    "response_tokens": 99,
    "validations": 0,
    "validation_prompts": 4,
    "validation_tokens": 3,
}
"""Settings of small batches, for every method that has batches."""


@pytest.fixture
def maml() -> Callable[..., MamlSettings]:
    """Return a maker of small settings of meta-learning."""
    own = {
        "tasks_per_step": 2,
        "support_batch": 4,
        "inner_steps": 1,
        "early_positions": 2,
        "early_weight": 5.0,
        "outer_learning_rate": 0.05,
    }
    return lambda **changes: MamlSettings.model_validate(SMALL | own | changes)


@pytest.fixture
def margin_fit() -> Callable[..., MarginFitSettings]:
    """Return a maker of small settings of the fit to margins."""
    own = {"opening_tokens": 3, "refusal_openings": ("I can't", "Sorry"), "finished_every": 2}
    return lambda **changes: MarginFitSettings.model_validate(SMALL | own | changes)


@pytest.fixture
def dial() -> Callable[..., DialSettings]:
    """Return a maker of small settings of the dial."""
    own = {"validation_prompts": 4, "validation_tokens": 3}
    return lambda **changes: DialSettings.model_validate(own | changes)


@pytest.fixture
def problem(chat: ChatModel, neurons: NeuronSet, corpus: list[PromptPair]) -> Problem:
    return Problem(chat, neurons, corpus, openings=("I can't", "Sorry"))


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


@pytest.fixture
def validated(corpus: list[PromptPair]) -> list[PromptPair]:
    """Return the corpus with a validation split: its first and last query of each role."""
    held = ("safety0", "safety3", "utility0", "utility3")
    return [replace(pair, split="validation") if pair.query_id in held else pair for pair in corpus]
