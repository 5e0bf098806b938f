"""(IA)3, DPO and null-space steering by hand-computed oracles, the search over step sizes, and the same budget."""

import math
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from neurontune_core.baselines import fit
from neurontune_core.baselines.adapters import paths
from neurontune_core.baselines.dpo import Preferences, dpo_losses, left_out, preferences
from neurontune_core.baselines.fit import FittedBaseline, check_baseline, check_packages, fit_baseline
from neurontune_core.baselines.ia3 import Ia3
from neurontune_core.baselines.lora import Lora, targets_for
from neurontune_core.baselines.null_space import States, collect_states, harmful_direction, moved
from neurontune_core.baselines.settings import METHODS, AdapterSettings
from neurontune_core.baselines.steering import Steering
from neurontune_core.baselines.training import different_pairs, draw_batches
from neurontune_core.errors import InputError
from neurontune_core.model import tiny
from neurontune_core.model.likelihood import TokenSequence
from neurontune_core.model.load import ChatModel
from neurontune_core.neurons import captured, modulated
from neurontune_core.records import NeuronSet, PromptPair
from neurontune_core.robustness.attacks import silencing
from neurontune_core.scaling.settings import DialSettings, MamlSettings, MarginFitSettings, TrainingSettings
from neurontune_core.scaling.validation import Score, validated_steps
from tests.core.baselines.test_baselines import every_third, logits

SEARCHED = ["lora", "ia3", "dpo", "steering", "alphasteer"]


def complies(prompts: Sequence[str], responses: Sequence[str]) -> list[str]:
    return ["compliance"] * len(prompts)


def fitted(
    chat: ChatModel, pairs: list[PromptPair], neurons: NeuronSet, settings: Any, **config: Any
) -> FittedBaseline:
    return fit_baseline(pairs, neurons, METHODS[config["method"]].model_validate(config), settings, chat, every_third)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_ia3_multiplies_every_neuron_by_its_factor(
    family: str, pairs: list[PromptPair], neurons: NeuronSet, settings: TrainingSettings
) -> None:
    chat = ChatModel(tiny.model(family).requires_grad_(False), tiny.tokenizer(), torch.device("cpu"))
    before = logits(chat)
    made = fitted(chat, pairs, neurons, settings, method="ia3", learning_rate=0.1)
    assert isinstance(made.change, Ia3) and torch.equal(logits(chat), before)
    factors = list(made.change.weights.values())
    assert made.change.parameters == sum(factor.numel() for factor in factors) == 2 * factors[0].numel()
    assert all(bool((factor != 1).any()) for factor in factors), "every layer's factors are learned"
    with captured(chat.model) as plain:
        logits(chat)
    with made.change.applied(chat), captured(chat.model) as scaled:
        changed = logits(chat)
    torch.testing.assert_close(scaled[0], plain[0] * factors[0].flatten(), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(changed, before) and torch.equal(logits(chat), before)


def test_a_silenced_neuron_is_silent_under_ia3_and_half_of_it_is_half_the_way(
    chat: ChatModel, neurons: NeuronSet
) -> None:
    def factors(values: torch.Tensor) -> Ia3:
        return Ia3(targets, {f"base_model.model.{name}.ia3_l": values[None] for name in targets})

    targets = paths(chat)
    values = torch.linspace(0.5, 3, 48)
    half = factors(values).weakened(0.5)
    assert isinstance(half, Ia3)
    for found in half.weights.values():
        torch.testing.assert_close(found, (1 + 0.5 * (values - 1))[None])
    with factors(values).applied(chat), modulated(chat.model, silencing(neurons)):
        silenced = logits(chat)
    with factors(torch.where(torch.arange(48) < 40, 0.0, values)).applied(chat):
        torch.testing.assert_close(silenced, logits(chat))


def test_the_dpo_loss_by_hand() -> None:
    """The policy prefers by 3 nats and the base model by 1: at beta 0.5 the loss is log(1 + e^-1)."""
    found = dpo_losses(torch.tensor([3.0, -1.0, 2.0]), torch.tensor([1.0, 1.0, 2.0]), beta=0.5)
    expected = [math.log(1 + math.exp(-1)), math.log(1 + math.exp(1)), math.log(2)]
    torch.testing.assert_close(found, torch.tensor(expected))


def log_probability(chat: ChatModel, sequence: TokenSequence) -> float:
    with torch.no_grad():
        found = chat.model(input_ids=torch.tensor([sequence.tokens])).logits[0].double().log_softmax(-1)
    start = len(sequence.prompt) - 1
    return sum(float(found[start + place, token]) for place, token in enumerate(sequence.response))


@pytest.mark.parametrize("batch_tokens", [1, 10_000])
def test_the_loss_of_a_batch_is_that_of_whole_responses(
    batch_tokens: int, chat: ChatModel, pairs: list[PromptPair], settings: TrainingSettings
) -> None:
    """With the LoRA's B set to random numbers; every log-probability is computed anew, a text at a time."""
    batches = draw_batches(pairs, settings, every_third)
    objective = preferences(replace(chat, batch_tokens=batch_tokens), batches, complies, settings)
    change = Lora(targets_for(chat, 80), {})
    known = {
        name: log_probability(chat, each.chosen) - log_probability(chat, each.rejected)
        for name, each in objective.pairs.items()
    }
    for name, each in objective.pairs.items():
        assert each.reference == pytest.approx(known[name], abs=1e-3)
    with change.put_in(chat) as adapter:
        trained = [weight for weight in adapter.parameters() if weight.requires_grad]
        _, at_base = objective.gradients(trained, batches[0])
        assert at_base == pytest.approx(math.log(2), abs=1e-4)
        with torch.no_grad():
            for weight in trained:
                weight.copy_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)))
        gradients, loss = objective.gradients(trained, batches[0])
        mine = [(pair.id, objective.pairs[pair.id]) for pair in batches[0]]
        moved_by = [
            log_probability(chat, each.chosen) - log_probability(chat, each.rejected) - known[name]
            for name, each in mine
        ]
    assert loss == pytest.approx(sum(math.log(1 + math.exp(-0.1 * each)) for each in moved_by) / len(mine), abs=1e-3)
    assert len(gradients) == len(trained) and all(float(gradient.norm()) > 0 for gradient in gradients)


