"""A tiny chat model and a corpus with a validation split."""

from dataclasses import replace

import pytest
import torch

from neurontune_core.config import ScalingConfig
from neurontune_core.model import tiny
from neurontune_core.model.load import ChatModel
from neurontune_core.records import NeuronId, NeuronSet, PromptPair
from tests.core.scaling.conftest import corpus  # noqa: F401


@pytest.fixture
def chat() -> ChatModel:
    return ChatModel(tiny.model("llama").requires_grad_(False), tiny.tokenizer(), torch.device("cpu"))


@pytest.fixture
def neurons() -> NeuronSet:
    return NeuronSet(
        tuple(NeuronId(layer, index) for layer in (0, 1) for index in range(40)),
        tuple(NeuronId(layer, index) for layer in (0, 1) for index in range(40, 48)),
    )


@pytest.fixture
def pairs(corpus: list[PromptPair]) -> list[PromptPair]:  # noqa: F811
    held = ("safety0", "safety3", "utility0", "utility3")
    return [replace(pair, split="validation") if pair.query_id in held else pair for pair in corpus]


@pytest.fixture
def settings() -> ScalingConfig:
    return ScalingConfig(
        steps=12, support_batch=2, harmful_batch=4, benign_batch=4, utility_weight=0.1, utility_tokens=4,
        validate_every=6, validation_prompts=4, validation_tokens=3,
    )  # fmt: skip
