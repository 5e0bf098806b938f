"""The inputs of a run, checked before anything is computed."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from typing import NamedTuple

from prefect.utilities.annotations import quote

from flows.run_names import typed_name
from flows.runners import check_runner
from flows.stage_names import STAGES
from neurontune_core import artifacts
from neurontune_core.attribution.settings import first_layer
from neurontune_core.attribution.verify import check_attention
from neurontune_core.baselines.fit import check_baseline
from neurontune_core.config import PipelineConfig
from neurontune_core.data.library import PublicLibrary
from neurontune_core.errors import InputError
from neurontune_core.evaluation.evaluate import base_digests
from neurontune_core.evaluation.judging import judge_digests
from neurontune_core.model.devices import check_memory, choose_devices
from neurontune_core.model.quantised import check_library
from neurontune_core.model.settings import ModelConfig
from neurontune_core.model.source import ModelReference, skeleton
from neurontune_core.pairs.load import settings_of_reading
from neurontune_core.pairs.prepare import Prepared, prepare
from neurontune_core.pairs.settings import PairsConfig
from neurontune_core.run_name import run_name
from neurontune_core.selection.select import check_counts
from neurontune_core.shown_text import quoted
from neurontune_core.storage import check_root
from tasks.models import describe
from tasks.pairs import pairs_key
from tasks.recording.mlflow_store import tracking_uri
from tasks.recording.runs import LATEST

_data_read: ContextVar[dict[str, Prepared] | None] = ContextVar("data_read", default=None)
"""The data that a command or study has read, by the settings of the pairs; None outside `data_read_once`."""


class Inputs(NamedTuple):
    """A run's inputs, checked before anything is computed: model, data, and digests of public sets and judges.

    `prepared` is in a `quote`, so that Prefect does not look for results of other tasks in every query.
    """

    model: ModelReference
    prepared: quote
    sets: list[str]
    judges: list[str]

    @property
    def datasets(self) -> list[str]:
        """Digests of the data that the pairs are made of."""
        data: Prepared = self.prepared.unquote()
        return data.data.digests


def check_inputs(config: PipelineConfig) -> Inputs:
    """Find all bad input before a model is loaded: describe the model, and check counts, data files and device.

    Raises:
        InputError: an input does not exist or does not fit.
    """
    check_root(config.runtime.root)
    _check_name(config.runtime.name)
    if (typed := typed_name()) != run_name(config):  # for example in a form of Prefect
        _check_name(typed)
    check_runner(config.runtime)
    tracking_uri(config.runtime)
    if unknown := sorted(set(config.runtime.timeouts) - set(STAGES)):
        raise InputError(f"runtime.timeouts: unknown stage {unknown[0]!r}; choose among {', '.join(STAGES)}")
    prepared = _prepared(config.pairs)
    model = describe(config.model)
    if config.model.quantization != "none":
        key = pairs_key(config.pairs, prepared.data.digests, model)
        if artifacts.find(config.runtime.root, "pairs", key) is None:  # they are the first to need the rounded model
            check_library(config.model.quantization)
    if config.attribution.method == "integrated_gradients":
        _check_attention(config.model)
    first = first_layer(config.attribution, len(model.neurons_per_layer))
    check_counts(config.selection, model.neurons_per_layer, first)
    check_baseline(config.baseline, config.scaling)
    check_memory(choose_devices(config.runtime.device), config.runtime.max_memory)
    sets = base_digests(config.evaluation, PublicLibrary(config.evaluation))
    return Inputs(model, quote(prepared), sets, judge_digests(config.evaluation))


def _check_name(name: str) -> None:
    """Raise InputError for a name by which no command could find the run, or that would spoil a list of runs."""
    if name == LATEST:
        raise InputError(f"runtime.name: {LATEST!r} stands for the newest run; choose another name")
    if name.startswith("-"):
        raise InputError(f"runtime.name: {quoted(name)} would be read as an option; choose a name without '-' in front")
    if not name.isprintable():
        raise InputError(
            f"runtime.name: {quoted(name)} has a sign that cannot be shown; choose a name in one plain line"
        )
    if name != name.strip():
        raise InputError(f"runtime.name: {quoted(name)} begins or ends with a space; leave the space out")


@lru_cache(maxsize=8)
def _check_attention(model: ModelConfig) -> None:
    """Check that the attention of a model can be followed, once a process."""
    check_attention(skeleton(model))


@contextmanager
def data_read_once() -> Iterator[None]:
    """Inside this context data files are read and checked only once, for a command and its flow or for all variants.

    A command cannot pass the data to its flow as an argument, because Prefect stores a flow's arguments as JSON.
    """
    token = _data_read.set({})
    try:
        yield
    finally:
        _data_read.reset(token)


def _prepared(config: PairsConfig) -> Prepared:
    """Return the data of the pairs; inside `data_read_once` the same files are read, and data prepared, only once."""
    known, name = _data_read.get(), config.model_dump_json()
    if known is None:
        return prepare(config)
    if name not in known:
        wanted = settings_of_reading(config)
        known[name] = prepare(config, data=next((p.data for p in known.values() if p.data.settings == wanted), None))
    return known[name]
