"""Estimate the cost of attribution before a run: operations by formula, seconds from timing two pairs."""

import time
from collections.abc import Sequence, Set
from dataclasses import dataclass

from transformers import PreTrainedModel

from neurontune_core.attribution import methods
from neurontune_core.attribution import response_head as heads
from neurontune_core.attribution.completeness import WANTED_GAP
from neurontune_core.attribution.encode import EncodedPair
from neurontune_core.attribution.engine import attribute
from neurontune_core.attribution.flops import Sizes, check_flops, one_pass_flops, pair_flops, sizes_of
from neurontune_core.attribution.mask import PASSES
from neurontune_core.attribution.settings import AttributionConfig
from neurontune_core.attribution.setup import Engine, row_layer_limit
from neurontune_core.attribution.shard import checked_ids, in_shard
from neurontune_core.attribution.split import cut, row_layers
from neurontune_core.attribution.table import half_of
from neurontune_core.attribution.wavefront import Wave
from neurontune_core.errors import InputError
from neurontune_core.model.batches import bytes_per_token
from neurontune_core.model.devices import weight_bytes
from neurontune_core.model.load import ChatModel
from neurontune_core.records import PromptPair

LIBRARY_BYTES = {"cpu": 500 << 20}
"""Resident memory of Python with torch and transformers loaded; it does not count for a GPU."""
BYTES_PER_ROW = 20.0
"""Parquet bytes of a score table's row: two float64 sums, which do not compress, and a little for the other columns."""


@dataclass(frozen=True)
class Estimate:
    """The estimated cost of attributing all pairs.

    Attributes:
        pairs: number of pairs.
        shards: number of shards.
        flops: floating-point operations of all pairs.
        seconds: time of all shards in succession on this machine, without loading the model.
        seconds_per_pair: mean time of a pair.
        memory_bytes: peak memory of the process (on a GPU: of the device): weights, activations, shared prefix, logits.
        disk_bytes: size of all shard tables.
    """

    pairs: int
    shards: int
    flops: float
    seconds: float
    seconds_per_pair: float
    memory_bytes: int
    disk_bytes: int


def estimate(
    config: AttributionConfig, chat: ChatModel, pairs: Sequence[PromptPair], memory_mib: int | None = None
) -> Estimate:
    """Return the estimated cost of attributing `pairs` (the result of `choose_pairs`).

    Raises:
        InputError: there are no pairs, or the model cannot be attributed.
    """
    if not pairs:
        raise InputError("pairs: no pair can be attributed, so there is nothing to plan; check pairs.harmful")
    started = time.perf_counter()
    method = methods.build_method(config, chat, memory_mib)
    seconds_to_build = time.perf_counter() - started
    sizes = sizes_of(chat.model)
    encoded = dict(zip((pair.id for pair in pairs), methods.encode_pairs(pairs, config, chat), strict=True))
    shards = [in_shard(pairs, shard, config.shards) for shard in range(config.shards)]
    together = [batch for mine in shards for batch in _batches(method, [encoded[pair.id] for pair in mine])]
    if method.engine is None:
        cost = _one_pass(config, chat, method, sizes, together)
    else:
        cost = _integral(method.engine, sizes, together, {name for mine in shards for name in checked_ids(mine)})
    return Estimate(
        pairs=len(pairs),
        shards=config.shards,
        flops=cost.flops,
        seconds=cost.seconds + config.shards * seconds_to_build,
        seconds_per_pair=cost.seconds / len(pairs),
        memory_bytes=cost.memory_bytes,
        disk_bytes=_disk(config, pairs, sum(method.layers.values())),
    )


@dataclass(frozen=True)
class _Cost:
    """Operations and seconds of all batches, and the peak memory of the largest."""

    flops: float
    seconds: float
    memory_bytes: int


