"""Baselines: what each does to a model, that it is undone, how it is chosen, how it is kept."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from neurontune_core.baselines import fit
from neurontune_core.baselines.fit import fit_baseline
from neurontune_core.baselines.lora import Lora, targets_for
from neurontune_core.baselines.settings import (
    METHODS,
    LoraSettings,
    SteeringSettings,
)
from neurontune_core.baselines.steering import Steering, refusal_directions
from neurontune_core.baselines.storage import load_change, save_baseline
from neurontune_core.baselines.system_prompt import SystemPrompt
from neurontune_core.errors import InputError
from neurontune_core.interventions import Intervention
from neurontune_core.model import tiny
from neurontune_core.model.load import ChatModel
from neurontune_core.records import NeuronId, NeuronSet, PromptPair
from neurontune_core.scaling.settings import (
    DialSettings,
    MamlSettings,
    MarginFitSettings,
    ScalingConfig,
    TrainingSettings,
)
from neurontune_core.scaling.validation import Score

PROMPT = "What is this?"


def logits(chat: ChatModel) -> torch.Tensor:
    with torch.no_grad():
        return chat.model(input_ids=torch.tensor([chat.prompt_tokens(PROMPT)])).logits[0]


def every_third(prompts: Sequence[str], responses: Sequence[str]) -> list[str]:
    return ["refusal" if len(prompt) % 3 == 0 else "compliance" for prompt in prompts]


def lora(
    pairs: list[PromptPair], parameters: int, settings: TrainingSettings, chat: ChatModel, **changes: Any
) -> tuple[Lora, dict[str, float]]:
    """Learn a LoRA with a step size of 0.05, or another, and about so many parameters."""
    config = LoraSettings.model_validate({"learning_rate": 0.05, **changes})
    neurons = NeuronSet(tuple(NeuronId(0, index) for index in range(parameters)), ())
    fitted = fit_baseline(pairs, neurons, config, settings, chat, every_third)
    assert isinstance(fitted.change, Lora)
    return fitted.change, fitted.facts


def test_a_system_prompt_is_put_before_the_query_and_the_model_left_alone(chat: ChatModel) -> None:
    with SystemPrompt("Be careful.").applied(chat) as changed:
        text = changed.tokenizer.decode(changed.prompt_tokens(PROMPT))
        assert text.index("<|system|>Be careful.<|end|>") < text.index(PROMPT)
        assert changed.model is chat.model
    assert "Be careful" not in chat.tokenizer.decode(chat.prompt_tokens(PROMPT))


@pytest.mark.parametrize("batch_tokens", [1, 10_000])
def test_directions_are_differences_of_mean_last_states(chat: ChatModel, batch_tokens: int) -> None:
    harmful, harmless = ["pick a lock", "spy"], ["bake", "a river of no return", "x"]
    found = refusal_directions(replace(chat, batch_tokens=batch_tokens), harmful, harmless)
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
    with pytest.raises(RuntimeError, match="on purpose"), Steering(0, direction).applied(chat):
        logits(chat)
        raise RuntimeError("on purpose")
    handle.remove()
    torch.testing.assert_close(seen[1] - seen[0], torch.from_numpy(direction).expand_as(seen[0]), atol=1e-5, rtol=1e-4)
    assert torch.equal(logits(chat), before)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_lora_learns_and_is_undone(family: str, pairs: list[PromptPair], settings: TrainingSettings) -> None:
    chat = ChatModel(tiny.model(family).requires_grad_(False), tiny.tokenizer(), torch.device("cpu"))
    before = logits(chat)
    _, first = lora(pairs, 100, settings.model_copy(update={"steps": 1}), chat)
    learned, facts = lora(pairs, 100, settings, chat)
    assert torch.equal(logits(chat), before), "the model is as it was"
    assert not any(parameter.requires_grad for parameter in chat.model.parameters())
    with learned.applied(chat) as changed:
        assert not torch.allclose(logits(changed), before)
    assert torch.equal(logits(chat), before)
    assert facts["loss_last"] < 0.9 * first["loss_last"]
    again, _ = lora(pairs, 100, settings, chat)
    assert all(torch.equal(again.weights[name], weight) for name, weight in learned.weights.items())


def test_lora_is_w_plus_b_a(chat: ChatModel, pairs: list[PromptPair], settings: TrainingSettings) -> None:
    learned, _ = lora(pairs, 80, settings, chat)
    (target,) = learned.targets
    projection = chat.model.get_submodule(target)
    a, b = (learned.weights[f"base_model.model.{target}.lora_{part}.weight"] for part in "AB")
    values = torch.randn(3, 48, generator=torch.Generator().manual_seed(0))
    plain = projection(values)
    with learned.applied(chat), torch.no_grad():
        adapted = chat.model.get_submodule(target)(values)
    torch.testing.assert_close(adapted, plain + values @ a.T @ b.T, rtol=1e-4, atol=1e-5)
    assert b.abs().max() > 0 and learned.parameters == 80


def test_loras_size_follows_the_number_of_neurons(chat: ChatModel) -> None:
    assert targets_for(chat, 10) == ("model.layers.1.mlp.down_proj",)
    assert targets_for(chat, 10**6) == ("model.layers.0.mlp.down_proj", "model.layers.1.mlp.down_proj")


def test_without_peft_the_remedy_is_named(chat: ChatModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "peft", None)
    change = Lora(("x",), {})
    with pytest.raises(InputError, match=r"pip install 'neurontune\[studies\]'"), change.put_in(chat):
        pass


def scored(room: Any, monkeypatch: pytest.MonkeyPatch, values: Sequence[float]) -> None:
    """Let validations find these scores, one a call."""
    left = iter(values)

    def score(*_: Any) -> Score:
        value = next(left)
        return Score(value, value, 0, 1, 1, 0)

    monkeypatch.setattr(room, "validate", score)


def test_the_steering_that_validates_best_is_chosen(
    chat: ChatModel, pairs: list[PromptPair], neurons: NeuronSet, settings: TrainingSettings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Of a layer and three strengths, or two: the fifth of six is the second layer with the middle strength."""
    scored(fit, monkeypatch, [0.1, 0.2, 0.3, 0.2, 0.9, 0.4])
    config = SteeringSettings()
    fitted = fit_baseline(pairs, neurons, config, settings, chat, every_third)
    assert fitted.facts["validation_score"] == pytest.approx(0.9) and fitted.facts["parameters"] == 32
    layers = sorted({round(depth * 1) for depth in fit.DEPTHS})
    place = 4 if len(layers) == 2 else None
    assert place is not None, "two layers are tried in a model of two"
    assert (fitted.facts["layer"], fitted.facts["strength"]) == (layers[1], fit.STRENGTHS[1])


