"""What attribution leaves behind: nothing, also after an error; and what it refuses."""

import pytest
import torch
from attribution_cases import DENSE, attribute, encoded_pairs, in_own_units, relative_difference, tiny_chat
from attribution_reference import reference_scores
from transformers import AutoConfig, AutoModelForCausalLM

from neurontune_core import neurons
from neurontune_core.attribution import engine as engines
from neurontune_core.attribution import setup, wavefront
from neurontune_core.attribution.prefix import IMPLEMENTATION, capture_prefix
from neurontune_core.attribution.settings import AttributionConfig
from neurontune_core.errors import InputError, NumericalError
from neurontune_core.model import tiny
from neurontune_core.model.load import ChatModel


def hooks_of(model):
    kinds = ("_forward_pre_hooks", "_forward_hooks", "_backward_hooks", "_backward_pre_hooks")
    return [hook for module in model.modules() for kind in kinds for hook in getattr(module, kind)]


@pytest.mark.parametrize("family", ["llama", "gemma2"])
def test_hooks_and_attention_are_restored(family):
    chat = tiny_chat(family)
    before = chat.model.config._attn_implementation
    attribute(chat, encoded_pairs())
    assert hooks_of(chat.model) == []
    assert chat.model.config._attn_implementation == before != IMPLEMENTATION


@pytest.mark.parametrize("place", ["response_log_probability", "_repeated"])
def test_hooks_and_attention_are_restored_after_an_error(place, monkeypatch):
    chat = tiny_chat("llama")
    engine = setup.build_engine(AttributionConfig(), chat, 64)
    before = chat.model.config._attn_implementation

    def fail(*arguments):
        raise ZeroDivisionError("in the middle of a wave")

    monkeypatch.setattr(wavefront, place, fail)
    with pytest.raises(ZeroDivisionError, match="in the middle of a wave"):
        engines.attribute(engine, encoded_pairs())
    assert hooks_of(chat.model) == []
    assert chat.model.config._attn_implementation == before


def test_logits_are_the_same_afterwards_and_weights_get_no_gradient():
    chat = tiny_chat("llama")
    ids = torch.arange(20)[None]
    before = chat.model(input_ids=ids).logits
    attribute(chat, encoded_pairs(), position="response")
    assert torch.equal(before, chat.model(input_ids=ids).logits)
    assert all(parameter.grad is None for parameter in chat.model.parameters())


def test_activations_are_not_edited_in_place():
    chat = tiny_chat("llama")
    versions = []

    def note(module, inputs):
        versions.append((inputs[0], inputs[0]._version))

    handles = [layer.mlp.act_fn.register_forward_pre_hook(note) for layer in chat.model.model.layers]
    try:
        attribute(chat, encoded_pairs())
    finally:
        for handle in handles:
            handle.remove()
    assert versions and all(tensor._version == version for tensor, version in versions)


@pytest.mark.parametrize("memory", [1024, 0])
def test_covered_layers_alone_are_attributed_if_told_so(memory):
    config = tiny.configuration("qwen3_moe")
    config.num_hidden_layers, config.mlp_only_layers, config.layer_types = 4, [1, 3], ["full_attention"] * 4
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config).eval().requires_grad_(False)
    model.set_experts_implementation("eager")
    for layer in (0, 2):  # as experts whose code does not know of the interface
        del model.model.layers[layer].mlp.experts.is_transposed
    chat, pairs = ChatModel(model, tiny.tokenizer(), torch.device("cpu")), encoded_pairs()
    with pytest.raises(InputError, match=r"2 of 4 layers.*layer 0: mixture of experts"):
        attribute(chat, pairs)
    neurons.leave_out_uncovered(model)
    assert neurons.neuron_counts(model) == [0, 48, 0, 48]
    engine = setup.build_engine(AttributionConfig(nodes=2), chat, 1024)
    engine.budget.row_layers = 10**9 if memory else 1
    for pair, result in zip(pairs, engines.attribute(engine, pairs, with_difference=True), strict=True):
        expected, differences = reference_scores(
            model, pair.query, pair.prompt, pair.response, 2, every_position=False, probability=True
        )
        assert relative_difference(in_own_units(result), torch.cat(expected).double()) < 1e-3, pair.id
        assert result.layers == (1, 3) and result.difference.shape == result.attributed.shape == (2,)
        found = result.difference * torch.tensor(result.scale).double().exp()
        torch.testing.assert_close(found, torch.tensor(differences).double(), rtol=1e-3, atol=1e-30)


