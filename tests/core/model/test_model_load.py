"""Loading: frozen, in the right number format, and the same weights as were saved."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from neurontune_core import artifacts, neurons
from neurontune_core.errors import InputError
from neurontune_core.model import load as loading
from neurontune_core.model import tiny
from neurontune_core.model.devices import choose_devices
from neurontune_core.model.generate import decode, generate
from neurontune_core.model.load import ChatModel, load
from neurontune_core.model.settings import ModelConfig
from neurontune_core.model.source import conversion_key, describe

CPU = torch.device("cpu")
IDS = torch.tensor([[72, 101, 108, 108, 111]])


def test_a_random_model_is_the_same_every_time_and_frozen(tmp_path: Path) -> None:
    reference = describe(ModelConfig(name="random:llama", system_prompt="Be brief."))
    state = torch.get_rng_state()
    one, other = (load(reference, str(tmp_path), CPU) for _ in range(2))
    assert torch.equal(state, torch.get_rng_state())
    assert torch.equal(one.model(IDS).logits, other.model(IDS).logits)
    assert not one.model.training and not any(p.requires_grad for p in one.model.parameters())
    text = one.tokenizer.decode(one.prompt_tokens("Why?"))
    assert text == "<|system|>Be brief.<|end|><|user|>Why?<|end|><|assistant|>"


@pytest.mark.parametrize(("working", "expected"), [(False, torch.float16), (True, torch.bfloat16)])
def test_exact_and_working_number_format(tmp_path: Path, working: bool, expected: torch.dtype) -> None:
    reference = describe(ModelConfig(name="random:llama", dtype="float16", working_dtype="bfloat16"))
    chat = load(reference, str(tmp_path), CPU, working=working)
    assert {parameter.dtype for parameter in chat.model.parameters()} == {expected}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@torch.no_grad()
def test_a_folder_loads_what_was_saved(tmp_path: Path, dtype: Any) -> None:
    saved = tiny.model("qwen3", seed=5)
    saved.save_pretrained(tmp_path / "model")
    tiny.tokenizer().save_pretrained(tmp_path / "model")
    reference = describe(ModelConfig(name=str(tmp_path / "model"), dtype=dtype))
    chat = load(reference, str(tmp_path / "root"), CPU)
    weights = dict(saved.named_parameters())
    for name, loaded in chat.model.named_parameters():
        assert torch.equal(loaded, weights.pop(name).to(getattr(torch, dtype))) and not loaded.requires_grad
    assert not weights and not chat.model.training
    if dtype == "float32":
        assert torch.equal(chat.model(IDS).logits, saved(IDS).logits)
    assert chat.prompt_tokens("Why?") == ChatModel(saved, tiny.tokenizer(), CPU).prompt_tokens("Why?")


@pytest.mark.parametrize(
    ("own", "declared", "expected"),
    [
        ("<|end|>", None, [256]),
        ("<|end|>", 256, [256]),
        ("<|end|>", 7, [256, 7]),
        ("<|end|>", [7, 256, 9, 7], [256, 7, 9]),
        (None, [7, 9], [7, 9]),
    ],
)
def test_end_tokens_start_with_the_tokenizers_own(
    tiny_chat: Callable[..., ChatModel], own: str | None, declared: Any, expected: list[int]
) -> None:
    chat = tiny_chat()
    chat.tokenizer.eos_token = own
    chat.model.generation_config.eos_token_id = declared
    assert chat.end_tokens == expected


def test_a_model_without_an_end_token_is_refused(tiny_chat: Callable[..., ChatModel]) -> None:
    chat = tiny_chat()
    chat.tokenizer.eos_token = None
    chat.model.generation_config.eos_token_id = None
    with pytest.raises(InputError, match="eos_token"):
        chat.end_tokens  # noqa: B018


def test_devices_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert choose_devices("auto")[0] == choose_devices("cpu")[0] == CPU
    for name in ("cuda", "cuda:1", "mps", "gpu", "meta", "xpu", ""):
        with pytest.raises(InputError, match=rf"runtime\.device: '{name}' is not .*use auto"):
            choose_devices(name)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_devices("auto") == (torch.device("cuda:0"), CPU) and choose_devices("cuda") == (torch.device("cuda"),)
    assert choose_devices("cuda:0")[0] == torch.device("cuda:0")
    with pytest.raises(InputError, match=r"'cuda:1' is not available \(1 CUDA devices\)"):
        choose_devices("cuda:1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert choose_devices("auto")[0] == choose_devices("mps")[0] == torch.device("mps")


@pytest.mark.slow
def test_the_packaged_model_is_converted_once_and_can_chat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reference = describe(ModelConfig(dtype="float32", working_dtype="float32"))
    assert reference.neurons_per_layer == (1536,) * 30
    load(reference, str(tmp_path), CPU)
    monkeypatch.setattr(loading, "convert_to_folder", None)  # a second conversion would call it
    chat = load(reference, str(tmp_path), CPU)
    assert artifacts.find(str(tmp_path), "model", conversion_key(reference.weights)) is not None
    assert chat.tokenizer.convert_ids_to_tokens(chat.end_tokens[:1]) == ["<|im_end|>"]
    prompt = chat.prompt_tokens("What is the capital of France? Answer in one short sentence.")
    assert "Paris" in decode(chat, generate(chat, [prompt], 16))[0]


def test_layers_without_neurons_are_left_out_only_if_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("neurontune_core.neurons.find.is_routed", lambda module: False)  # experts of an unknown kind
    shape = tiny.configuration("deepseek_v2")
    AutoModelForCausalLM.from_config(shape).save_pretrained(tmp_path / "model")
    tiny.tokenizer().save_pretrained(tmp_path / "model")
    with pytest.raises(InputError, match=r"1 of 2 layers.*layer 1: mixture of experts.*model.skip_uncovered_layers"):
        describe(ModelConfig(name=str(tmp_path / "model")))
    reference = describe(ModelConfig(name=str(tmp_path / "model"), skip_uncovered_layers=True))
    assert reference.neurons_per_layer == (48, 0)
    assert reference.identity.endswith(":covered layers")
    assert neurons.neuron_counts(load(reference, str(tmp_path / "root"), CPU).model) == [48, 0]
    shape.first_k_dense_replace = 0
    AutoModelForCausalLM.from_config(shape).save_pretrained(tmp_path / "model")
    with pytest.raises(InputError, match="2 of 2 layers"):
        describe(ModelConfig(name=str(tmp_path / "model"), skip_uncovered_layers=True))
