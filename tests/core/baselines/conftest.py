"""A tiny chat model and a corpus with a validation split."""

import pytest
import torch

from neurontune_core.model import tiny
from neurontune_core.model.load import ChatModel
from neurontune_core.records import NeuronId, NeuronSet, PromptPair
from neurontune_core.scaling.settings import MarginFitSettings, TrainingSettings
from tests.core.scaling.conftest import corpus, validated  # noqa: F401


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
def pairs(validated: list[PromptPair]) -> list[PromptPair]:  # noqa: F811
    return validated


@pytest.fixture
def settings() -> TrainingSettings:
    return MarginFitSettings(
        steps=12, harmful_batch=4, harmless_batch=4, attacked_share=0.5, query_attacks=1, utility_weight=0.1,
        response_tokens=4, validations=2, validation_prompts=4, validation_tokens=3,
    )  # fmt: skip
