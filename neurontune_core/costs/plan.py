"""The estimated cost of every stage of a run: work from its settings and pairs, speed from a short calibration."""

import math
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import psutil
import torch
from transformers import PreTrainedModel

from neurontune_core.attribution import plan as attribution
from neurontune_core.attribution.plan import LIBRARY_BYTES
from neurontune_core.attribution.settings import first_layer
from neurontune_core.attribution.shard import choose_pairs
from neurontune_core.cards.activations import plain_prompts
from neurontune_core.config import PipelineConfig, RuntimeConfig, check_dial
from neurontune_core.costs.place import Place
from neurontune_core.costs.speed import Speed, measure_speed, reading_speed
from neurontune_core.costs.stages import (
    EVALUATIONS,
    Evaluated,
    Scaling,
    evaluation_work,
    scaling_work,
    selection_work,
)
from neurontune_core.costs.work import Work, generating, reading_work
from neurontune_core.evaluation.judging import model_judges
from neurontune_core.evaluation.public_sets import Library
from neurontune_core.model.devices import bytes_by_device
from neurontune_core.model.load import ChatModel, Conversion
from neurontune_core.model.source import CONVERSION
from neurontune_core.neurons import neuron_counts
from neurontune_core.records import NeuronSet, PromptPair, neurons_at
from neurontune_core.selection.select import resolve_count

SECONDS = {"task": 0.3, "row": 7e-7, "judged": 2.5e-3, "report": 0.7, "export_byte": 2e-9}
"""Seconds of work without a model: starting and recording a stage, merging a row of scores, judging an answer, writing
the report, copying a byte of an export."""
BYTES = {"row": 18, "ranked": 32, "answer": 400, "report": 750_000}
"""Bytes on disk of a row of merged scores, a selected neuron, an answer, and a report."""
RUN_BYTES = 1200 << 20
"""Measured least memory of a run's process: libraries, Prefect, MLflow, and memory kept after building the pairs."""
CHECKED_BYTES = 8
"""Bytes of a weight in the float64 copy on which an export is checked."""
Lend = Callable[[bool], AbstractContextManager[ChatModel]]
"""Yields the model in its exact number format, or with True in the working one."""


@dataclass(frozen=True)
class StageCost:
    """The estimated cost of a stage.

    Attributes:
        stage: its name.
        seconds: on this machine, including the loading of the model.
        memory_bytes: peak memory of the process, with its worker processes.
        card_bytes: peak memory of the accelerator, of several the one with most; 0 without one.
        disk_bytes: size of its artifact.
        money: in the unit of `runtime.price_per_hour`; None if no price is given.
        temporary_bytes: size on disk of what is deleted when the stage ends: the copy of the weights that vLLM reads,
            or copies of a GGUF file.
    """

    stage: str
    seconds: float
    memory_bytes: int
    card_bytes: int
    disk_bytes: int
    money: float | None = None
    temporary_bytes: int = 0


@dataclass(frozen=True)
class Plan:
    """The estimated cost of a run: the counts of attribution, and a row for each stage.

    `export` is a separate row: it is not a stage of a run, and the sums leave it out. `uncounted` are the judges whose
    models are in no row: neither their seconds nor their memory are estimated.
    """

    pairs: int
    shards: int
    flops: float
    stages: tuple[StageCost, ...]
    export: StageCost
    uncounted: tuple[str, ...] = ()

    @property
    def total(self) -> StageCost:
        """The whole run: sums of seconds, disk and money, and the highest peaks; stages run one after another."""
        money = [row.money for row in self.stages if row.money is not None]
        return StageCost(
            "run",
            sum(row.seconds for row in self.stages),
            max(row.memory_bytes for row in self.stages),
            max(row.card_bytes for row in self.stages),
            sum(row.disk_bytes for row in self.stages),
            sum(money) if money else None,
            max(row.temporary_bytes for row in self.stages),
        )

    def as_plain(self) -> dict[str, Any]:
        """Return the plan as plain data, ready for JSON."""
        return asdict(self) | {"stages": [asdict(row) for row in self.stages], "total": asdict(self.total)}


