"""Neurons of mixtures of experts against a plain loop over tokens and experts, for every family."""

from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest
import torch
from torch.overrides import TorchFunctionMode
from transformers import AutoModelForCausalLM

from neurontune_core import experts, neurons
from neurontune_core.errors import InputError
from neurontune_core.experts import run_apart
from neurontune_core.model import tiny
from neurontune_core.records import NeuronId, NeuronSet, ScalingFactors

FAMILIES = tiny.EXPERTS
LAYOUTS = {
    "mixtral": (4, 48, 192), "qwen2_moe": (4, 16, 88), "deepseek_v2": (4, 16, 112), "deepseek_v3": (4, 16, 80),
}  # fmt: skip
IDS = torch.arange(22).view(2, 11)


def plain_loop(model, layer, factors=None):
    """Run the model with one layer's experts as a loop over tokens and slots; return logits and what was seen.

    `factors` `[neuron]` multiply the neurons; seen are the activations `[token, neuron]`.
    """
    block = neurons.decoder_layers(model)[layer].mlp
    shared = getattr(block, "shared_expert", None) or getattr(block, "shared_experts", None)
    experts, seen = block.experts, {}

    def loop(hidden, chosen, weights):
        width = experts.down_proj.shape[1 if experts.is_transposed else 2]
        activations = torch.zeros(len(hidden), experts.num_experts * width, dtype=hidden.dtype)
        result = torch.zeros_like(hidden)
        for token in range(len(hidden)):
            for slot, expert in enumerate(chosen[token].tolist()):
                up, down = experts.gate_up_proj[expert], experts.down_proj[expert]
                bias = experts.gate_up_proj_bias[expert] if experts.has_bias else 0
                raised = hidden[token] @ (up if experts.is_transposed else up.T) + bias
                values = experts._apply_gate(raised)
                place = slice(expert * width, (expert + 1) * width)
                activations[token, place] = values
                if factors is not None:
                    values = values * factors[place]
                lowered = values @ (down if experts.is_transposed else down.T)
                lowered = lowered + (experts.down_proj_bias[expert] if experts.has_bias else 0)
                result[token] += weights[token, slot] * lowered
        seen["routed"] = activations
        return result

    def around(module, inputs):
        seen["shared"] = inputs[0].reshape(-1, inputs[0].shape[-1])
        return inputs[0] if factors is None else inputs[0] * factors[-inputs[0].shape[-1] :]

    handle = shared.down_proj.register_forward_pre_hook(around) if shared is not None else None
    experts.forward = loop
    try:
        logits = model(IDS).logits
    finally:
        del experts.forward
        if handle:
            handle.remove()
    return logits, torch.cat([seen[part] for part in ("routed", "shared") if part in seen], -1)


