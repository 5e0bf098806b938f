"""Where the neurons are: found in every family, captured, replaced, scaled and folded."""

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, Gemma3Config, Lfm2Config

from neurontune_core import neurons
from neurontune_core.errors import InputError
from neurontune_core.model import tiny
from neurontune_core.records import NeuronId, NeuronSet, ScalingFactors

DENSE, EXPERTS = tiny.DENSE, tiny.EXPERTS
PATHS = {
    "gpt2": ("mlp.c_proj", "Conv1D"), "gpt_neox": ("mlp.dense_4h_to_h", "Linear"), "opt": ("fc2", "Linear"),
}  # fmt: skip
IDS = torch.arange(22).view(2, 11)


@pytest.mark.parametrize("family", DENSE)
def test_coverage_finds_the_down_projection_of_every_layer(family):
    path, layout = PATHS.get(family, ("mlp.down_proj", "Linear"))
    assert neurons.coverage(tiny.model(family)) == [
        neurons.LayerCoverage(layer, path, layout, 48, "") for layer in range(2)
    ]


def test_one_uncovered_layer_is_named():
    model = tiny.model("llama")
    model.model.layers[1].mlp = torch.nn.Identity()
    with pytest.raises(InputError, match=r"1 of 2 layers.*layer 1: no linear map to the residual stream"):
        neurons.neuron_counts(model)


def test_the_language_part_is_found_beside_a_vision_part_of_as_many_layers():
    shape = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = Gemma3Config(
        text_config={**shape, "vocab_size": 264, "num_key_value_heads": 2, "head_dim": 8},
        vision_config={**shape, "image_size": 28, "patch_size": 14},
        mm_tokens_per_image=1, image_token_index=263, boi_token_index=262, eoi_token_index=261,
    )  # fmt: skip
    model = AutoModelForCausalLM.from_config(config)
    assert [row.path for row in neurons.coverage(model)] == ["mlp.down_proj"] * 2
    assert neurons.decoder_layers(model) is model.model.language_model.layers


def test_layers_of_other_kinds_than_attention_are_reported_for_what_they_are():
    config = tiny.configuration("llama").to_dict()
    layers = ["conv", "full_attention"]
    model = AutoModelForCausalLM.from_config(
        Lfm2Config(**{name: config[name] for name in ("vocab_size", "hidden_size", "num_attention_heads",
                   "num_key_value_heads", "num_hidden_layers")}, layer_types=layers, pad_token_id=0)
    )  # fmt: skip
    assert [(row.path, row.problem) for row in neurons.coverage(model)] == [("feed_forward.w2", "")] * 2


@pytest.mark.parametrize("family", ["gemma3n_text", "gemma4_text"])
def test_layers_with_several_projections_to_the_residual_stream_are_told(family):
    """Gemma 3n and 4 add a projection of each layer's own embedding beside the MLP."""
    config = AutoConfig.for_model(
        family, vocab_size=264, hidden_size=32, intermediate_size=48, num_hidden_layers=4, num_attention_heads=4,
        num_key_value_heads=2, head_dim=8, num_kv_shared_layers=0, vocab_size_per_layer_input=264,
        hidden_size_per_layer_input=8, layer_types=["sliding_attention"] * 3 + ["full_attention"],
    )  # fmt: skip
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    rows = neurons.coverage(model)
    assert len(rows) == 4 and all("mlp.down_proj" in row.problem and "candidates" in row.problem for row in rows)
    with pytest.raises(InputError, match=r"4 of 4 layers.*layer 0: several candidates"):
        neurons.neuron_counts(model)


def test_a_square_up_projection_is_told_from_the_down_projection_only_by_width():
    model = tiny.model("gpt2")
    model.transformer.h[0].mlp.c_fc = torch.nn.Linear(32, 32)
    assert neurons.coverage(model)[0].path == "mlp.c_proj"


@pytest.mark.parametrize(("family", "width"), [("llama", "intermediate_size"), ("gemma3_text", "intermediate_size"),
                                               ("qwen2_moe", "shared_expert_intermediate_size")])  # fmt: skip
def test_the_down_projection_of_an_mlp_as_wide_as_the_residual_stream_is_told_by_its_name(family, width):
    config = tiny.configuration(family)
    setattr(config, width, config.hidden_size)
    rows = neurons.coverage(AutoModelForCausalLM.from_config(config))
    assert all(row.path.endswith("down_proj") and not row.problem for row in rows)


@pytest.mark.parametrize(
    ("family", "settings", "path"),
    [
        ("bamba", {"attn_layer_indices": [1], "mamba_n_heads": 4, "mamba_d_head": 16}, "feed_forward.down_proj"),
        ("qwen3_next", {"layer_types": ["linear_attention", "full_attention"], "num_experts": 0}, "mlp.down_proj"),
        ("jamba", {"attn_layer_period": 2, "attn_layer_offset": 1, "num_experts": 1}, "feed_forward.down_proj"),
    ],
)  # fmt: skip
def test_what_stands_for_attention_has_no_neurons(family, settings, path):
    """Mamba's output projection writes to the residual stream too, as attention's does."""
    usual = tiny.configuration("llama").to_dict()
    names = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
             "num_key_value_heads", "pad_token_id")  # fmt: skip
    config = AutoConfig.for_model(family, **{name: usual[name] for name in names}, **settings)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    assert [(row.path, row.neurons) for row in neurons.coverage(model)] == [(path, 48)] * 2