def plan(
    config: PipelineConfig,
    pairs: Sequence[PromptPair],
    made: tuple[float, int],
    lend: Lend,
    stored_bytes: int = 0,
    library: Library | None = None,
    lend_evaluated: Callable[[], AbstractContextManager[ChatModel]] | None = None,
    converted: Conversion | None = None,
) -> Plan:
    """Return the estimated cost of every stage of a run.

    Answers are assumed to have their maximum length, so a model with shorter answers is faster.

    Args:
        config: the configuration of the run.
        pairs: the pairs of its first stage.
        made: the seconds that the first stage took, and its bytes on disk.
        lend: yields the model.
        stored_bytes: size of the stored weights.
        library: the public datasets, if benchmarks name some.
        lend_evaluated: yields the unrounded model, if it is evaluated instead.
        converted: what the conversion into an ordinary folder took, if the model needs one.

    Raises:
        InputError: there is nothing to attribute, the model cannot be attributed, or the dial has other sets of
            neurons.
    """
    check_dial(config)
    chosen = choose_pairs(pairs, config.attribution)
    started = time.perf_counter()
    with lend(False) as chat:
        loading = time.perf_counter() - started
        process = process_bytes(chat.model)
        first = attribution.estimate(config.attribution, chat, chosen, config.runtime.memory_mib)
        exact, widths = Place.of(chat.model, process), neuron_counts(chat.model)
        weights = sum(weight.numel() for weight in chat.model.parameters())
        prompts = [chat.prompt_tokens(pair.conversation) for pair in plain_prompts(pairs)]
        card_work = reading_work(prompts, chat.batch_tokens)
        answered = generating(prompts, config.pairs.response_tokens, chat.generation_tokens)
        card_seconds = reading_speed(chat, prompts).seconds(card_work)
    activations = first.memory_bytes - exact.weights - (0 if exact.card else LIBRARY_BYTES["cpu"])
    peak = exact.peak(Work(), activations)
    rounds, shared = in_workers(config.runtime, config.attribution.shards, exact, activations)
    rows = [_converting(converted, process)] if converted else []
    rows.append(_row("pairs", made[0], exact.peak(card_work + answered), made[1]))
    seconds = loading + first.seconds * rounds / config.attribution.shards
    rows.append(_row("attribution", seconds, shared, first.disk_bytes, config.attribution.shards))
    scored = sum(widths[first_layer(config.attribution, len(widths)) :]) * _groups(chosen)
    rows.append(_row("scores", scored * SECONDS["row"], peak, scored * BYTES["row"]))
    neurons = _stand_in(config, widths)
    started = time.perf_counter()
    with lend(True) as chat:
        working_loading = time.perf_counter() - started
        learned = scaling_work(config, pairs, chat, len(neurons.all))
        measured = evaluation_work(config, pairs, chat, library)
        speed = measure_speed(chat, neurons, measured.asked, learned.trained)
        place, count = Place.of(chat.model, process), len(neurons.all)
        rows += _finding(config, pairs, chat, learned, speed, place, loading + card_seconds, working_loading, count)
    again = 0.0
    if lend_evaluated:
        started = time.perf_counter()
        with lend_evaluated() as chat:
            again = time.perf_counter() - started
            speed = measure_speed(chat, neurons, measured.asked, ())
            place = Place.of(chat.model, process)
    rows += _measuring(measured, speed, place, again, config.evaluation.engine)
    price = config.runtime.price_per_hour
    writing = process + stored_bytes + weights * CHECKED_BYTES
    export = _row("export", stored_bytes * SECONDS["export_byte"], (writing, 0), stored_bytes)
    *priced, export = (_priced(row, price) for row in (*rows, export))
    judges = tuple(model_judges(config.evaluation))
    return Plan(len(chosen), config.attribution.shards, first.flops, tuple(priced), export, judges)


def _converting(converted: Conversion, process: int) -> StageCost:
    """Return the row of the conversion of a model, done once before the first stage that loads it.

    Its memory is what it was measured to hold: FP8 weights, above all of experts, take more than is read and written.
    """
    row = _row(CONVERSION, converted.seconds, (process + converted.memory_bytes, 0), converted.stored_bytes, 0)
    return replace(row, temporary_bytes=converted.temporary_bytes)


