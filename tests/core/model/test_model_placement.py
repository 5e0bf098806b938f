"""A model whose layers are on several devices, or offloaded, gives what the undivided model gives."""

from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import dispatch_model
from transformers import AutoModelForCausalLM

from neurontune_core.attribution.settings import AttributionConfig
from neurontune_core.attribution.shard import attribute_shard
from neurontune_core.cards.columns import promoted_and_suppressed
from neurontune_core.config import load_config
from neurontune_core.errors import InputError
from neurontune_core.evaluation.ability import choices, shipped_questions
from neurontune_core.model import devices, placement, tiny
from neurontune_core.model import load as loading
from neurontune_core.model.devices import check_memory
from neurontune_core.model.generate import respond
from neurontune_core.model.load import ChatModel, load
from neurontune_core.model.placement import device_map
from neurontune_core.model.quantised import quantise_layers
from neurontune_core.model.settings import ModelConfig
from neurontune_core.model.source import ModelReference, describe
from neurontune_core.neurons import fold, modulated
from neurontune_core.records import NeuronId, NeuronSet, PromptPair, ScalingFactors
from neurontune_core.scaling.learn import learn_scaling
from neurontune_core.scaling.problem import Problem

NEURONS = NeuronSet((NeuronId(0, 3), NeuronId(1, 4)), (NeuronId(1, 2), NeuronId(0, 9)))
FACTORS = ScalingFactors(NEURONS, torch.tensor([1.5, 0.2, 0.0, 2.0]).numpy())
MAPS = {
    "last layer and head on disk": {
        "model.embed_tokens": "cpu", "model.layers.0": "cpu", "model.layers.1": "disk", "model.norm": "cpu",
        "model.rotary_emb": "cpu", "lm_head": "disk",
    },
    "embedding and first layer on disk": {
        "model.embed_tokens": "disk", "model.layers.0": "disk", "model.layers.1": "cpu", "model.norm": "disk",
        "model.rotary_emb": "cpu", "lm_head": "cpu",
    },
}  # fmt: skip


def whole(family: str = "llama") -> ChatModel:
    return ChatModel(tiny.model(family).requires_grad_(False), tiny.tokenizer(), torch.device("cpu"))


