"""Weights in 8 and 4 bits: exact gradients of the rounded model, factors for the unrounded one."""

import pytest
import torch
from accelerate import dispatch_model

from neurontune_core.attribution.settings import AttributionConfig
from neurontune_core.attribution.shard import attribute_shard
from neurontune_core.errors import InputError
from neurontune_core.model import quantised, tiny
from neurontune_core.model.devices import is_quantised, stored_parts, weight_bytes, weight_of
from neurontune_core.model.generate import respond
from neurontune_core.model.load import ChatModel, load
from neurontune_core.model.placement import device_map
from neurontune_core.model.settings import ModelConfig
from neurontune_core.model.source import describe
from neurontune_core.neurons import decoder_layers, down_projections, expert_counts, fold, modulated, scaled
from neurontune_core.records import NeuronId, NeuronSet, PromptPair, ScalingFactors

NEURONS = NeuronSet((NeuronId(0, 3), NeuronId(1, 4)), (NeuronId(1, 2),))
IDS = torch.tensor([[5, 9, 200, 31, 7]])


def family(name: str = "llama") -> ChatModel:
    return ChatModel(tiny.model(name).requires_grad_(False), tiny.tokenizer(), torch.device("cpu"))


def rounded_family(name: str, bits: str) -> ChatModel:
    pytest.importorskip("torchao")
    chat = family(name)
    quantised.quantise_layers(chat.model, bits)
    return chat


@pytest.fixture(params=["int8", "int4"])
def rounded(request: pytest.FixtureRequest) -> ChatModel:
    return rounded_family("llama", request.param)


@pytest.fixture(
    params=[(name, bits) for name in ("llama", "mixtral", "gpt_oss") for bits in ("int8", "int4")], ids=" ".join
)
def both(request: pytest.FixtureRequest) -> tuple[ChatModel, ChatModel]:
    """A rounded model, and one of ordinary weights that have the rounded values."""
    chat = rounded_family(*request.param)
    return chat, unpacked(chat, request.param[0])


def unpacked(chat: ChatModel, name: str = "llama") -> ChatModel:
    """The same model with its rounded weights written out."""
    whole = family(name)
    for path, weight in whole.model.named_parameters():
        module, _, own = path.rpartition(".")
        weight.data.copy_(weight_of(chat.model.get_submodule(module), own))
    return whole


def every_expert(chat: ChatModel) -> NeuronSet:
    """Two neurons of every expert of the last layer; of a dense model the first eight."""
    count, width = expert_counts(chat.model)[1]
    places = [expert * width + place for expert in range(count) for place in (1, 2)] or list(range(8))
    return NeuronSet(tuple(NeuronId(1, place) for place in places), ())


def test_the_layers_alone_are_rounded(rounded):
    weights = {name: is_quantised(weight) for name, weight in rounded.model.named_parameters()}
    assert any(weights.values()) and not any(held for name, held in weights.items() if ".layers." not in name)
    assert weight_bytes(rounded.model) < weight_bytes(family().model)
    exact, found = (dict(down_projections(chat.model))[0] for chat in (family(), unpacked(rounded)))
    assert 0 < float((exact.weight - found.weight).abs().max()) < 0.2


def log_probability(chat: ChatModel, chosen: NeuronSet, alpha: torch.Tensor) -> torch.Tensor:
    with scaled(chat.model, chosen, alpha):
        return chat.model(input_ids=IDS).logits[0, -1].double().log_softmax(-1)[77]


def test_logits_and_gradients_in_both_orders_are_those_of_the_rounded_values(both):
    chosen, found = every_expert(both[0]), []
    for chat in both:
        alpha = torch.full((8,), 1.3, requires_grad=True)
        value = log_probability(chat, chosen, alpha)
        (slope,) = torch.autograd.grad(value, alpha, create_graph=True)
        (curve,) = torch.autograd.grad(slope.square().sum(), alpha)
        found.append((value.detach(), slope.detach(), curve, chat.model(input_ids=IDS).logits))
    assert found[0][1].abs().max() > 1e-3 and found[0][2].abs().max() > 1e-5
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=2e-3, atol=2e-5)


def test_no_dequantised_weight_is_kept_for_the_backward_pass(both):
    """Else a wave would hold all layers unrounded, and a large model would not fit."""
    weights = {tuple(sorted(weight.shape[-2:])) for weight in both[0].model.parameters() if is_quantised(weight)}
    kept = []
    for chat in both:
        shapes: list[torch.Size] = []

        def note(tensor: torch.Tensor, shapes: list[torch.Size] = shapes) -> torch.Tensor:
            shapes.append(tensor.shape)
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            log_probability(chat, every_expert(chat), torch.ones(8, requires_grad=True))
        kept.append([shape for shape in shapes if tuple(sorted(shape[-2:])) in weights and len(shape) == 2])
    assert not kept[0] and kept[1]


