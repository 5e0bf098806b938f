"""What is counted before a run is what the run then does."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch

from neurontune_core.config import RuntimeConfig, load_config
from neurontune_core.costs import plan as planning
from neurontune_core.costs.place import Place
from neurontune_core.costs.speed import measure_speed
from neurontune_core.costs.stages import evaluation_work, scaling_work
from neurontune_core.costs.work import Work, generating, reading_work
from neurontune_core.model import devices, tiny
from neurontune_core.model.devices import weight_bytes
from neurontune_core.model.generate import generate
from neurontune_core.model.likelihood import TokenSequence, response_log_probabilities
from neurontune_core.model.load import ChatModel
from neurontune_core.records import NeuronId, NeuronSet, PromptPair
from neurontune_core.scaling.learn import learn_scaling
from neurontune_core.scaling.problem import Problem

SHARED = list(range(60))


@pytest.fixture
def chat() -> ChatModel:
    return ChatModel(tiny.model("llama").requires_grad_(False), tiny.tokenizer(), torch.device("cpu"), batch_tokens=400)


@contextmanager
def passes(chat: ChatModel) -> Iterator[list[tuple[int, int, bool]]]:
    """Note rows, positions, and whether gradients are kept, of every pass of the model."""
    seen: list[tuple[int, int, bool]] = []

    def note(module, inputs, settings):
        rows, positions = settings["input_ids"].shape
        seen.append((rows, positions, torch.is_grad_enabled()))

    hook = chat.model.base_model.register_forward_pre_hook(note, with_kwargs=True)
    yield seen
    hook.remove()


def prompts(count: int) -> list[list[int]]:
    generator = torch.Generator().manual_seed(0)
    own = [torch.randint(0, 200, (5 + 7 * i,), generator=generator).tolist() for i in range(count)]
    return [SHARED + each if i % 2 else each for i, each in enumerate(own)]


def test_work_of_generation(chat):
    asked = prompts(9)
    small = replace(chat, batch_tokens=20)
    expected = generating(asked, 4, small.generation_tokens)
    end = chat.end_tokens[0]
    with passes(chat) as seen:
        generate(small, asked, 4, choose=lambda logits, places: torch.full_like(logits.argmax(-1), end + 1))
    written = [rows for rows, positions, _ in seen if positions == 1]
    assert expected.forward == sum(rows * positions for rows, positions, _ in seen if positions > 1)
    assert (expected.steps, expected.rows) == (len(written), sum(written))


def test_work_of_reading(chat):
    sequences = [TokenSequence(prompt, [1, 2]) for prompt in prompts(9)]
    with passes(chat) as seen:
        response_log_probabilities(replace(chat, batch_tokens=200), sequences)
    counted = reading_work([sequence.tokens for sequence in sequences], 200)
    assert counted.forward == pytest.approx(sum(rows * positions for rows, positions, _ in seen), rel=0.05)


def pairs() -> list[PromptPair]:
    return [
        PromptPair(
            id=f"{role}{split}{number}{attack}", role=role, query_id=f"{role}{split}{number}", query=f"How {number}?",
            query_category="c", prompt=f"{attack} how {number}?".strip(), response="No.",
            attack_type="t" * bool(attack), attack_category=attack[:1], attack_name=attack, selected=bool(attack),
            source="s", split=split,
        )
        for role in ("safety", "utility") for split in ("train", "validation", "test") for number in range(6)
        for attack in ("", "actor one", "base64")
    ]  # fmt: skip


@pytest.mark.parametrize("method", ["margin_fit", "maml"])
def test_work_of_scaling(method, chat):
    small = ["steps=3", "harmful_batch=4", "harmless_batch=4", "validations=0"]
    small += ["refusal_openings=Sorry"] if method == "margin_fit" else ["support_batch=2"]
    config = load_config("tiny", [f"scaling.method={method}", *(f"scaling.{each}" for each in small)])
    neurons = NeuronSet((NeuronId(0, 3),), (NeuronId(1, 2),))
    expected = scaling_work(config, pairs(), chat, 2)
    with passes(chat) as seen:
        learn_scaling(Problem(chat, neurons, pairs()), config.scaling)
    differentiated = sum(rows * positions for rows, positions, gradient in seen if gradient)
    assert expected.work.gradient == pytest.approx(differentiated, rel=0.15)
    assert expected.trained


def test_what_depends_on_the_settings(chat):
    def work(*settings: str):
        return scaling_work(load_config("tiny", settings), pairs(), chat, 2).work

    once = work()
    assert work("scaling.steps=4").gradient == pytest.approx(2 * once.gradient, rel=0.2)
    assert work("scaling.validations=0").rows < once.rows
    assert work("baseline.method=system_prompt").gradient == 0
    assert work("baseline.method=lora").gradient == pytest.approx(once.gradient)
    assert work("baseline.method=lora", "baseline.trials=3").gradient == pytest.approx(3 * once.gradient)
    assert work("baseline.method=steering", "baseline.trials=9").rows == work("baseline.method=steering").rows
    few, many = (work("baseline.method=steering", f"baseline.trials={trials}").rows for trials in (2, 20))
    assert few < work("baseline.method=steering").rows < many
    assert work("scaling.method=dial").rows > 4 * work("scaling.refusal_openings=Sorry").rows


@pytest.mark.parametrize("method", ["margin_fit", "maml"])
def test_nothing_to_learn_is_planned_too(method, chat):
    config = load_config("tiny", [f"scaling.method={method}", "scaling.steps=0"])
    learned = scaling_work(config, pairs(), chat, 2)
    assert not learned.trained and learned.work.gradient == 0
    speed = measure_speed(chat, NeuronSet((NeuronId(0, 3),), ()), prompts(4), learned.trained)
    assert speed.gradient == 0 and speed.forward > 0


def test_prompts_that_the_model_cannot_take_are_no_work(chat):
    config = load_config("tiny", ["evaluation.max_new_tokens=4", "evaluation.prompts_per_benchmark=100"])
    long = [
        replace(pair, id="long", query_id="long", prompt="word " * 5000) for pair in pairs() if pair.split == "test"
    ][:1]
    expected, found = (evaluation_work(config, given, chat, None) for given in (pairs()[1:], [*pairs()[1:], *long]))
    assert (found.answers, sorted(found.asked)) == (expected.answers, sorted(expected.asked))
    assert max(map(len, found.asked)) < 1000


@contextmanager
def lent(chat: ChatModel) -> Iterator[ChatModel]:
    yield chat


def test_the_copy_of_the_weights_for_vllm_is_on_disk_once_at_a_time(chat):
    @contextmanager
    def lend(working):
        yield chat

    few = ["evaluation.max_new_tokens=4", "scaling.steps=0", "attribution.response_tokens=1"]
    own, by_vllm = (
        planning.plan(load_config("tiny", [*few, f"evaluation.engine={engine}"]), pairs(), (1.0, 1), lend)
        for engine in ("transformers", "vllm")
    )
    copy = sum(weight.nbytes for weight in set(chat.model.parameters()))
    assert {row.stage: row.temporary_bytes for row in by_vllm.stages if row.temporary_bytes} == dict.fromkeys(
        ("base", "tuned"), copy
    )
    assert (own.total.temporary_bytes, by_vllm.total.temporary_bytes) == (0, copy)
    assert own.total.disk_bytes == by_vllm.total.disk_bytes


def test_the_evaluated_model_is_loaded_and_timed_on_its_own(chat, monkeypatch):
    """With `model.evaluate_full` the stages that measure ask the unrounded model, which is loaded for them."""
    config = load_config("tiny", ["evaluation.max_new_tokens=4", "scaling.steps=0", "attribution.response_tokens=1"])
    monkeypatch.setattr(planning, "process_bytes", lambda model: 7 << 20)
    full, lent = replace(chat, model=tiny.model("qwen2").requires_grad_(False)), []

    @contextmanager
    def lend(which, name):
        lent.append(name)
        yield which

    own, other = (
        planning.plan(config, pairs(), (1.0, 1), lambda working: lend(chat, working), lend_evaluated=evaluated)
        for evaluated in (None, lambda: lend(full, "full"))
    )
    assert lent == [False, True, False, True, "full"]
    assert own.export.memory_bytes == (7 << 20) + 8 * sum(weight.numel() for weight in chat.model.parameters())
    assert [row.stage for row in own.stages] == [row.stage for row in other.stages]
    apart = weight_bytes(full.model) - weight_bytes(chat.model)
    for before, after in zip(own.stages, other.stages, strict=True):
        moved = after.memory_bytes - before.memory_bytes
        assert moved == apart if after.stage in ("evaluation", "report") else True, after.stage
        assert moved == 0 if after.stage in ("pairs", "attribution", "selection", "cards", "scaling") else True
    assert apart > 0


def test_each_device_holds_what_the_map_puts_there():
    """Offloaded layers are no memory of a GPU, and of several GPUs the fullest one counts."""
    model = tiny.model("llama").requires_grad_(False)
    whole, layer = weight_bytes(model), sum(weight.nbytes for weight in model.model.layers[1].parameters())
    alone = Place.of(model, 5)
    assert (alone.peak(Work()), alone.weights) == ((5 + whole, 0), whole)
    rest = {"model.embed_tokens": 0, "model.layers.0": 0, "model.norm": 0, "model.rotary_emb": 0, "lm_head": 0}
    for second, process, card in (
        ("cpu", layer, whole - layer),
        (1, 0, max(layer, whole - layer)),
        ("disk", 0, whole - layer),
    ):
        model.hf_device_map = rest | {"model.layers.1": second}
        assert Place.of(model, 5).peak(Work(), 7) == (5 + process, card + 7), second


def test_the_pairs_need_memory_for_answers_and_the_judges_not_counted_are_named(chat, monkeypatch):
    monkeypatch.setattr(planning, "process_bytes", lambda model: 7 << 20)
    few = ["evaluation.max_new_tokens=4", "scaling.steps=0", "attribution.response_tokens=1"]
    config = load_config("tiny", [*few, "evaluation.also_judges=[keyword, wildguard=folder]"])
    found = planning.plan(config, pairs(), (1.0, 1), lambda working: lent(chat))
    assert found.uncounted == ("wildguard",), "no row has the model of a judge"
    rows = {row.stage: row for row in found.stages}
    assert rows["pairs"].memory_bytes > rows["report"].memory_bytes == (7 << 20) + weight_bytes(chat.model)


@pytest.mark.parametrize(
    ("runner", "workers", "rounds", "memory", "card"),
    [
        ("threads", 3, 6, 7 + 30, 40 + 2),
        ("processes", 1, 6, (7 + 30) + (1 + 30), 40 + (40 + 2)),
        ("processes", 3, 3, (7 + 30) + 3 * (1 + 30), 40 + 2 * (40 + 2)),
        ("dask", 2, 3, (7 + 30) + 2 * (1 + 30), 40 + (40 + 2)),
        ("processes", 9, 3, (7 + 30) + 6 * (1 + 30), 40 + 3 * (40 + 2)),
    ],
)
def test_every_worker_process_has_a_model_and_two_cards_halve_the_rounds(
    runner, workers, rounds, memory, card, monkeypatch
):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setitem(planning.LIBRARY_BYTES, "cpu", 1)
    runtime = RuntimeConfig(device="cuda", runner=runner, workers=workers)
    place = Place(loading=30, here=0, card=40, weights=40, token_bytes=1, process=7)
    assert planning.in_workers(runtime, 6, place, 2) == (rounds, (memory, card))


def test_workers_on_one_processor_share_its_speed_and_each_has_a_model(monkeypatch):
    monkeypatch.setitem(planning.LIBRARY_BYTES, "cpu", 1)
    place = Place(loading=30, here=30, card=0, weights=30, token_bytes=1, process=7)
    found = planning.in_workers(RuntimeConfig(device="cpu", runner="processes", workers=2), 6, place, 2)
    assert found == (6, ((7 + 30) + 2 * (1 + 30 + 2), 0))
    elsewhere = RuntimeConfig(device="cpu", runner="dask", workers=2, dask_address="tcp://host:8786")
    assert planning.in_workers(elsewhere, 6, place, 2) == (6, (7 + 30 + 2, 0))


def test_the_row_of_attribution_counts_the_workers(chat, monkeypatch):
    monkeypatch.setattr(planning, "process_bytes", lambda model: 7 << 20)
    few = ["evaluation.max_new_tokens=4", "scaling.steps=0", "attribution.response_tokens=1", "attribution.shards=2"]
    memory = [
        planning.plan(
            load_config("tiny", [*few, f"runtime.runner={runner}", "runtime.workers=2"]),
            pairs(), (1.0, 1), lambda working: lent(chat),
        ).stages[1].memory_bytes
        for runner in ("threads", "processes")
    ]  # fmt: skip
    assert memory[1] - memory[0] > planning.LIBRARY_BYTES["cpu"] + weight_bytes(chat.model)


def test_a_model_is_read_unrounded_before_it_is_rounded(monkeypatch):
    """On one device the processor's memory holds the unrounded weights first, whatever is left of them afterwards."""
    model = tiny.model("llama").requires_grad_(False)
    whole = weight_bytes(model)
    monkeypatch.setattr(devices, "stored_parts", lambda weight: [weight.flatten()[: weight.numel() // 4]])
    rounded = Place.of(model, 5)
    assert 3 * rounded.weights < whole and rounded.peak(Work()) == (5 + whole, 0)
    more = whole - rounded.weights + 9
    assert rounded.peak(Work(), more) == (5 + whole + 9, 0)