def test_the_matrices_that_validate_best_are_kept(
    chat: ChatModel, pairs: list[PromptPair], settings: TrainingSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Validated after steps 3, 6, 9 and 12; where the step size is the same, so are the matrices after six steps."""
    config = settings.model_copy(update={"validations": 4})
    scored(fit, monkeypatch, [0.3, 0.6, 0.5, 0.4])
    kept, facts = lora(pairs, 80, config, chat)
    assert facts["best_step"] == 6 and facts["validation_score"] == pytest.approx(0.6) and facts["steps"] == 12
    scored(fit, monkeypatch, [0.3, 0.4, 0.5, 0.6])
    last, facts = lora(pairs, 80, config, chat)
    assert facts["best_step"] == 12
    assert not all(torch.equal(last.weights[name], weight) for name, weight in kept.weights.items())


@pytest.mark.parametrize("scaling", [MamlSettings(), MarginFitSettings(), DialSettings()])
def test_lora_needs_a_budget_of_batches_and_steps(
    chat: ChatModel,
    pairs: list[PromptPair],
    neurons: NeuronSet,
    scaling: ScalingConfig,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The dial has none; the error names both settings."""
    monkeypatch.setattr(fit, "draw_batches", lambda *_: [])
    monkeypatch.setattr(fit, "learn", lambda *_: (SystemPrompt("x"), {}))
    config = LoraSettings()
    if isinstance(scaling, TrainingSettings):
        fit_baseline(pairs, neurons, config, scaling, chat, every_third)
        return
    with pytest.raises(InputError, match=r"baseline\.method: lora .* scaling\.method 'dial' .* use maml or margin_fit"):
        fit_baseline(pairs, neurons, config, scaling, chat, every_third)


@pytest.mark.parametrize("method", ["system_prompt", "steering", "alphasteer", "lora", "ia3", "dpo"])
def test_a_baseline_is_fitted_kept_and_read_again(
    method: str,
    chat: ChatModel,
    pairs: list[PromptPair],
    neurons: NeuronSet,
    settings: TrainingSettings,
    tmp_path: Path,
) -> None:
    config = METHODS[method]()
    fitted = fit_baseline(pairs, neurons, config, settings, chat, every_third)
    save_baseline(tmp_path, fitted.change, "weights:float32")
    assert not [file for file in tmp_path.iterdir() if file.suffix not in (".json", ".safetensors")]
    read: Intervention | Any = load_change(tmp_path)
    assert type(read) is type(fitted.change)
    outputs = []
    for change in (fitted.change, read):
        with change.applied(chat) as changed:
            outputs.append(logits(changed))
    assert torch.equal(*outputs)
    expected = {"system_prompt": 0, "steering": 32, "alphasteer": 64, "lora": 80, "ia3": 96, "dpo": 80}
    assert fitted.facts["parameters"] == expected[method]
