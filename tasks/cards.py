"""The cards stage: what the strongest neurons write, and which prompts excite them."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from neurontune_core import artifacts, tables
from neurontune_core.baselines.storage import changed_model
from neurontune_core.cards import make
from neurontune_core.cards.card import NeuronCard, cards_of, cards_table
from neurontune_core.config import RuntimeConfig
from neurontune_core.errors import InputError
from neurontune_core.model.devices import choose_devices
from neurontune_core.model.load import ChatModel, load
from neurontune_core.model.source import ModelReference
from neurontune_core.records import Artifact, ScalingFactors
from tasks.baseline import changing_stage
from tasks.models import describe, loaded
from tasks.progress import tracker
from tasks.recording.mlflow_store import Tracking
from tasks.recording.runs import RecordedRun
from tasks.recording.tuned import base_of
from tasks.stage import StageRun, carry_out, stage_task

STAGE, RANKING = "cards", "ranking"
SETS = ("safety", "utility")
COUNT = 10
"""Neurons of each set in a run's own cards."""


def cards_key(count: int, pairs: Artifact, neurons: Artifact, model: ModelReference) -> str:
    """Return the content key of the cards of the first `count` neurons of each set."""
    return artifacts.stage_key(STAGE, make.VERSION, {"count": count}, model.identity, [pairs.digest, neurons.digest])


@stage_task(STAGE, cards_key)
def make_cards(count: int, pairs: Artifact, neurons: Artifact, model: ModelReference, run: StageRun) -> Artifact:
    """Describe the strongest neurons of each set."""
    return _made(count, pairs, neurons, run, loaded(model, run.runtime, working=False))


def has_ranking(neurons: Artifact) -> bool:
    """Tell whether a selection contains a ranking of its neurons; selections of earlier versions do not."""
    return f"{RANKING}.parquet" in artifacts.read_manifest(neurons)["files"]


def cards_in(cards: Artifact) -> list[NeuronCard]:
    """Return the cards of a finished stage."""
    return cards_of(tables.load_table(artifacts.open_folder(cards), STAGE))


def cards_of_run(run: RecordedRun, count: int, runtime: RuntimeConfig) -> list[NeuronCard]:
    """Return the cards of the first `count` neurons of each set of a run; if the run has fewer, they are made now.

    Args:
        run: a recorded run.
        count: how many of each set.
        runtime: the device to compute on; the result is kept beside the run's artifacts.

    Raises:
        InputError: the run selected no neurons or did not rank them, or its base model is no longer the same.
        ArtifactError: an artifact is gone or damaged.
    """
    neurons = run.artifact("selection")
    if not has_ranking(neurons):
        raise InputError(
            f"run {run.name} ({run.run_id}): its selection, made by an earlier version, does not rank its neurons; "
            f"run the pipeline again"
        )
    if STAGE in run.stages and artifacts.read_manifest(own := run.artifact(STAGE))["settings"]["count"] >= count:
        cards = cards_in(own)
    else:
        change = changing_stage(run.stages)
        known = changed_model(artifacts.open_folder(run.artifact(change))) if change in run.stages else None
        model = base_of(run, known) if known else describe(run.config.model)
        place = runtime.model_copy(update={"root": run.config.runtime.root})
        pairs, alone = run.artifact("pairs"), _loaded_alone(model, place)
        here = StageRun(cards_key(count, pairs, neurons, model), place, Tracking(uri=""))
        cards = cards_in(_made(count, pairs, neurons, here, alone))
    return [card for role in SETS for card in [card for card in cards if card.role == role][:count]]


@contextmanager
def _loaded_alone(model: ModelReference, runtime: RuntimeConfig) -> Iterator[ChatModel]:
    """Yield a loaded model outside of a run, where no Prefect server limits the use of the device."""
    devices = choose_devices(runtime.device)
    yield load(model, runtime.root, devices, max_memory=runtime.max_memory, batch_tokens=runtime.batch_tokens)


def factors_of_run(run: RecordedRun) -> ScalingFactors | None:
    """Return the factors a run learned, None where it has none."""
    return tables.load_scaling(artifacts.open_folder(run.artifact("scaling"))) if "scaling" in run.stages else None


def _made(
    count: int, pairs: Artifact, neurons: Artifact, run: StageRun, lent: AbstractContextManager[ChatModel]
) -> Artifact:
    def fill(folder: Path) -> Mapping[str, float]:
        opened = artifacts.open_folder(neurons)
        ranking = make.strongest(tables.load_table(opened, RANKING), tables.load_neurons(opened), count)
        prompts = tables.load_pairs(artifacts.open_folder(pairs))
        with lent as chat:
            cards = make.make_cards(ranking, prompts, chat, tracker(STAGE))
        tables.save_table(folder, STAGE, cards_table(cards))
        return {"neurons": float(len(cards))}

    return carry_out(STAGE, run, fill, {"count": count}, [pairs, neurons])