def test_attention_outside_the_interface_is_refused_naming_the_layer(monkeypatch):
    chat = tiny_chat("llama")
    attention = chat.model.model.layers[1].self_attn
    monkeypatch.setattr(attention, "forward", lambda hidden_states, **settings: (hidden_states, None))
    with pytest.raises(InputError, match=r"layers \[1\] of LlamaForCausalLM did not call"):
        capture_prefix(chat.model, torch.arange(5)[None], torch.tensor([5]))


def test_attention_with_biases_is_refused(monkeypatch):
    chat = tiny_chat("llama")
    attention = chat.model.model.layers[2].self_attn
    plain = attention.forward
    monkeypatch.setattr(
        attention, "forward", lambda *inputs, **settings: plain(*inputs, **settings, position_bias=torch.ones(4))
    )
    with pytest.raises(InputError, match="attention of layer 2 uses position_bias"):
        capture_prefix(chat.model, torch.arange(5)[None], torch.tensor([5]))


def test_a_head_that_is_not_the_models_own_is_refused(monkeypatch):
    chat = tiny_chat("llama")
    monkeypatch.setattr(chat.model.config, "logits_scaling", 2.0, raising=False)  # which Llama does not apply
    with pytest.raises(InputError, match="gives logits that differ"):
        attribute(chat, encoded_pairs())


def test_scaled_logits_are_followed():
    from transformers import AutoModelForCausalLM, GraniteConfig

    config = GraniteConfig(
        vocab_size=264, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, logits_scaling=3.0, attention_multiplier=0.3, residual_multiplier=0.5,
    )  # fmt: skip
    chat = tiny_chat("llama")
    model = AutoModelForCausalLM.from_config(config).double().eval().requires_grad_(False)
    scores = attribute(type(chat)(model, chat.tokenizer, chat.device), encoded_pairs()[:1])
    assert torch.isfinite(scores[0]).all()


@pytest.mark.parametrize("family", DENSE)
def test_nothing_of_a_family_is_left_attached(family):
    chat = tiny_chat(family, layers=2)
    attribute(chat, encoded_pairs()[:1], nodes=1)
    assert hooks_of(chat.model) == []


@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
def test_broken_weights_end_in_an_error_that_names_the_pair(broken):
    chat, pairs = tiny_chat("llama"), encoded_pairs()
    chat.model.model.layers[1].mlp.up_proj.weight.view(-1)[5] = broken
    with pytest.raises(NumericalError, match=f"pair {pairs[0].id} gave NaN or infinite scores"):
        attribute(chat, pairs[:1])
    assert hooks_of(chat.model) == []


def test_a_model_whose_batch_cannot_grow_is_refused():
    config = AutoConfig.for_model(
        "gpt_bigcode", vocab_size=264, n_embd=32, n_layer=2, n_head=4, n_positions=64, bos_token_id=None,
        eos_token_id=256,
    )  # fmt: skip
    model = AutoModelForCausalLM.from_config(config).eval().requires_grad_(False)
    with pytest.raises(InputError, match="GPTBigCodeForCausalLM fails if rows are added"):
        setup.build_engine(AttributionConfig(), ChatModel(model, tiny.tokenizer(), torch.device("cpu")), 64)
    assert hooks_of(model) == []
