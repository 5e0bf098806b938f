"""Answers by vLLM: a stand-in with its interface reads the folded folder and answers as the hooked model does."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from neurontune_core.config import PipelineConfig, load_config
from neurontune_core.errors import InputError
from neurontune_core.evaluation import answers, vllm_engine
from neurontune_core.model import tiny
from neurontune_core.model.load import ChatModel
from neurontune_core.records import NeuronId, NeuronSet, PromptPair, ScalingFactors

NEURONS = NeuronSet(*(tuple(NeuronId(layer, place) for place in range(40)) for layer in range(2)))
FACTORS = ScalingFactors(NEURONS, torch.tensor([1.9, 0.0, 0.2, 2.0]).repeat(20).numpy())


class StandIn:
    """What is used of `vllm.LLM`: greedy answers to token ids by a model folder, the ending token among them."""

    made: list[dict[str, Any]] = []  # noqa: RUF012

    def __init__(self, model: str, **settings: Any) -> None:
        StandIn.made.append(settings | {"model": model})
        assert settings["skip_tokenizer_init"] and settings["generation_config"] == "vllm"
        self.longest = settings["max_model_len"]
        self.model = AutoModelForCausalLM.from_pretrained(model, dtype=getattr(torch, settings["dtype"])).eval()

    def generate(self, prompts: list[dict[str, list[int]]], sampling: SimpleNamespace, use_tqdm: bool) -> list[Any]:
        assert sampling.temperature == 0.0 and not use_tqdm
        return [SimpleNamespace(outputs=[SimpleNamespace(token_ids=self._one(each, sampling))]) for each in prompts]

    @torch.inference_mode()
    def _one(self, prompt: dict[str, list[int]], sampling: SimpleNamespace) -> tuple[int, ...]:
        ids, given = list(prompt["prompt_token_ids"]), len(prompt["prompt_token_ids"])
        assert given + sampling.max_tokens <= self.longest < 1000, "no room is kept for all positions of a model"
        while len(ids) - given < sampling.max_tokens:
            ids.append(int(self.model(torch.tensor([ids])).logits[0, -1].argmax()))
            if ids[-1] in sampling.stop_token_ids:
                break
        return tuple(ids[given:])


@pytest.fixture
def vllm(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, Any]]]:
    module = ModuleType("vllm")
    module.LLM, module.SamplingParams = StandIn, SimpleNamespace  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "vllm", module)
    monkeypatch.setattr(vllm_engine, "find_spec", lambda name: object())
    StandIn.made.clear()
    yield StandIn.made


def pairs() -> list[PromptPair]:
    return [
        PromptPair(
            id=f"{role}{number}", role=role, query_id=f"q{number}", query=f"How do I cook {number}?",
            query_category="c", prompt=f"How do I cook {number}?", response="", attack_type="", attack_category="",
            attack_name="", selected=False, source="s", split="test",
        )
        for role in ("safety", "utility") for number in range(3)
    ]  # fmt: skip


def configured(*settings: str) -> PipelineConfig:
    return load_config("tiny", ["evaluation.engine=vllm", *settings])


@pytest.mark.parametrize("family", ["llama", "gpt2", "qwen3_moe"])
def test_the_same_answers_as_by_the_hooked_model(
    vllm: list[dict[str, Any]], tiny_chat: Callable[..., ChatModel], tmp_path: Path, family: str
) -> None:
    chat = replace(tiny_chat(family), root=str(tmp_path))
    before = {name: value.clone() for name, value in chat.model.state_dict().items()}
    usual, fast = load_config("tiny").evaluation, configured().evaluation
    expected, _ = answers.base_answers(pairs(), usual, chat)
    found, _ = answers.base_answers(pairs(), fast, chat)
    assert found.equals(expected) and len(vllm) == 1
    tuned, moved = answers.tuned_answers(expected, FACTORS, usual, chat)
    quick, moved_too = answers.tuned_answers(found, FACTORS, fast, chat)
    assert quick.equals(tuned) and moved_too == moved and len(vllm) == 2
    assert not tuned["completion"].equals(expected["completion"])
    assert all(torch.equal(value, before[name]) for name, value in chat.model.state_dict().items())


def test_the_token_that_ends_a_turn_is_left_out(
    vllm: list[dict[str, Any]], tiny_chat: Callable[..., ChatModel], tmp_path: Path
) -> None:
    chat = replace(tiny_chat("llama"), root=str(tmp_path))
    prompts = [chat.prompt_tokens("Hello"), chat.prompt_tokens("What is a llama?")]
    first = vllm_engine.generate(chat, prompts, 6)
    ending = replace(tiny_chat("llama", ends=[first[0][3], 256]), root=str(tmp_path))
    cut = vllm_engine.generate(ending, prompts, 6)
    assert cut[0] == first[0][: first[0].index(first[0][3])]


@pytest.mark.parametrize("fails", [False, True])
def test_the_copy_of_the_weights_lies_under_the_root_for_as_long_as_it_is_needed(
    vllm: list[dict[str, Any]],
    tiny_chat: Callable[..., ChatModel],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fails: bool,
) -> None:
    chat = replace(tiny_chat("llama"), root=str(tmp_path))
    if fails:
        monkeypatch.delattr(StandIn, "generate")
        with pytest.raises(AttributeError):
            vllm_engine.generate(chat, [chat.prompt_tokens("Hello")], 2)
    else:
        vllm_engine.generate(chat, [chat.prompt_tokens("Hello")], 2)
    folder = Path(vllm[0]["model"])
    assert folder.parent == tmp_path / ".partial" and not folder.exists()
    assert not list(folder.parent.iterdir())


def test_answers_are_marked_and_keep_their_own_key(vllm: list[dict[str, Any]]) -> None:
    usual, fast = load_config("tiny").evaluation, configured().evaluation
    assert "engine" not in json.dumps(answers.answer_settings(usual))  # keys of earlier runs stay
    assert answers.answer_settings(fast) == answers.answer_settings(usual) | {"engine": "vllm"}
    assert (answers.engine_fact(fast), answers.engine_fact(usual)) == ({"by_vllm": 1.0}, {})


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (["baseline.method=lora"], r"^evaluation\.engine: 'vllm' needs factors.*baseline\.method is 'lora'"),
        (["model.quantization=int4"], r"^evaluation\.engine: 'vllm' needs unrounded.*model\.evaluate_full=true"),
    ],
)
def test_what_cannot_be_folded_is_told(vllm: list[dict[str, Any]], settings: list[str], told: str) -> None:
    with pytest.raises(InputError, match=told):
        vllm_engine.check_engine(configured(*settings))
    vllm_engine.check_engine(configured("model.quantization=int4", "model.evaluate_full=true"))


def pretend_cards(monkeypatch: pytest.MonkeyPatch, count: int, free: int = 80 << 30, reserved: int = 0) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, 2 * free))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: reserved)


@pytest.mark.parametrize("device", ["cuda:1", "cuda:0,cpu"])
def test_a_device_that_vllm_does_not_take_is_told(
    vllm: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    pretend_cards(monkeypatch, 2)
    with pytest.raises(InputError, match=r"^evaluation\.engine: 'vllm' uses only the first GPU.*CUDA_VISIBLE_DEVICES"):
        vllm_engine.check_engine(configured(f"runtime.device={device}"))
    for taken in ("cuda", "cuda:0", "cpu"):
        vllm_engine.check_engine(configured(f"runtime.device={taken}"))


@pytest.mark.parametrize("cards", [1, 2])
def test_auto_is_taken_where_there_is_one_gpu(
    vllm: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, cards: int
) -> None:
    pretend_cards(monkeypatch, cards)
    with pytest.raises(InputError, match="only the first GPU") if cards == 2 else nullcontext():
        vllm_engine.check_engine(configured("runtime.device=auto"))


@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_a_gpu_that_cannot_hold_the_model_twice_is_told_before_anything_is_computed(
    vllm: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    """Where `auto` offloads layers, factors cannot be folded; and where the model fits alone, its copy does not."""
    config = configured(f"runtime.device={device}", "model.name=random:qwen3_moe", "model.working_dtype=bfloat16")
    weights = 2 * sum(weight.numel() for weight in tiny.model("qwen3_moe").parameters())  # bfloat16
    enough = int(2 * weights / vllm_engine.SHARE_OF_FREE) + 2
    for free, reserved, refused in ((weights, 0, True), (enough - 9, 0, True), (enough, 0, False), (9, enough, False)):
        pretend_cards(monkeypatch, 1, free, reserved)
        told = r"^evaluation\.engine: 'vllm' needs the evaluated model and a copy of it .*set it to transformers"
        with pytest.raises(InputError, match=told) if refused else nullcontext():
            vllm_engine.check_engine(config)
    with pytest.raises(InputError, match="a copy of it"):  # the exact format is float32
        vllm_engine.check_engine(config, working=False)


def test_a_limit_that_would_offload_layers_is_told(vllm: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_cards(monkeypatch, 1)
    limit = "runtime.max_memory.cuda:0=0.0000001"
    with pytest.raises(InputError, match=r"^evaluation\.engine: .*whole evaluated model.*runtime\.max_memory allows"):
        vllm_engine.check_engine(configured("runtime.device=auto", limit))


def test_a_missing_library_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vllm_engine, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"^evaluation\.engine: 'vllm' is not installed; pip install"):
        vllm_engine.check_engine(configured())
    vllm_engine.check_engine(load_config("tiny"))