def test_gradients_of_factors_are_those_of_finite_differences(rounded):
    def value(alpha: torch.Tensor) -> torch.Tensor:
        return log_probability(rounded, NEURONS, alpha)

    alpha = torch.tensor([1.2, 0.7, 1.0], requires_grad=True)
    (gradient,) = torch.autograd.grad(value(alpha), alpha)
    for place in range(3):
        step = torch.zeros(3)
        step[place] = 0.02
        with torch.no_grad():
            slope = (value(alpha + step) - value(alpha - step)) / 0.04
        assert float(gradient[place]) == pytest.approx(float(slope), rel=0.02, abs=1e-4)


@pytest.mark.parametrize("method", ["integrated_gradients", "gradient"])
def test_scores_are_those_of_the_rounded_weights(both, method):
    pairs = [
        PromptPair(
            id=f"{role}{number}", role=role, query_id=f"q{number}", query=f"How {number}?", query_category="c",
            prompt=f"Act: how {number}?", response="No.", attack_type="t", attack_category="a", attack_name="n",
            selected=True, source="s", split="train",
        )
        for role in ("safety", "utility") for number in range(2)
    ]  # fmt: skip
    config = AttributionConfig(method=method, response_tokens=2)
    found, expected = (attribute_shard(pairs, config, chat, 64).table for chat in both)
    torch.testing.assert_close(
        torch.tensor(found["score_sum"].to_numpy()),
        torch.tensor(expected["score_sum"].to_numpy()),
        rtol=1e-3,
        atol=1e-5,
    )


def test_factors_go_onto_the_unrounded_model(rounded):
    scaling = ScalingFactors(NEURONS, torch.tensor([0.0, 2.0, 0.5]).numpy())
    with modulated(rounded.model, scaling):
        assert respond(rounded, ["Hello"], 4)
    with pytest.raises(InputError, match="quantised"):
        fold(rounded.model, scaling)
    fold(family().model, scaling)


def test_a_reference_says_so_and_is_evaluated_unrounded(tmp_path):
    pytest.importorskip("torchao")
    plain = describe(ModelConfig(name="random:llama"))
    found = describe(ModelConfig(name="random:llama", quantization="int8", evaluate_full=True))
    assert found.identity != plain.identity and found.evaluated.identity == plain.identity
    chat = load(found, str(tmp_path), torch.device("cpu"))
    assert any(is_quantised(weight) for weight in chat.model.parameters())
    full = load(found.evaluated, str(tmp_path), torch.device("cpu"))
    assert not any(is_quantised(weight) for weight in full.model.parameters())


def test_a_missing_library_is_told_before_weights_are_read(monkeypatch, tmp_path):
    """A report or an export only describes the model, and needs no library that rounds weights."""
    monkeypatch.setattr(quantised, "find_spec", lambda name: None)
    monkeypatch.setattr(tiny, "model", None)
    reference = describe(ModelConfig(name="random:llama", quantization="int4", evaluate_full=True))
    with pytest.raises(InputError, match=r"model.quantization: 'int4' needs torchao; pip install"):
        load(reference, str(tmp_path), torch.device("cpu"))


def test_devices_hold_a_model_in_the_bits_it_has(rounded):
    """What fits in few bits is not refused for the bytes it would have unrounded."""
    size = weight_bytes(rounded.model)
    assert size < weight_bytes(family().model) * 0.9
    assert set(device_map(rounded.model, {0: size + 1, 1: size}, torch.float32).values()) == {0, 1}
    with pytest.raises(InputError, match="GiB of weights"):
        device_map(family().model, {0: size + 1}, torch.float32)


@pytest.mark.parametrize("family", ["llama", "mixtral"])
@pytest.mark.parametrize("bits", ["int8", "int4"])
def test_the_share_that_is_told_is_the_share_that_is_rounded(family, bits):
    """A map with a width that no group divides keeps its format."""
    pytest.importorskip("torchao")
    model = tiny.model(family).requires_grad_(False)
    first = layer_maps(model)[0]
    first.in_features, first.weight = 20, torch.nn.Parameter(torch.ones(first.out_features, 20), requires_grad=False)
    told = quantised.rounding_in_words(model, bits)
    sizes = [(weight.numel(), is_quantised(weight)) for weight in rounded_in_place(model, bits).parameters()]
    share = sum(size for size, held in sizes if held) / sum(size for size, _ in sizes)
    assert told.startswith(f"{share:.1%} were rounded to {bits[-1]}-bit integers (a scale ")


def layer_maps(model) -> list[torch.nn.Linear]:
    return [each for each in decoder_layers(model).modules() if isinstance(each, torch.nn.Linear)]


