"""Tiny random models of few positions."""

import torch
from transformers import AutoModelForCausalLM

from neurontune_core.model import tiny
from neurontune_core.model.load import ChatModel


def short_chat(family: str, positions: int | None) -> ChatModel:
    """Return a random chat model whose configuration declares so many positions, which never ends a turn."""
    config = tiny.configuration(family)
    config.max_position_embeddings = positions
    config.eos_token_id = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config).eval().requires_grad_(False)
    return ChatModel(model, tiny.tokenizer(), torch.device("cpu"))
