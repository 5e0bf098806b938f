"""Other engines are asked for as many tokens of the same prompts; vLLM is replaced by a stand-in."""

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import AutoConfig

from neurontune_core.model import tiny
from neurontune_core.model.load import ChatModel

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import generation_rivals

PROMPTS = [[5, 9, 7], [80, 81, 82, 83, 84]]


@pytest.fixture
def chat() -> ChatModel:
    return ChatModel(tiny.model("llama").requires_grad_(False), tiny.tokenizer(), torch.device("cpu"))


def test_every_answer_has_all_tokens(chat: ChatModel, monkeypatch: pytest.MonkeyPatch) -> None:
    shapes, own = [], chat.model.generate

    def noted(**settings: Any) -> torch.Tensor:
        shapes.append(tuple((made := own(**settings)).shape))
        return made

    monkeypatch.setattr(chat.model, "generate", noted)
    monkeypatch.setattr(generation_rivals, "timed", lambda run, device: (run(), 2.0))
    assert generation_rivals.transformers_rate(chat, PROMPTS, 6) == 2 * 6 / 2.0
    assert shapes == [(2, 5 + 6)] * 2
    assert generation_rivals.own_rate(chat, PROMPTS, 6) == 2 * 6 / 2.0


def test_vllm_is_asked_for_the_same(chat: ChatModel, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    class StandIn:
        def __init__(self, model: str, **settings: Any) -> None:
            asked.append(
                (AutoConfig.from_pretrained(model).hidden_size, settings["load_format"], settings["max_model_len"])
            )

        def generate(self, prompts: list[Any], sampling: dict[str, Any], use_tqdm: bool) -> None:
            asked.append(
                ([each["prompt_token_ids"] for each in prompts], sampling["max_tokens"], sampling["ignore_eos"])
            )

    library: Any = ModuleType("vllm")
    library.LLM, library.SamplingParams = StandIn, dict
    monkeypatch.setattr(generation_rivals, "find_spec", lambda name: None)
    assert generation_rivals.vllm_rate(chat, PROMPTS, 6) is None
    monkeypatch.setitem(sys.modules, "vllm", library)
    monkeypatch.setattr(generation_rivals, "find_spec", lambda name: SimpleNamespace())
    monkeypatch.setattr(generation_rivals, "timed", lambda run, device: (run(), 2.0))
    assert generation_rivals.vllm_rate(chat, PROMPTS, 6) == 2 * 6 / 2.0
    assert asked == [(32, "dummy", 11), *[(PROMPTS, 6, True)] * 2]