@pytest.mark.parametrize("family", FAMILIES)
def test_coverage_tells_the_experts(family):
    count, width, total = LAYOUTS.get(family, (4, 16, 64))
    row = neurons.coverage(tiny.model(family))[1]
    assert (row.layer, row.neurons, row.problem, row.experts, row.expert_neurons) == (1, total, "", count, width)
    assert row.path.startswith("mlp.experts") and row.layout.startswith(f"{count} experts of {width}")
    assert neurons.neuron_counts(tiny.model(family))[1] == total
    assert neurons.expert_counts(tiny.model(family))[1] == (count, width)


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_captured_activations_are_those_of_the_loop_and_0_where_a_token_is_not_routed(family):
    model = tiny.model(family)
    logits, expected = plain_loop(model, 1)
    with neurons.captured(model) as values:
        found = model(IDS).logits
    torch.testing.assert_close(found, logits, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(values[1].flatten(0, 1), expected, rtol=1e-4, atol=1e-5)
    count, width, _ = LAYOUTS.get(family, (4, 16, 64))
    active = values[1][..., : count * width].unflatten(-1, (count, width)).ne(0).any(-1)
    assert (active.sum(-1) == 2).all()
    assert model.config._experts_implementation != "neurontune_experts"


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_scaling_is_that_of_the_loop_and_equals_folding(family):
    model = tiny.model(family)
    total = neurons.neuron_counts(model)[1]
    factors = torch.rand(total, generator=torch.Generator().manual_seed(1)) * 3 - 1
    chosen = NeuronSet(tuple(NeuronId(1, index) for index in range(total)), ())
    expected, _ = plain_loop(model, 1, factors)
    plain = model(IDS).logits
    with neurons.scaled(model, chosen, factors):
        hooked = model(IDS).logits
    with neurons.edited(model, {1: lambda values: values * factors}):
        edited = model(IDS).logits
    assert torch.equal(model(IDS).logits, plain) and (hooked - plain).abs().max() > 1e-2
    neurons.fold(model, ScalingFactors(chosen, factors.numpy()))
    for found in (hooked, edited, model(IDS).logits):
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_replacing_neurons_changes_tokens_that_are_routed_to_their_expert_alone(family):
    model = tiny.model(family)
    total = neurons.neuron_counts(model)[1]
    every = NeuronSet(tuple(NeuronId(1, index) for index in range(total)), ())
    for values in (torch.full((total,), 0.5), torch.full((2, total), 0.5)):
        with neurons.replaced(model, every, values), neurons.captured(model) as seen:
            model(IDS)
        assert set(seen[1].unique().tolist()) <= {0.0, 0.5}
        with neurons.replaced(model, every, values, last_position=True), neurons.captured(model) as seen:
            model(IDS)
        assert (seen[1] == 0.5).any(-1).tolist() == [[False] * 10 + [True]] * 2


@pytest.mark.parametrize("family", ["mixtral", "qwen2_moe", "gpt_oss"])
@pytest.mark.parametrize("shape", [(3,), (2, 3)])
def test_gradients_of_factors_are_those_of_differences_in_both_orders(family, shape):
    model = tiny.model(family).double().requires_grad_(False)
    run_apart(model)
    model.set_attn_implementation("eager")
    last = neurons.neuron_counts(model)[1] - 1
    # of every expert one neuron, so that some token is sent there
    width = neurons.expert_counts(model)[1][1]
    chosen = NeuronSet((NeuronId(1, 1), NeuronId(1, width + 2)), (NeuronId(1, last),))

    def logits(alpha):
        with neurons.scaled(model, chosen, alpha):
            return model(IDS[:, :5]).logits[:, -1, :5]

    alpha = torch.full(shape, 1.3, dtype=torch.float64, requires_grad=True)
    with (  # routers and norms go back to float32
        mock.patch.object(torch, "float32", torch.float64),
        mock.patch.object(torch, "float", torch.float64),
        mock.patch.object(torch.Tensor, "float", torch.Tensor.double),
    ):
        assert torch.autograd.gradcheck(logits, alpha)
        assert torch.autograd.gradgradcheck(logits, alpha)


class Waits(TorchFunctionMode):
    """Counts the calls for which a GPU would wait: they need numbers that it has not computed yet."""

    CALLS = ("tolist", "item", "cpu", "nonzero", "bincount", "unique", "__bool__", "__int__")
    made = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        chosen = getattr(func, "__name__", "") == "__getitem__" and isinstance(args[1], torch.Tensor)
        masked = chosen and args[1].dtype is torch.bool
        self.made += masked or getattr(func, "__name__", "") in self.CALLS
        return func(*args, **(kwargs or {}))


def expert_layer(family, dtype=torch.bfloat16):
    """The experts of a layer, and what they are given: hidden states, chosen experts, weights."""
    module = neurons.decoder_layers(tiny.model(family).to(dtype).requires_grad_(False))[1].mlp.experts
    generator = torch.Generator().manual_seed(4)
    hidden = torch.randn(23, 32, generator=generator).to(dtype)
    chosen = torch.stack([torch.randperm(3, generator=generator)[:2] for _ in range(23)])  # the last expert has none
    return module, hidden, chosen, torch.rand(23, 2, generator=generator).to(dtype)


def values_and_slopes(module, hidden, chosen, weights):
    hidden = hidden.clone().requires_grad_()
    value = experts._run(module, hidden, chosen, weights)
    (slope,) = torch.autograd.grad(value.float().square().sum(), hidden, create_graph=True)
    (curve,) = torch.autograd.grad(slope.float().square().sum(), hidden)
    return value.detach(), slope.detach(), curve


@pytest.mark.parametrize("family", FAMILIES)
def test_all_experts_in_one_product_give_what_one_after_the_other_gives(family, monkeypatch):
    given = expert_layer(family)
    assert not experts._without_waiting(given[0])  # on a processor nothing waits
    expected = values_and_slopes(*given)
    monkeypatch.setattr(experts, "_without_waiting", lambda module: True)
    for found, other in zip(values_and_slopes(*given), expected, strict=True):
        assert other.abs().max() > 1e-3
        assert float((found.float() - other.float()).norm() / other.float().norm()) < 0.02


@pytest.mark.parametrize("family", FAMILIES)
def test_one_product_waits_for_no_number(family, monkeypatch):
    given, counts = expert_layer(family), []
    for without in (False, True):
        monkeypatch.setattr(experts, "_without_waiting", lambda module, without=without: without)
        with Waits() as waits:
            experts._run(*given)
        counts.append(waits.made)
    assert counts[0] > 0 and counts[1] == 0


def test_a_gpu_multiplies_all_experts_at_once_only_in_the_format_of_its_kernel():
    def module(dtype, device):
        return SimpleNamespace(down_proj=SimpleNamespace(device=torch.device(device), dtype=dtype))

    assert experts._without_waiting(module(torch.bfloat16, "cuda"))
    for dtype, device in ((torch.float32, "cuda"), (torch.float64, "cuda"), (torch.bfloat16, "cpu")):
        assert not experts._without_waiting(module(dtype, device))


def test_a_neuron_beyond_the_last_expert_is_refused():
    model = tiny.model("qwen2_moe")
    factors = ScalingFactors(NeuronSet((NeuronId(0, 88),), ()), np.full(1, 3.0, dtype=np.float32))
    with pytest.raises(InputError, match="no neuron 88 in layer 0"):
        neurons.fold(model, factors)


def test_experts_outside_of_the_interface_are_told():
    model = tiny.model("mixtral")
    block = model.model.layers[1].mlp
    block.experts = torch.nn.ModuleList(torch.nn.Linear(32, 32) for _ in range(4))
    row = neurons.coverage(model)[1]
    assert row.neurons == 0 and "'mlp.experts' (ModuleList), whose code does not go through" in row.problem
    with pytest.raises(InputError, match=r"1 of 2 layers.*layer 1: mixture of experts"):
        neurons.neuron_counts(model)


def test_experts_that_do_not_write_to_the_residual_stream_are_told():
    model = tiny.model("mixtral")
    experts = model.model.layers[0].mlp.experts
    experts.down_proj = torch.nn.Parameter(torch.zeros(4, 20, 48))
    assert "writes to 20 channels and not to the residual stream" in neurons.coverage(model)[0].problem


def test_one_linear_map_a_layer_is_asked_for_where_there_are_experts():
    with pytest.raises(InputError, match="has experts instead of a single down projection"):
        neurons.down_projections(tiny.model("mixtral"))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_saved_model_gives_the_same_neurons(family, tmp_path):
    """The files hold an expert a tensor, the loaded model all in one."""
    model = tiny.model(family)
    model.save_pretrained(tmp_path)
    again = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    with torch.no_grad(), neurons.captured(model) as before, neurons.captured(again) as after:
        model(IDS), again(IDS)
    assert all(torch.equal(before[layer], after[layer]) for layer in before)