def _integral(engine: Engine, sizes: Sizes, together: Sequence[Sequence[EncodedPair]], checked: Set[str]) -> _Cost:
    """Return the cost of integrated gradients.

    Three runs calibrate the estimate: the cheapest batch, to warm up; the batch of median cost; and the cheapest batch
    again with the completeness check. (On a CPU a batch is one pair.) They also show how much work it is to integrate
    layers with a bent path again.
    """
    ranked = sorted(together, key=lambda batch: _flops(engine, sizes, batch))
    cheapest, middle = ranked[0], ranked[len(ranked) // 2]
    attribute(engine, cheapest)
    seconds, ran = _calibrate(engine, sizes, middle)
    rate = seconds / ran
    # the completeness check uses a wider number format, whose speed depends on the device
    seconds, ran_too = _calibrate(engine, sizes, cheapest, with_difference=True)
    check_rate = max(seconds - rate * ran_too, 0.0) / _check_flops(engine, sizes, cheapest)
    # layers whose path bends are integrated again; the work for this is known only for the two batches
    again = (ran + ran_too) / (_flops(engine, sizes, middle) + _flops(engine, sizes, cheapest))
    total = again * sum(_flops(engine, sizes, batch) for batch in together)
    checks = sum(_check_flops(engine, sizes, batch) for batch in together if any(pair.id in checked for pair in batch))
    return _Cost(total + checks, rate * total + check_rate * checks, _memory(engine, sizes, together))


def _one_pass(
    config: AttributionConfig,
    chat: ChatModel,
    method: methods.ReadyMethod,
    sizes: Sizes,
    together: Sequence[Sequence[EncodedPair]],
) -> _Cost:
    """Return the cost of a method that runs one text a pair, once or several times.

    The pair of median length is run to warm up, then alone, then twice in one batch. This gives the cost of a batch and
    the cost of each further pair.
    """
    passes = PASSES if config.method == "mask" else 1

    def flops(pair: EncodedPair) -> float:
        length = methods.positions(config, pair)
        backward = config.method != "activation"
        return passes * one_pass_flops(sizes, length, len(pair.response), list(method.layers), backward)

    every = sorted((pair for batch in together for pair in batch), key=flops)
    middle = every[len(every) // 2]
    times = []
    for batch in ([middle], [middle], [middle, middle]):
        started = time.perf_counter()
        method.score(batch, False)
        times.append(time.perf_counter() - started)
    added = max(times[2] - times[1], 0.0)
    total = sum(map(flops, every))
    seconds = len(together) * max(times[1] - added, 0.0) + added / flops(middle) * total
    longest = max(len(batch) * max(methods.positions(config, pair) for pair in batch) for batch in together)
    kept = longest * bytes_per_token(chat.model)
    return _Cost(total, seconds, _resident(chat.model) + kept)


def _batches(method: methods.ReadyMethod, pairs: Sequence[EncodedPair]) -> list[list[EncodedPair]]:
    return [[pairs[place] for place in places] for places in method.batches(pairs)]


def _waves(engine: Engine, batch: Sequence[EncodedPair]) -> list[Wave]:
    layers = len(engine.widths)
    return cut(engine.layers, layers, engine.points, row_layer_limit(engine, _row_tokens(batch)))


def _row_tokens(batch: Sequence[EncodedPair]) -> int:
    return len(batch) * max(len(pair.response) for pair in batch)


def _flops(engine: Engine, sizes: Sizes, batch: Sequence[EncodedPair]) -> float:
    waves = _waves(engine, batch)
    return sum(pair_flops(sizes, pair, waves, engine.every_position) for pair in batch)


def _check_flops(engine: Engine, sizes: Sizes, batch: Sequence[EncodedPair]) -> float:
    return sum(check_flops(sizes, pair, engine.layers) for pair in batch)


def _calibrate(
    engine: Engine, sizes: Sizes, batch: Sequence[EncodedPair], with_difference: bool = False
) -> tuple[float, float]:
    """Return the seconds that a batch takes, and the operations of the waves that were run."""
    started = time.perf_counter()
    results = attribute(engine, batch, with_difference, WANTED_GAP)
    seconds = time.perf_counter() - started
    pairs = zip(batch, results, strict=True)
    return seconds, sum(pair_flops(sizes, pair, result.waves, engine.every_position) for pair, result in pairs)


def _memory(engine: Engine, sizes: Sizes, together: Sequence[Sequence[EncodedPair]]) -> int:
    layers = len(engine.widths)
    largest = 0.0
    for batch in together:
        rows = max(row_layers(wave, layers) for wave in _waves(engine, batch))
        prefix = len(batch) * max(len(pair.prompt) for pair in batch)
        kept = 2 * layers * prefix * sizes.key_value_channels * engine.model.dtype.itemsize
        largest = max(largest, rows * _row_tokens(batch) * engine.bytes_per_token_layer + kept)
    device = engine.device.type
    logits = heads.CHUNK_BYTES.get(device, heads.CHUNK_BYTES["cuda"])
    return _resident(engine.model) + int(largest) + logits


def _resident(model: PreTrainedModel) -> int:
    """Return the bytes of memory that libraries and weights take."""
    return LIBRARY_BYTES.get(model.device.type, 0) + weight_bytes(model)


def _disk(config: AttributionConfig, pairs: Sequence[PromptPair], neurons: int) -> int:
    groups = {
        (place % config.shards, pair.role, pair.attack_category, half_of(pair.id)) for place, pair in enumerate(pairs)
    }
    return int(len(groups) * neurons * BYTES_PER_ROW)
