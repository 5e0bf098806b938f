"""Counted operations against torch's counter; planned time, memory and disk against a run."""

import time

import pytest
import torch
from attribution_cases import DENSE, EXPERTS, encoded_pairs, prompt_pair, tiny_chat, tokens
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForCausalLM

from neurontune_core import tables
from neurontune_core.attribution import engine as engines
from neurontune_core.attribution import methods, prefix, setup
from neurontune_core.attribution.attention import attend
from neurontune_core.attribution.encode import EncodedPair
from neurontune_core.attribution.flops import check_flops, one_pass_flops, pair_flops, sizes_of
from neurontune_core.attribution.mask import PASSES
from neurontune_core.attribution.plan import Estimate, estimate
from neurontune_core.attribution.settings import AttributionConfig
from neurontune_core.attribution.shard import ShardScores, attribute_shard, in_shard
from neurontune_core.attribution.split import cut
from neurontune_core.errors import InputError
from neurontune_core.model import tiny
from neurontune_core.model.load import ChatModel
from neurontune_core.records import PromptPair


def tolerance(family: str) -> float:
    """Of latent attention the mean of keys' and values' channels is counted, not each where it is used."""
    return 0.05 if family.startswith("deepseek") else 0.01


@pytest.mark.parametrize(("position", "first"), [("last", 0), ("response", 0), ("last", 1)])
@pytest.mark.parametrize("family", DENSE + EXPERTS)
def test_counted_operations(family, position, first, monkeypatch):
    # torch's counter does not know the fused attention of CPUs, so that all attention is made of products here
    monkeypatch.setattr(prefix, "_whole_prompt", lambda query, key, value, rule: attend(query, key, value, None, rule))
    chat = tiny_chat(family, torch.float32)
    chat.model.set_attn_implementation("eager")
    engine = setup.build_engine(AttributionConfig(position=position, first_layer=first), chat, 1024)
    pair = EncodedPair("long", tokens(20, 1), tokens(60, 2), tokens(6, 3))
    for limit, with_difference in ((10**9, True), (6, False)):
        engine.budget.row_layers = limit
        with FlopCounterMode(display=False) as counter:
            engines.attribute(engine, [pair], with_difference)
        waves = cut(range(first, 3), 3, engine.points, limit)
        counted = pair_flops(sizes_of(chat.model), pair, waves, position == "response")
        counted += check_flops(sizes_of(chat.model), pair, range(first, 3)) if with_difference else 0
        assert counted == pytest.approx(counter.get_total_flops(), rel=tolerance(family))


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("method", ["gradient", "activation"])  # `mask` runs what `gradient` runs, several times
@pytest.mark.parametrize("family", DENSE + EXPERTS)
def test_counted_operations_of_the_other_methods(family, method, first):
    chat = tiny_chat(family, torch.float32)
    chat.model.set_attn_implementation("eager")
    config = AttributionConfig(method=method, first_layer=first)
    pair = EncodedPair("long", tokens(60, 1), tokens(20, 2), tokens(6, 3))
    ready = methods.build_method(config, chat)
    with FlopCounterMode(display=False) as counter:
        ready.score([pair], False)
    positions = methods.positions(config, pair)
    counted = one_pass_flops(sizes_of(chat.model), positions, 6, list(ready.layers), method == "gradient")
    assert counted == pytest.approx(counter.get_total_flops(), rel=tolerance(family))


def test_operations_grow_linearly_in_pairs_and_not_with_their_number_in_a_batch():
    chat = tiny_chat("llama", torch.float32)
    engine = setup.build_engine(AttributionConfig(), chat, 1024)
    pair = encoded_pairs()[0]
    counts = []
    for number in (1, 2, 4):
        with FlopCounterMode(display=False) as counter:
            engines.attribute(engine, [pair] * number)
        counts.append(counter.get_total_flops())
    assert counts == [counts[0], 2 * counts[0], 4 * counts[0]]