def in_workers(runtime: RuntimeConfig, shards: int, place: Place, activations: int) -> tuple[int, tuple[int, int]]:
    """Return in how many rounds the shards of attribution run, and the peak memory of all processes and of a GPU.

    Threads share one model, and use it one after the other. Every worker process has libraries and a model of its own,
    besides those of this process. Workers with a GPU each run at the same time; workers that share a device share its
    speed. The workers of a Dask scheduler are not known, so one is counted.
    """
    if runtime.runner == "threads" or runtime.dask_address is not None:
        return shards, place.peak(Work(), activations)
    workers = min(runtime.workers, shards)
    cards = max(1, torch.cuda.device_count()) if place.card and runtime.device in ("auto", "cuda") else 1
    own, card = replace(place, process=LIBRARY_BYTES["cpu"]).peak(Work(), activations)
    resting = place.resting
    return math.ceil(shards / min(workers, cards)), (
        resting[0] + workers * own,
        resting[1] + math.ceil(workers / cards) * card,
    )


def process_bytes(model: PreTrainedModel) -> int:
    """Return the memory of this process without a model: libraries, servers' clients, memory kept after the pairs."""
    here = sum(size for device, size in bytes_by_device(model).items() if not device.startswith(("cuda", "disk")))
    return max(RUN_BYTES, psutil.Process().memory_info().rss - here)


def _finding(
    config: PipelineConfig,
    pairs: Sequence[PromptPair],
    chat: ChatModel,
    learned: Scaling,
    speed: Speed,
    place: Place,
    card_seconds: float,
    loading: float,
    count: int,
) -> list[StageCost]:
    """Return the rows of selection, cards and scaling; `count` neurons are scaled."""
    knocked = selection_work(config, pairs, chat)
    stage = "scaling" if config.baseline.method == "none" else "baseline"
    slopes = int(learned.solved_bytes / max(1, _evaluations(config))) * 2
    solving = learned.solved_bytes / speed.bytes_per_second
    return [
        _row("selection", loading + speed.seconds(knocked), place.peak(knocked), count * BYTES["ranked"]),
        _row("cards", card_seconds, place.peak(Work(batch=chat.batch_tokens)), 16_000),
        _row(stage, loading + speed.seconds(learned.work) + solving, place.peak(learned.work, slopes), 12 * count),
    ]


def _measuring(measured: Evaluated, speed: Speed, place: Place, loading: float, engine: str) -> list[StageCost]:
    """Return the rows from the base model's answers to the report; `loading` is that of a model of their own."""
    answers = measured.answers
    own = {"base": answers * BYTES["answer"], "tuned": answers * BYTES["answer"], "base-ability": 20_000}
    rows = []
    for name, work in measured.work.items():
        seconds = speed.seconds(work) + (loading if name == "base" else 0.0)
        row = _row(name, seconds, place.peak(work), own.get(name, 8_000))
        copied = engine == "vllm" and name in ("base", "tuned")
        rows.append(replace(row, temporary_bytes=place.weights) if copied else row)
    rows.insert(2, _row("evaluation", 2 * answers * SECONDS["judged"], place.resting, answers * BYTES["answer"]))
    return [*rows, _row("report", SECONDS["report"], place.resting, BYTES["report"])]


def _evaluations(config: PipelineConfig) -> float:
    """Return how often the solves of a run evaluate their objective."""
    steps, iterations = getattr(config.scaling, "steps", 0), getattr(config.scaling, "iterations", 0)
    return float(steps * iterations * EVALUATIONS)


def _stand_in(config: PipelineConfig, widths: Sequence[int]) -> NeuronSet:
    """Return as many neurons as will be selected, evenly spread over the attributed layers."""
    total = sum(widths)
    safety, utility = (
        resolve_count(number, total) for number in (config.selection.safety_neurons, config.selection.utility_neurons)
    )
    start = sum(widths[: first_layer(config.attribution, len(widths))])
    places = np.unique(np.linspace(start, total - 1, safety + utility).astype(np.int64))
    chosen = neurons_at(places, widths)
    return NeuronSet(chosen[:safety], chosen[safety:])


def _groups(chosen: Sequence[PromptPair]) -> int:
    """Return the most rows of a neuron in the merged scores: one for each role, attack category, and half."""
    return 2 * len({(pair.role, pair.attack_category) for pair in chosen})


def _row(stage: str, seconds: float, peak: tuple[int, int], disk: float, tasks: int = 1) -> StageCost:
    return StageCost(stage, seconds + tasks * SECONDS["task"], peak[0], peak[1], int(disk))


def _priced(row: StageCost, price: float | None) -> StageCost:
    if price is None:
        return row
    return replace(row, money=row.seconds / 3600 * price)