@pytest.mark.parametrize("family", DENSE)
def test_captured_activations_are_what_the_down_projection_reads(family):
    model = tiny.model(family)
    seen = {}
    modules = neurons.down_projections(model)
    handles = [
        module.register_forward_pre_hook(lambda _, inputs, layer=layer: seen.update({layer: inputs[0]}))
        for layer, module in modules.items()
    ]
    with torch.no_grad(), neurons.captured(model) as values:
        model(input_ids=IDS)
    for handle in handles:
        handle.remove()
    assert sorted(values) == [0, 1]
    for layer in values:
        assert values[layer].shape == (2, 11, 48)
        assert torch.equal(values[layer].flatten(0, 1), seen[layer].flatten(0, -2))


@pytest.mark.parametrize("family", DENSE)
def test_scaling_neurons_equals_folding_the_factors_into_the_weights(family):
    model = tiny.model(family)
    chosen = NeuronSet((NeuronId(0, 3), NeuronId(1, 47), NeuronId(0, 20)), (NeuronId(1, 0),))
    alpha = np.array([2.0, 0.25, -1.0, 3.0], dtype=np.float32)
    with torch.no_grad():
        plain = model(input_ids=IDS).logits
        with neurons.scaled(model, chosen, torch.from_numpy(alpha)):
            hooked = model(input_ids=IDS).logits
        assert torch.equal(plain, model(input_ids=IDS).logits)
        neurons.fold(model, ScalingFactors(chosen, alpha))
        folded = model(input_ids=IDS).logits
    torch.testing.assert_close(hooked, folded, rtol=1e-3, atol=1e-3)
    assert (hooked - plain).abs().max() > 1e-2


def test_gradients_reach_the_factors():
    model = tiny.model("llama").requires_grad_(False)
    alpha = torch.ones(2, requires_grad=True)
    with neurons.scaled(model, NeuronSet((NeuronId(0, 1),), (NeuronId(1, 2),)), alpha):
        model(input_ids=IDS).logits.square().sum().backward()
    assert (alpha.grad != 0).all()


@pytest.mark.parametrize("shape", [(2,), (2, 2)])
def test_gradients_of_factors_are_those_of_differences_in_both_orders(shape):
    """Second-order meta-learning differentiates the gradients again."""
    model = tiny.model("gpt2").double().requires_grad_(False)  # in float64 throughout: others normalise in float32
    model.set_attn_implementation("eager")
    chosen = NeuronSet((NeuronId(0, 1),), (NeuronId(1, 2),))

    def logits(alpha):
        with neurons.scaled(model, chosen, alpha):
            return model(input_ids=IDS[:, :4]).logits[:, -1, :5]

    alpha = torch.full(shape, 1.3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(logits, alpha)
    assert torch.autograd.gradgradcheck(logits, alpha)


def test_factors_that_bfloat16_has_not_still_count():
    """1.003 is 1 in bfloat16: the mean over many activations tells."""
    model = tiny.model("llama").bfloat16()
    values: list[torch.Tensor] = []
    chosen = NeuronSet(tuple(NeuronId(0, index) for index in range(48)), ())
    alpha = torch.full((48,), 1.003)
    activations = torch.randn(1, 4096, 48, generator=torch.Generator().manual_seed(0)).exp().bfloat16()
    with neurons.edited(model, {0: lambda _: activations}), neurons.scaled(model, chosen, alpha):
        module = neurons.down_projections(model)[0]
        module.register_forward_pre_hook(lambda _, inputs: values.append(inputs[0]))
        model(input_ids=torch.zeros(1, 4096, dtype=torch.long))
    assert float(values[0].double().mean() / activations.double().mean()) == pytest.approx(1.003, abs=2e-4)


def test_hooks_are_removed_after_an_error():
    model = tiny.model("llama")

    def fail(values):
        raise ZeroDivisionError("in an edit")

    with pytest.raises(ZeroDivisionError, match="in an edit"), neurons.edited(model, {1: fail}):
        model(input_ids=IDS)
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_a_model_without_decoder_layers_is_refused():
    model = tiny.model("llama")
    model.model.layers = torch.nn.ModuleList(list(model.model.layers)[:1])
    with pytest.raises(InputError, match="no list of 2 decoder layers"):
        neurons.coverage(model)


@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0])
def test_strength_interpolates_between_base_and_tuned(strength):
    model = tiny.model("llama")
    chosen = NeuronSet((NeuronId(0, 3),), (NeuronId(1, 0),))
    scaling = ScalingFactors(chosen, np.array([2.0, 0.5], dtype=np.float32))
    with torch.no_grad():
        with neurons.modulated(model, scaling, strength):
            found = model(input_ids=IDS).logits
        with neurons.scaled(model, chosen, torch.tensor([1 + strength, 1 - strength / 2])):
            expected = model(input_ids=IDS).logits
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("neuron", [NeuronId(2, 0), NeuronId(0, 48), NeuronId(-1, 0), NeuronId(0, -1)])
def test_a_neuron_the_model_has_not_is_refused_and_nothing_is_changed(neuron):
    model = tiny.model("llama")
    before = model(IDS).logits.detach()
    factors = ScalingFactors(NeuronSet((NeuronId(0, 1), neuron), ()), np.full(2, 3.0, dtype=np.float32))
    with pytest.raises(InputError, match=f"no neuron {neuron.index} in layer {neuron.layer}"):
        neurons.fold(model, factors)
    with pytest.raises(InputError, match="no neuron"), neurons.modulated(model, factors):
        pass
    assert torch.equal(model(IDS).logits, before)
