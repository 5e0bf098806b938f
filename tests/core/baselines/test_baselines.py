"""Baselines: what each does to a model, that it is undone, how it is chosen, how it is kept."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from neurontune_core.baselines import fixed_factors, lora
from neurontune_core.baselines.fit import fit_baseline
from neurontune_core.baselines.lora import learn_lora, targets_for
from neurontune_core.baselines.steering import Steering, refusal_directions
from neurontune_core.baselines.storage import load_change, save_baseline
from neurontune_core.baselines.system_prompt import SystemPrompt
from neurontune_core.config import BaselineConfig, ScalingConfig
from neurontune_core.errors import InputError
from neurontune_core.interventions import Intervention, applied
from neurontune_core.model import tiny
from neurontune_core.model.load import ChatModel
from neurontune_core.records import NeuronSet, PromptPair, ScalingFactors

PROMPT = "What is this?"


def logits(chat: ChatModel) -> torch.Tensor:
    with torch.no_grad():
        return chat.model(input_ids=torch.tensor([chat.prompt_tokens(PROMPT)])).logits[0]


def every_third(prompts: Sequence[str], responses: Sequence[str]) -> list[bool]:
    return [len(prompt) % 3 == 0 for prompt in prompts]


def test_a_system_prompt_is_put_before_the_query_and_the_model_left_alone(chat: ChatModel) -> None:
    with applied(SystemPrompt("Be careful."), chat) as changed:
        text = changed.tokenizer.decode(changed.prompt_tokens(PROMPT))
        assert text.index("<|system|>Be careful.<|end|>") < text.index(PROMPT)
        assert changed.model is chat.model
    assert "Be careful" not in chat.tokenizer.decode(chat.prompt_tokens(PROMPT))


@pytest.mark.parametrize("batch_tokens", [1, 10_000])
def test_directions_are_differences_of_mean_last_states(chat: ChatModel, batch_tokens: int) -> None:
    harmful, harmless = ["pick a lock", "spy"], ["bake", "a river of no return", "x"]
    found = refusal_directions(chat, harmful, harmless, batch_tokens)
    means = []
    for prompts in (harmful, harmless):
        states = []
        for prompt in prompts:
            kept: list[torch.Tensor] = []
            hooks = [
                layer.register_forward_hook(lambda _, __, output, kept=kept: kept.append(output[0, -1]))
                for layer in chat.model.model.layers
            ]
            logits_of = torch.tensor([chat.prompt_tokens(prompt)])
            with torch.no_grad():
                chat.model(input_ids=logits_of)
            for hook in hooks:
                hook.remove()
            states.append(torch.stack(kept))
        means.append(torch.stack(states).mean(0))
    np.testing.assert_allclose(found, (means[0] - means[1]).numpy(), atol=1e-5)


def test_steering_adds_its_direction_and_is_undone_after_an_error(chat: ChatModel) -> None:
    direction = np.linspace(-1, 1, 32, dtype=np.float32)
    seen: list[torch.Tensor] = []
    before = logits(chat)
    handle = chat.model.model.layers[1].register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    logits(chat)
    with pytest.raises(RuntimeError, match="on purpose"), applied(Steering(0, direction), chat):
        logits(chat)
        raise RuntimeError("on purpose")
    handle.remove()
    torch.testing.assert_close(seen[1] - seen[0], torch.from_numpy(direction).expand_as(seen[0]), atol=1e-5, rtol=1e-4)
    assert torch.equal(logits(chat), before)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_lora_learns_and_is_undone(family: str, pairs: list[PromptPair], settings: ScalingConfig) -> None:
    chat = ChatModel(tiny.model(family).requires_grad_(False), tiny.tokenizer(), torch.device("cpu"))
    before = logits(chat)
    unvalidated = settings.model_copy(update={"validate_every": 0})
    _, first = learn_lora(pairs, 100, unvalidated.model_copy(update={"steps": 1}), 0.05, chat, 4096)
    learned, facts = learn_lora(pairs, 100, unvalidated, 0.05, chat, 4096)
    assert torch.equal(logits(chat), before), "the model is as it was"
    assert not any(parameter.requires_grad for parameter in chat.model.parameters())
    with applied(learned, chat) as changed:
        assert not torch.allclose(logits(changed), before)
    assert torch.equal(logits(chat), before)
    assert facts["loss_last"] < 0.9 * first["loss_last"]
    again, _ = learn_lora(pairs, 100, unvalidated, 0.05, chat, 4096)
    assert all(torch.equal(again.weights[name], weight) for name, weight in learned.weights.items())


def test_lora_is_w_plus_b_a(chat: ChatModel, pairs: list[PromptPair], settings: ScalingConfig) -> None:
    learned, _ = learn_lora(pairs, 80, settings, 0.05, chat, 4096, refuses=every_third)
    (target,) = learned.targets
    projection = chat.model.get_submodule(target)
    a, b = (learned.weights[f"base_model.model.{target}.lora_{part}.weight"] for part in "AB")
    values = torch.randn(3, 48, generator=torch.Generator().manual_seed(0))
    plain = projection(values)
    with applied(learned, chat), torch.no_grad():
        adapted = chat.model.get_submodule(target)(values)
    torch.testing.assert_close(adapted, plain + values @ a.T @ b.T, rtol=1e-4, atol=1e-5)
    assert b.abs().max() > 0 and learned.parameters == 80


def test_loras_size_follows_the_number_of_neurons(chat: ChatModel) -> None:
    assert targets_for(chat, 10) == ("model.layers.1.mlp.down_proj",)
    assert targets_for(chat, 10**6) == ("model.layers.0.mlp.down_proj", "model.layers.1.mlp.down_proj")


def test_without_peft_the_remedy_is_named(chat: ChatModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "peft", None)
    with pytest.raises(InputError, match=r"pip install 'neurontune\[studies\]'"), lora.adapted(chat, ["x"]):
        pass


def test_the_factors_that_validate_best_are_chosen(
    chat: ChatModel, pairs: list[PromptPair], neurons: NeuronSet, settings: ScalingConfig
) -> None:
    calls: list[int] = []

    def refuses(prompts: Sequence[str], responses: Sequence[str]) -> list[bool]:
        calls.append(1)
        right = [any(query in prompt for query in ("pick a lock", "fake a doctor's note")) for prompt in prompts]
        return right if len(calls) == 4 else [True] * len(prompts)

    change, facts = fixed_factors.choose_factors(pairs, neurons, settings, chat, 4096, refuses)
    assert len(calls) == len(fixed_factors.SAFETY) * len(fixed_factors.UTILITY)
    # the fourth of safety x utility: the second safety factor, the second utility factor
    assert facts == {"safety_factor": 1.5, "utility_factor": 0.9, "validation_su_f1": 1.0}
    assert set(change.alpha[:80]) == {np.float32(1.5)} and set(change.alpha[80:]) == {np.float32(0.9)}


@pytest.mark.parametrize("method", ["fixed_factors", "system_prompt", "steering", "lora"])
def test_a_baseline_is_fitted_kept_and_read_again(
    method: str, chat: ChatModel, pairs: list[PromptPair], neurons: NeuronSet, settings: ScalingConfig, tmp_path: Path
) -> None:
    config = BaselineConfig.model_validate({"method": method})
    fitted = fit_baseline(pairs, neurons, config, settings, chat, 4096, every_third)
    save_baseline(tmp_path, fitted.change, "weights:float32")
    assert not [file for file in tmp_path.iterdir() if file.suffix not in (".json", ".safetensors")]
    read: ScalingFactors | Intervention | Any = load_change(tmp_path)
    assert type(read) is type(fitted.change)
    outputs = []
    for change in (fitted.change, read):
        with applied(change, chat) as changed:
            outputs.append(logits(changed))
    assert torch.equal(*outputs)
    expected = {"fixed_factors": 96, "system_prompt": 0, "steering": 32, "lora": 80}
    assert fitted.facts["parameters"] == expected[method]