def test_harmful_prompts_are_to_be_refused_and_harmless_ones_answered(
    chat: ChatModel, pairs: list[PromptPair], settings: TrainingSettings
) -> None:
    batches = draw_batches(pairs, settings, every_third)
    found = preferences(chat, batches, complies, settings).pairs
    known = {pair.id: pair for pair in different_pairs(batches)}
    assert found.keys() == known.keys()
    for name, each in found.items():
        refusal, answer = (each.chosen, each.rejected) if known[name].role == "safety" else (each.rejected, each.chosen)
        assert refusal.prompt == answer.prompt == chat.prompt_tokens(known[name].conversation)
        assert chat.tokenizer.decode(refusal.response).startswith("I can't.")
        assert refusal.response[-1] == chat.end_tokens[0] and len(answer.response) <= settings.response_tokens
    harmful = [pair.prompt for pair in known.values() if pair.role == "safety"]
    first = harmful[0]
    refusing = preferences(
        chat, batches, lambda asked, _: ["refusal" if each == first else "broken" for each in asked], settings
    )
    assert {known[name].prompt for name in found.keys() - refusing.pairs.keys()} == {first}
    assert left_out(different_pairs(batches), refusing.pairs) == {"harmful_left_out": 1, "harmless_left_out": 0}
    with pytest.raises(InputError, match=rf"dpo needs harmful prompts .* refuses all {len(harmful)} .* use lora"):
        preferences(chat, batches, lambda asked, _: ["refusal"] * len(asked), settings)


def test_dpo_learns_to_prefer(
    chat: ChatModel, pairs: list[PromptPair], neurons: NeuronSet, settings: TrainingSettings
) -> None:
    made = fitted(chat, pairs, neurons, settings, method="dpo", learning_rate=0.05)
    assert made.facts["loss_last"] < 0.6 < math.log(2)
    assert made.facts["harmful_left_out"] + made.facts["harmless_left_out"] < made.facts["examples"]
    assert "harmful_left_out" not in fitted(chat, pairs, neurons, settings, method="lora").facts


def test_pairs_that_a_batch_lacks_have_no_gradient(chat: ChatModel) -> None:
    weight = torch.ones(3, requires_grad=True)
    (gradient,), loss = Preferences(replace(chat, batch_tokens=10), {}).gradients([weight], [])
    assert loss == 0 and torch.equal(gradient, torch.zeros(3))