@pytest.fixture(params=[(family, place) for family in ("llama", "qwen3_moe") for place in MAPS], ids=": ".join)
def both(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[ChatModel, ChatModel]:
    """The undivided model, and the same one dispatched."""
    family, place = request.param
    divided = whole(family)
    dispatch_model(divided.model, MAPS[place], offload_dir=str(tmp_path))
    assert any(weight.is_meta for weight in divided.model.parameters())
    return whole(family), divided


def pairs() -> list[PromptPair]:
    return [
        PromptPair(
            id=f"{role}{split}{number}{attack}", role=role, query_id=f"{role}{split}{number}", query=f"How {number}?",
            query_category="c", prompt=f"{attack} how {number}?".strip(), response="No." if role == "safety" else "Yes",
            attack_type="t" * bool(attack), attack_category=attack[:1], attack_name=attack, selected=bool(attack),
            source="s", split=split,
        )
        for role in ("safety", "utility") for split in ("train", "validation") for number in range(4)
        for attack in ("", "actor")
    ]  # fmt: skip


def attacked() -> list[PromptPair]:
    return [pair for pair in pairs() if pair.attack_name and pair.split == "train"][::3]


@pytest.mark.parametrize("method", ["integrated_gradients", "gradient", "mask", "activation"])
def test_scores(both, method):
    config = AttributionConfig(method=method, response_tokens=3)
    expected, found = (attribute_shard(attacked(), config, chat, memory_mib=64) for chat in both)
    columns = ["score_sum", "score_sq_sum"]
    torch.testing.assert_close(
        torch.tensor(found.table[columns].to_numpy()), torch.tensor(expected.table[columns].to_numpy()),
        rtol=1e-4, atol=1e-6,
    )  # fmt: skip
    gaps = [each.completeness.select_dtypes("number").to_numpy() for each in (expected, found)]
    torch.testing.assert_close(*map(torch.tensor, gaps), rtol=1e-3, atol=1e-5)


def test_answers_and_their_likelihood(both):
    alpha = torch.tensor([1.5, 0.2, 0.0, 2.0]).numpy()
    expected, found = [], []
    for chat, told in zip(both, (expected, found), strict=True):
        with modulated(chat.model, ScalingFactors(NEURONS, alpha)):
            told += respond(chat, ["Hello", "How do I bake bread, in three steps?", "Hi"], 12)
            told += choices(chat, shipped_questions()[:3])
        told += promoted_and_suppressed(chat, NEURONS.all, 3)
    assert found == expected


@pytest.mark.parametrize("method", ["margin_fit", "maml"])
def test_factors_after_a_step(both, method):
    small = ["steps=1", "harmful_batch=3", "harmless_batch=3", "validations=0", "query_attacks=1"]
    small += ["support_batch=2"] if method == "maml" else ["refusal_openings=Sorry", "kept_share=0.5"]
    settings = load_config("tiny", [f"scaling.method={method}", *(f"scaling.{each}" for each in small)]).scaling
    expected, found = (learn_scaling(Problem(chat, NEURONS, pairs()), settings) for chat in both)
    torch.testing.assert_close(
        torch.tensor(found.scaling.alpha), torch.tensor(expected.scaling.alpha), rtol=1e-4, atol=1e-5
    )
    assert found.curve["loss"].iloc[0] == pytest.approx(expected.curve["loss"].iloc[0], rel=1e-5)


def test_offloaded_weights_are_not_folded(both):
    with pytest.raises(InputError, match="offloaded"):
        fold(both[1].model, ScalingFactors(NEURONS, torch.zeros(4).numpy()))


@pytest.mark.parametrize("family", ["llama", "gpt2", "opt", "qwen3_moe"])
def test_every_weight_has_a_place_and_layers_follow_each_other(family):
    model = tiny.model(family)
    size = sum(weight.numel() for weight in model.parameters()) * 4
    spread = device_map(model, {0: size * 9 // 10, 1: size // 2}, torch.float32)
    placed = [
        next((spread[name] for name in spread if weight == name or weight.startswith(f"{name}.")), None)
        for weight, _ in [*model.named_parameters(), *model.named_buffers()]
    ]
    assert None not in placed
    layers = [device for name, device in spread.items() if name.rpartition(".")[2].isdigit()]
    assert layers == [0, 1]
    assert {device for name, device in spread.items() if not name.rpartition(".")[2].isdigit()} == {0}
    assert set(device_map(model, {0: 2 * size, "cpu": size}, torch.float32).values()) == {0}
    assert "cpu" in device_map(model, {0: size * 9 // 10, "cpu": size}, torch.float32).values()
    with pytest.raises(InputError, match=r"GiB of weights.*runtime\.max_memory"):
        device_map(model, {0: size // 3, 1: size // 9}, torch.float32)


@pytest.mark.parametrize(
    ("name", "told"),
    [("cuda:0,cuda:7", "'cuda:0' is not available"), ("cpu,cpu", "twice"), ("cpu,cuda:0", "cuda:0' is not available"),
     ("cuda:0,nonsense", "not available"), ("cpu,mps", "not available"),
     ("", "is not a device"), ("cuda:0,", "not available")],
)  # fmt: skip
def test_devices_that_are_not_there(name, told):
    with pytest.raises(InputError, match=told):
        devices.choose_devices(name)


def test_auto_takes_all_cards_and_the_processor_last(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (10 << 30, 20 << 30))
    found = devices.choose_devices("auto")
    assert list(map(str, found)) == ["cuda:0", "cuda:1", "cpu"]
    assert devices.choose_devices("cuda:1,cuda:0")[0] == torch.device("cuda:1")
    with pytest.raises(InputError, match="twice"):
        devices.choose_devices("cuda,cuda:0")
    assert devices.memory_of(devices.choose_devices("cuda,cpu"), {"cuda:0": 3.0})[0] == 3 << 30
    with pytest.raises(InputError, match="name cpu last"):
        devices.choose_devices("cpu,cuda:0")
    memory = devices.memory_of(found, {"cuda:1": 2.0})
    assert list(memory) == [0, 1, "cpu"]
    assert (memory[0], memory[1]) == (7 << 30, 2 << 30)


def test_a_fake_split_is_loaded(monkeypatch, tmp_path):
    """The map of two cards, with the processor as the first and the disk as the second."""

    def dispatched(model, spread):
        names = {0: "cpu", 1: "disk"}
        return dispatch_model(model, {part: names[place] for part, place in spread.items()}, offload_dir=str(tmp_path))

    two = (torch.device("cuda:0"), torch.device("cuda:1"))
    monkeypatch.setattr(placement, "dispatch_model", dispatched)
    monkeypatch.setattr(placement, "memory_of", lambda *_: {0: 120_000, 1: 60_000})
    reference = describe(ModelConfig(name="random:llama"))
    spread = load(reference, str(tmp_path), two)
    assert spread.device == two[0]
    assert {weight.is_meta for weight in spread.model.parameters()} == {True, False}
    alone = load(reference, str(tmp_path), torch.device("cpu"))
    moved = ChatModel(spread.model, spread.tokenizer, torch.device("cpu"))
    assert respond(moved, ["Hello"], 8) == respond(alone, ["Hello"], 8)


def test_memory_of_a_device_that_is_not_used_is_told():
    check_memory((torch.device("cuda", 0), torch.device("cpu")), {"cuda:0": 10.0, "cpu": 4.0})
    with pytest.raises(InputError, match=r"runtime\.max_memory: 'cuda:1' is not a device of .*among cuda:0, cpu"):
        check_memory((torch.device("cuda", 0), torch.device("cpu")), {"cuda:1": 10.0})


def test_a_limit_that_one_device_would_ignore_is_told(tmp_path):
    reference = describe(ModelConfig(name="random:llama"))
    with pytest.raises(
        InputError, match=r"runtime\.max_memory: .*'cpu': 0\.01.* one device, cpu; set it to \{\}, or name"
    ):
        load(reference, str(tmp_path), torch.device("cpu"), max_memory={"cpu": 0.01})


SPLITS = {
    "card and processor": {0: torch.device("cpu"), 1: "cpu", "cpu": "cpu"},
    "processor and disk": {0: "cpu", 1: "disk"},
    "two cards": {0: torch.device("cpu"), 1: torch.device("cpu")},
}
"""What stands for two devices: but for two cards, weights of the second are brought to the first, layer by layer."""


def saved(folder: Path, family: str) -> ModelReference:
    tiny.model(family).save_pretrained(folder)
    tiny.tokenizer().save_pretrained(folder)
    return describe(ModelConfig(name=str(folder)))


def two_devices(monkeypatch: pytest.MonkeyPatch, split: str, memory: dict[int | str, int]) -> list[dict[str, Any]]:
    """Let two cards be what `SPLITS` names; returns the list of what weights are loaded with."""
    own, read, told = placement.device_map, AutoModelForCausalLM.from_pretrained, []

    def fake_map(*arguments: Any) -> dict[str, Any]:
        return {part: SPLITS[split][place] for part, place in own(*arguments).items()}

    def noted(*arguments: Any, **settings: Any) -> Any:
        told.append(settings)
        return read(*arguments, **settings)

    monkeypatch.setattr(placement, "device_map", fake_map)
    monkeypatch.setattr(placement, "memory_of", lambda *_: memory)
    monkeypatch.setattr(loading.AutoModelForCausalLM, "from_pretrained", noted)
    return told


def on_processor(chat: ChatModel) -> ChatModel:
    return ChatModel(chat.model, chat.tokenizer, torch.device("cpu"))


TWO = (torch.device("cuda:0"), torch.device("cuda:1"))


@pytest.mark.parametrize("fits", [True, False])
def test_auto_offloads_what_does_not_fit_on_a_single_gpu(monkeypatch, tmp_path, fits):
    reference = saved(tmp_path / "model", "llama")
    alone = load(reference, str(tmp_path), torch.device("cpu"))
    size = devices.weight_bytes(alone.model)
    told = two_devices(monkeypatch, "card and processor", {0: size if fits else size * 9 // 10, "cpu": size})
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    chosen = devices.choose_devices("auto")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    divided = on_processor(load(reference, str(tmp_path), chosen))
    assert any(weight.is_meta for weight in divided.model.parameters()) is not fits
    assert set(told[-1]["device_map"].values()) == {torch.device("cpu")} | (set() if fits else {"cpu"})
    assert respond(divided, ["Hello", "Hi there"], 8) == respond(alone, ["Hello", "Hi there"], 8)


def test_the_record_says_what_the_processor_is_for(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Card")
    one, processor = torch.device("cuda:0"), torch.device("cpu")
    assert devices.devices_in_words((one, processor)) == "cuda:0 (Card), cpu for layers that do not fit"
    assert devices.devices_in_words((processor,)) == "cpu"


@pytest.mark.parametrize(
    ("family", "split"),
    [("llama", "card and processor"), ("llama", "processor and disk"), ("qwen3_moe", "card and processor")],
)
def test_a_folder_is_read_straight_onto_its_devices(monkeypatch, tmp_path, family, split):
    """No weight of the second device's layers is ever the model's own on the first; the numbers are the same."""
    reference = saved(tmp_path / "model", family)
    alone = load(reference, str(tmp_path), torch.device("cpu"))
    size = sum(weight.nbytes for weight in alone.model.parameters())
    told = two_devices(monkeypatch, split, {0: size * 9 // 10, 1: size // 2})
    divided = on_processor(load(reference, str(tmp_path), TWO))
    assert set(map(str, told[-1]["device_map"].values())) == set(map(str, SPLITS[split].values()))
    held = sum(weight.nbytes for weight in divided.model.parameters() if not weight.is_meta)
    assert held < size * 9 // 10 and divided.batch_tokens == alone.batch_tokens
    config = AttributionConfig(response_tokens=2, nodes=2)
    expected, found = (attribute_shard(attacked()[:2], config, chat, memory_mib=64).table for chat in (alone, divided))
    torch.testing.assert_close(
        torch.tensor(found["score_sum"].to_numpy()), torch.tensor(expected["score_sum"].to_numpy()),
        rtol=1e-4, atol=1e-6,
    )  # fmt: skip
    with modulated(alone.model, FACTORS), modulated(divided.model, FACTORS):
        assert respond(divided, ["Hello", "Hi there"], 8) == respond(alone, ["Hello", "Hi there"], 8)


@pytest.mark.parametrize("bits", ["int8", "int4"])
@pytest.mark.parametrize("family", ["llama", "qwen3_moe", "gpt_oss"])
def test_a_folder_is_rounded_while_it_is_read_onto_its_devices(monkeypatch, tmp_path, family, bits):
    pytest.importorskip("torchao")
    plain = saved(tmp_path / "model", family)
    reference = plain.model_copy(update={"quantization": bits})
    alone = load(reference, str(tmp_path), torch.device("cpu"))
    size = devices.weight_bytes(alone.model)
    told = two_devices(monkeypatch, "two cards", {0: size * 9 // 10, 1: size // 2})
    divided = on_processor(load(reference, str(tmp_path), TWO))
    assert "quantization_config" in told[-1] and "device_map" in told[-1]
    expected = dict(alone.model.named_parameters())
    for name, weight in divided.model.named_parameters():
        assert devices.is_quantised(weight) == devices.is_quantised(expected[name]) and not weight.requires_grad, name
        for one, other in zip(*map(devices.stored_parts, (weight, expected[name])), strict=True):
            assert torch.equal(one, other), name
    table = attribute_shard(attacked()[:2], AttributionConfig(response_tokens=2, nodes=2), divided, 64).table
    assert table["score_sum"].abs().max() > 0


@pytest.mark.parametrize("bits", ["int8", "int4"])
def test_rounded_weights_stay_on_cards(bits):
    """Torchao's tensors cannot be brought from the processor: where cards are too small, it is told at once."""
    pytest.importorskip("torchao")
    model = tiny.model("llama").requires_grad_(False)
    quantise_layers(model, bits)
    size = devices.weight_bytes(model)
    with pytest.raises(InputError, match=r"runtime\.device: 0 may hold .*add a card, because weights of model\.quant"):
        device_map(model, {0: size * 9 // 10, "cpu": 9 * size}, torch.float32)
    assert set(device_map(model, {0: size, "cpu": size}, torch.float32).values()) == {0}


def test_a_weight_that_is_not_finite_is_told_where_it_is_offloaded(monkeypatch, tmp_path):
    reference = saved(tmp_path / "model", "llama")
    broken = tiny.model("llama")
    broken.model.layers[1].mlp.up_proj.weight.data[3, 4] = float("nan")
    broken.save_pretrained(tmp_path / "model")
    size = sum(weight.nbytes for weight in broken.parameters())
    two_devices(monkeypatch, "card and processor", {0: size * 9 // 10, 1: size // 2})
    with pytest.raises(InputError, match=r"model\.name: .*layers\.1\.mlp\.up_proj\.weight' holds NaN"):
        load(reference, str(tmp_path), TWO)


def test_devices_too_small_for_a_folder_are_told_before_a_weight_is_read(monkeypatch, tmp_path):
    reference = saved(tmp_path / "model", "llama")
    told = two_devices(monkeypatch, "card and processor", {0: 10_000, 1: 10_000})
    with pytest.raises(InputError, match=r"runtime\.device: 0, 1 may hold"):
        load(reference, str(tmp_path), TWO)
    assert not told