def planned_and_run(
    config: AttributionConfig, chat: ChatModel, pairs: list[PromptPair], monkeypatch: pytest.MonkeyPatch
) -> tuple[Estimate, list[ShardScores]]:
    """Return the plan and the three shards of a run, after a check that the run takes about the planned time.

    A billion counted floating point operations are a second here, so no machine's speed fails the test.
    """
    with FlopCounterMode(display=False) as counter, monkeypatch.context() as patched:
        patched.setattr(time, "perf_counter", lambda: counter.get_total_flops() / 1e9)
        plan = estimate(config, chat, pairs)
        started = time.perf_counter()
        shards = [attribute_shard(in_shard(pairs, shard, 3), config, chat) for shard in range(3)]
        seconds = time.perf_counter() - started
    assert 1 / 1.2 < plan.seconds / seconds < 1.2
    return plan, shards


def test_estimate_is_near_a_run(monkeypatch):
    chat = tiny_chat("llama", torch.float32, layers=2)
    pairs = [prompt_pair(number, role) for role in ("safety", "utility") for number in range(20)]
    config = AttributionConfig(shards=3)
    plan, shards = planned_and_run(config, chat, pairs, monkeypatch)
    assert (plan.pairs, plan.shards) == (40, 3)
    rows = sum(len(shard.table) for shard in shards)
    assert plan.disk_bytes == pytest.approx(rows * 20)


@pytest.mark.parametrize("method", ["gradient", "activation"])
def test_estimate_of_the_other_methods_is_near_a_run(method, monkeypatch):
    shape = tiny.configuration("llama")
    shape.update({"hidden_size": 192, "intermediate_size": 768, "num_hidden_layers": 4})
    model = AutoModelForCausalLM.from_config(shape).eval().requires_grad_(False)
    chat = ChatModel(model, tiny.tokenizer(), torch.device("cpu"))
    pairs = [prompt_pair(number, role) for role in ("safety", "utility") for number in range(20)]
    config = AttributionConfig(method=method, shards=3)
    plan, shards = planned_and_run(config, chat, pairs, monkeypatch)
    assert (plan.pairs, plan.shards) == (40, 3) and plan.flops > 0 and plan.memory_bytes > 500 << 20
    assert plan.disk_bytes == pytest.approx(sum(len(shard.table) for shard in shards) * 20)
    assert estimate(config, chat, pairs[:1]).pairs == 1


def test_planned_disk_is_the_size_of_a_table(tmp_path):
    chat = tiny_chat("llama", torch.float32, layers=2)
    table = attribute_shard([prompt_pair(number) for number in range(6)], AttributionConfig(), chat).table
    numbers = torch.randn(2, 200_000, dtype=torch.float64)
    large = table.sample(200_000, replace=True, random_state=0).assign(score_sum=numbers[0], score_sq_sum=numbers[1])
    large["neuron"] = torch.arange(200_000) % 1536
    tables.save_table(tmp_path, "part", large.sort_values("layer"))
    assert (tmp_path / "part.parquet").stat().st_size == pytest.approx(200_000 * 20, rel=0.2)


def test_planned_memory_grows_with_the_budget_up_to_what_one_wave_takes():
    chat, pairs = tiny_chat("llama", torch.float32, layers=2), [prompt_pair(0)]
    settings = AttributionConfig(nodes=64)
    sizes = [estimate(settings, chat, pairs, memory_mib).memory_bytes for memory_mib in (1, 64, 128)]
    assert sizes[0] < sizes[1] == sizes[2]


def test_nothing_to_plan_is_an_error():
    with pytest.raises(InputError, match="nothing to plan"):
        estimate(AttributionConfig(), tiny_chat("llama"), [])


def test_a_mask_costs_as_many_passes_as_it_runs():
    chat = tiny_chat("llama", torch.float32, layers=2)
    pairs = [prompt_pair(number, role) for role in ("safety", "utility") for number in range(2)]
    mask, gradient = (estimate(AttributionConfig(method=method), chat, pairs) for method in ("mask", "gradient"))
    assert mask.flops == pytest.approx(PASSES * gradient.flops)