def states(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Harmless states within the first 6 of 16 directions of a rotated space, harmful ones with a part outside."""
    generator = np.random.default_rng(seed)
    rotation, _ = np.linalg.qr(generator.normal(size=(16, 16)))
    harmless = generator.normal(size=(200, 6)) @ rotation[:6]
    harmful = generator.normal(size=(40, 6)) @ rotation[:6] + 3 * rotation[9] + 0.1 * generator.normal(size=(40, 16))
    return harmless, harmful


def test_harmless_states_stay_and_harmful_ones_move_by_the_direction() -> None:
    harmless, harmful = states()
    found = States(torch.from_numpy(harmless.T @ harmless), len(harmless), torch.from_numpy(harmful))
    w = harmful_direction(found)
    assert np.abs(harmless @ w).max() < 1e-5
    assert (harmful @ w).mean() == pytest.approx(1, abs=0.05) and (harmful @ w).std() < 0.1
    assert np.abs(harmless[::-1] @ w * 2 - harmless[0] @ w).max() < 1e-5, "nor do others of their space"
    facts = moved(found, w)
    assert facts["harmless_moved"] < 1e-5 and facts["harmful_moved"] == pytest.approx((harmful @ w).mean(), rel=1e-5)


def test_the_map_is_alphasteers_closed_form() -> None:
    """`Delta P = R H^T P (P H H^T P + a P)^+ P`, written out, is the direction times what is read."""
    harmless, harmful = states(1)
    harmless = harmless + 0.01 * np.random.default_rng(2).normal(size=harmless.shape) * np.arange(16)
    w = harmful_direction(States(torch.from_numpy(harmless.T @ harmless), len(harmless), torch.from_numpy(harmful)))
    _, vectors = np.linalg.eigh(harmless.T @ harmless)
    projection = vectors[:, :8] @ vectors[:, :8].T
    columns, direction = harmful.T, np.arange(16.0)
    a = 0.1 * np.trace(projection @ columns @ columns.T) / 8
    targets = np.tile(direction[:, None], len(harmful))
    inner = np.linalg.pinv(projection @ columns @ columns.T @ projection + a * projection, rcond=1e-10)
    expected = targets @ columns.T @ projection @ inner @ projection
    np.testing.assert_allclose(np.outer(direction, w), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("batch_tokens", [1, 10_000])
def test_states_are_those_of_the_model(batch_tokens: int, chat: ChatModel) -> None:
    harmful = [chat.prompt_tokens(text) for text in ("pick a lock", "spy")]
    harmless = [TokenSequence(chat.prompt_tokens("bake"), [5, 6]), TokenSequence(chat.prompt_tokens("a river"), [7])]
    found = collect_states(replace(chat, batch_tokens=batch_tokens), harmful, harmless, [1])[1]

    def of(tokens: list[int]) -> torch.Tensor:
        kept: list[torch.Tensor] = []
        handle = chat.model.model.layers[1].register_forward_hook(lambda _, __, output: kept.append(output[0]))
        with torch.no_grad():
            chat.model(input_ids=torch.tensor([tokens]))
        handle.remove()
        return kept[0].double()

    every = torch.cat([of(sequence.tokens) for sequence in harmless])
    torch.testing.assert_close(found.moment, every.T @ every, rtol=1e-4, atol=1e-4)
    assert found.count == len(every)
    expected = torch.stack([of(tokens)[-1] for tokens in harmful])
    torch.testing.assert_close(found.harmful.sort(0).values, expected.sort(0).values, rtol=1e-4, atol=1e-4)


def test_a_reading_says_how_far_each_state_is_moved(chat: ChatModel) -> None:
    direction, w = np.linspace(-1, 1, 32, dtype=np.float32), np.linspace(0, 0.1, 32, dtype=np.float32)
    seen: list[torch.Tensor] = []
    handle = chat.model.model.layers[1].register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    logits(chat)
    with Steering(0, direction, w).applied(chat):
        logits(chat)
    handle.remove()
    expected = (seen[0] @ torch.from_numpy(w))[..., None] * torch.from_numpy(direction)
    torch.testing.assert_close(seen[1] - seen[0], expected, atol=1e-5, rtol=1e-4)


def scored_by(monkeypatch: pytest.MonkeyPatch, score: Any) -> None:
    monkeypatch.setattr(fit, "validate", lambda *_: score())


@pytest.mark.parametrize("method", SEARCHED)
def test_a_search_begins_as_set_and_keeps_what_validates_best(
    method: str, chat: ChatModel, pairs: list[PromptPair], neurons: NeuronSet, settings: TrainingSettings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    few = settings.model_copy(update={"steps": 1, "validations": 1})
    values = iter([0.2, 0.1, 0.7, 0.3])
    scored_by(monkeypatch, lambda: Score(value := next(values), value, 0, 1, 1, 0))
    made = fitted(chat, pairs, neurons, few, method=method, trials=4)
    assert [row["validation_score"] for row in made.trials] == pytest.approx([0.2, 0.1, 0.7, 0.3])
    assert made.facts["validation_score"] == pytest.approx(0.7) and made.facts["trials"] == 4
    as_set = METHODS[method]()
    adapter = isinstance(as_set, AdapterSettings)
    name, first = ("learning_rate", as_set.learning_rate) if adapter else ("strength", 1.0)
    tried = [row[name] for row in made.trials]
    assert tried[0] == pytest.approx(first) and len(set(tried)) == 4
    assert made.facts[name] == made.trials[2][name]
    values = iter([0.2, 0.1, 0.7, 0.3])
    again = fitted(chat, pairs, neurons, few, method=method, trials=4)
    assert again.trials == made.trials, "the search is seeded"


def test_every_rival_learns_from_the_same_examples(
    chat: ChatModel, pairs: list[PromptPair], neurons: NeuronSet, settings: TrainingSettings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    scored_by(monkeypatch, lambda: Score(1, 1, 0, 1, 1, 0))
    counts = {fitted(chat, pairs, neurons, settings, method=method).facts["examples"] for method in SEARCHED}
    assert counts == {float(len(different_pairs(draw_batches(pairs, settings, every_third))))}


@pytest.mark.parametrize(
    ("budget", "prompts"),
    [(MarginFitSettings(steps=3, harmful_batch=2, harmless_batch=2), 4),
     (MamlSettings(steps=3, harmful_batch=2, harmless_batch=2, tasks_per_step=2, support_batch=2), 16)],
)  # fmt: skip
def test_a_step_has_as_many_prompts_as_one_of_the_factors(
    budget: TrainingSettings, prompts: int, pairs: list[PromptPair]
) -> None:
    batches = draw_batches(pairs, budget.model_copy(update={"attacked_share": 0.5, "query_attacks": 1}), complies)
    assert [len(batch) for batch in batches] == [prompts] * 3
    assert {pair.split for pair in different_pairs(batches)} == {"train"}


def test_rivals_learn_the_refusal_that_the_factors_learn(pairs: list[PromptPair], settings: TrainingSettings) -> None:
    own = [replace(pair, own_refusal="No way. Never." if pair.role == "safety" else "") for pair in pairs]
    for refusal, expected in (("own", {"No way."}), ("given", {"I can't.!", "I can't.!!"})):
        batches = draw_batches(own, settings.model_copy(update={"refusal": refusal}), complies)
        assert {pair.response for pair in different_pairs(batches) if pair.role == "safety"} == expected


def test_steering_looks_at_a_few_prompts_where_there_are_no_batches(pairs: list[PromptPair]) -> None:
    (batch,) = draw_batches(pairs, DialSettings(), complies)
    assert {pair.role for pair in batch} == {"safety", "utility"} and {pair.split for pair in batch} == {"train"}
    with pytest.raises(InputError, match="no safety prompt with a response"):
        draw_batches([pair for pair in pairs if pair.role == "utility"], DialSettings(), complies)


def test_validations_and_patience_are_those_of_the_factors(
    chat: ChatModel, pairs: list[PromptPair], neurons: NeuronSet, settings: TrainingSettings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Five validations of twelve steps: after 3, 5, 8, 10 and 12; two without a better one end it after the tenth."""
    budget = settings.model_copy(update={"validations": 5, "patience": 2})
    assert validated_steps(12, budget) == {3, 5, 8, 10, 12}
    values = iter([0.3, 0.6, 0.5, 0.4, 0.9])
    scored_by(monkeypatch, lambda: Score(value := next(values), value, 0, 1, 1, 0))
    facts = fitted(chat, pairs, neurons, budget, method="lora").facts
    assert (facts["best_step"], facts["steps"]) == (5, 10)
    unvalidated = fitted(chat, pairs, neurons, settings.model_copy(update={"validations": 0}), method="lora")
    assert "validation_score" not in unvalidated.facts and unvalidated.facts["steps"] == 12


@pytest.mark.parametrize("method", ["lora", "ia3", "dpo"])
def test_what_a_baseline_lacks_is_told_before_anything_is_computed(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = METHODS[method].model_validate({"method": method, "trials": 2})
    budget = MarginFitSettings()
    check_baseline(config, budget)
    check_baseline(config.model_copy(update={"trials": 0}), MarginFitSettings(validations=0))
    with pytest.raises(InputError, match=r"scaling\.validations: is 0, but baseline\.trials .* 1 or more"):
        check_baseline(config, MarginFitSettings(validations=0))
    with pytest.raises(InputError, match=rf"scaling\.steps: is 0, but baseline\.method {method}"):
        check_baseline(config, MarginFitSettings(steps=0))
    with pytest.raises(InputError, match=rf"baseline\.method: {method} .* 'dial' has none"):
        check_baseline(config, DialSettings())
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(InputError, match=r"baseline\.trials: 2 .* pip install 'neurontune\[studies\]'"):
        check_packages(config)
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(InputError, match=rf"{method} needs peft; pip install 'neurontune\[studies\]'"):
        check_packages(config)
