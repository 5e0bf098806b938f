"""Tiny chat models, and pairs whose plain prompts differ in length."""

from typing import Any

import torch

from neurontune_core.model import tiny
from neurontune_core.model.load import ChatModel
from neurontune_core.records import PromptPair, Role, Split

DENSE = tiny.DENSE


def chat_of(family: str) -> ChatModel:
    model: Any = tiny.model(family)
    return ChatModel(model.requires_grad_(False), tiny.tokenizer(), torch.device("cpu"))


def pair(name: str, role: Role, split: Split = "train", attack: str = "", prompt: str | None = None) -> PromptPair:
    text = f"What about {name}?" if prompt is None else prompt
    return PromptPair(
        id=f"{name}/{attack}", role=role, query_id=name, query=text, query_category="c",
        prompt=f"{attack}: {text}" if attack else text, response="", attack_type="", attack_category=attack,
        attack_name=attack, selected=False, source="test", split=split,
    )  # fmt: skip


def all_pairs() -> list[PromptPair]:
    """Per role and split three queries of different lengths, plain and in an attack."""
    return [
        pair(f"{role}-{split}-{'long ' * number}{number}", role, split, attack)
        for role in ("safety", "utility")
        for split in ("train", "validation", "test")
        for number in range(3)
        for attack in ("", "sudo_mode")
    ]