def rounded_in_place(model, bits: str):
    quantised.quantise_layers(model, bits)
    return model


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize(("shape", "group"), [((6, 64), 32), ((5, 48), 16), ((3, 4, 24), 8)])
def test_two_integers_in_a_byte_are_those_of_torchao(shape, group, dtype):
    """A scale for each group, in the weight's format; the integers go from -8 to 7."""
    pytest.importorskip("torchao")
    from torchao.quantization import IntxUnpackedToInt8Tensor

    from neurontune_core.model.torchao_weights import FourBits

    weight = torch.randn(shape, generator=torch.Generator().manual_seed(3)).to(dtype)
    weight[0], weight[1, ..., 0] = 0, -9
    own = IntxUnpackedToInt8Tensor.from_hp(weight, (*[1] * (len(shape) - 1), group), torch.int4)
    found = FourBits.rounded(weight, group)
    assert own.qdata.unique().tolist() == list(range(-8, 8))
    assert (found.shape, found.dtype) == (weight.shape, dtype) and torch.equal(found.dequantize(), own.dequantize())
    half, scales = weight.numel() // 2, weight.numel() // group
    assert sum(part.nbytes for part in stored_parts(found)) == half + scales * dtype.itemsize
    moved = found.to("meta")
    assert moved.shape == weight.shape and all(part.is_meta for part in stored_parts(moved))


@pytest.mark.parametrize("name", ["llama", "mixtral", "gpt_oss"])
def test_rounded_weights_take_a_byte_or_half_of_it(name):
    """Besides the scales; the layers' weights are what counts in a large model."""
    sizes = {}
    for bits in ("int8", "int4"):
        rounded = [each for each in rounded_family(name, bits).model.parameters() if is_quantised(each)]
        numbers = sum(each.numel() for each in rounded)
        stored = sum(max(part.nbytes for part in stored_parts(each)) for each in rounded)
        sizes[bits] = stored / numbers
    assert sizes == {"int8": 1.0, "int4": 0.5}


@pytest.mark.parametrize("name", tiny.EXPERTS)
def test_stacked_experts_are_rounded(name):
    """Nearly all weights of such a model are in its experts; the tiny ones have a large vocabulary beside them."""
    chat = rounded_family(name, "int4")
    layers = decoder_layers(chat.model)
    assert all(is_quantised(weight) for weight in layers.parameters() if weight.dim() == 3)
    of_layers = sum(weight.numel() for weight in layers.parameters())
    assert sum(weight.numel() for weight in layers.parameters() if is_quantised(weight)) > 0.9 * of_layers
    assert respond(chat, ["Hello", "How do I bake bread?"], 4)


def test_odd_widths_do_not_count_as_rounded():
    model = tiny.model("llama")
    first = layer_maps(model)[0]
    sizes = [each.weight.numel() for each in layer_maps(model)]
    first.weight = torch.nn.Parameter(torch.ones(first.out_features, 20))
    sizes[0], total = first.weight.numel(), sum(weight.numel() for weight in model.parameters())
    assert quantised.rounding_in_words(model, "int8").startswith(f"{sum(sizes) / total:.1%} were rounded to 8-bit")
    assert quantised.rounding_in_words(model, "int4").startswith(f"{sum(sizes[1:]) / total:.1%} were rounded to 4-bit")


def test_the_groups_that_are_told_are_those_that_share_a_scale():
    model = tiny.model("llama")
    assert "(a scale for 32 or 16 weights, by" in quantised.rounding_in_words(model, "int4")
    first = layer_maps(model)[0]
    first.weight = torch.nn.Parameter(torch.ones(first.out_features, 8))
    assert "(a scale for 32 or 16 or 8 weights, by" in quantised.rounding_in_words(model, "int4")
    assert "(a scale a row, by" in quantised.rounding_in_words(model, "int8")


def test_a_reference_tells_the_share_without_the_library(monkeypatch):
    monkeypatch.setattr(quantised, "find_spec", lambda name: None)
    found = describe(ModelConfig(name="random:llama", quantization="int4", evaluate_full=True))
    assert "% were rounded to 4-bit integers" in found.rounded
    assert found.evaluated.rounded == describe(ModelConfig(name="random:llama")).rounded == ""


@pytest.mark.parametrize(("name", "bits"), [("llama", "int8"), ("mixtral", "int4"), ("llama", "int4")])
def test_accelerate_brings_rounded_weights_for_a_layer_and_takes_them_away(name, bits):
    """The weights that a product needs again are those of the forward pass; accelerate has taken the module's away."""
    whole, spread = rounded_family(name, bits), rounded_family(name, bits)
    for chat in (whole, spread):
        quantised.use_rounded(chat.model)
    here = torch.device("cpu")
    places = {"model.embed_tokens": here, "model.rotary_emb": here, "model.norm": here, "lm_head": here}
    dispatch_model(
        spread.model, places | {"model.layers.0": here, "model.layers.1": "cpu"}, main_device=here, force_hooks=True
    )
    assert any(weight.is_meta and is_quantised(weight) for weight in spread.model.parameters())
    slopes = []
    for chat in (whole, spread):
        alpha = torch.full((8,), 1.3, requires_grad=True)
        slopes.append(torch.autograd.grad(log_probability(chat, every_expert(chat), alpha), alpha)[0])
    assert torch.equal(*slopes) and slopes[0].abs().max() > 1e-3
    for path, _ in whole.model.named_parameters():
        module, _, own = path.rpartition(".")
        assert torch.equal(*(weight_of(chat.model.get_submodule(module), own) for chat in (whole, spread))), path
