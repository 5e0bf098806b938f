"""The file format of each kind of result: parquet for tables, safetensors for factors."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from safetensors import safe_open
from safetensors.numpy import save_file

from neurontune_core.records import Message, NeuronId, NeuronSet, PromptPair, ScalingFactors

PAIRS, NEURONS, ALPHA = "pairs.parquet", "neurons.parquet", "alpha.safetensors"


def save_table(folder: Path, name: str, table: pd.DataFrame) -> None:
    """Write a table as `<name>.parquet`."""
    table.to_parquet(folder / f"{name}.parquet", index=False)


def load_table(folder: Path, name: str) -> pd.DataFrame:
    """Read the table `<name>.parquet`."""
    return pd.read_parquet(folder / f"{name}.parquet")


def save_pairs(folder: Path, pairs: Sequence[PromptPair]) -> None:
    """Write pairs as `pairs.parquet`; the history is a list of messages, each with `role` and `content`."""
    columns = [field.name for field in fields(PromptPair)]
    pd.DataFrame([asdict(pair) for pair in pairs], columns=columns).to_parquet(folder / PAIRS, index=False)


def load_pairs(folder: Path) -> list[PromptPair]:
    """Read pairs from `pairs.parquet`; those written before there were conversations have no history."""
    rows: list[dict[Any, Any]] = pd.read_parquet(folder / PAIRS).to_dict("records")
    return [PromptPair(**row | {"history": messages(row.get("history", ()))}) for row in rows]


def messages(rows: Iterable[Mapping[str, str]]) -> tuple[Message, ...]:
    """Return messages from the objects they are in a table."""
    return tuple(Message(**row) for row in rows)  # type: ignore[arg-type]  # only messages are written


def save_neurons(folder: Path, neurons: NeuronSet) -> None:
    """Write selected neurons as `neurons.parquet`, in the order of `NeuronSet.all`."""
    roles = ["safety"] * len(neurons.safety) + ["utility"] * len(neurons.utility)
    table = pd.DataFrame(
        {"role": roles, "layer": [n.layer for n in neurons.all], "index": [n.index for n in neurons.all]}
    )
    table.to_parquet(folder / NEURONS, index=False)


def load_neurons(folder: Path) -> NeuronSet:
    """Read selected neurons from `neurons.parquet`."""
    table = pd.read_parquet(folder / NEURONS)
    sets: dict[str, list[NeuronId]] = {"safety": [], "utility": []}
    for role, layer, index in table[["role", "layer", "index"]].itertuples(index=False):
        sets[role].append(NeuronId(int(layer), int(index)))
    return NeuronSet(tuple(sets["safety"]), tuple(sets["utility"]))


def save_scaling(folder: Path, scaling: ScalingFactors, model: str) -> None:
    """Write factors and neurons as `alpha.safetensors`, with the identity of the model they belong to."""
    neurons = scaling.neurons
    facts = {"format": 1, "model": model, "safety_neurons": len(neurons.safety)}
    save_file(
        {
            # safetensors would write a strided view's memory, not its values
            "alpha": np.ascontiguousarray(scaling.alpha, dtype=np.float32),
            "layer": np.array([neuron.layer for neuron in neurons.all], dtype=np.int32),
            "index": np.array([neuron.index for neuron in neurons.all], dtype=np.int32),
        },
        folder / ALPHA,
        metadata={"neurontune": json.dumps(facts)},  # one entry: safetensors writes several in random order
    )


def load_scaling(folder: Path) -> ScalingFactors:
    """Read factors from `alpha.safetensors`."""
    with safe_open(folder / ALPHA, framework="numpy") as file:
        alpha, layers, indices = (file.get_tensor(name) for name in ("alpha", "layer", "index"))
        count = json.loads(file.metadata()["neurontune"])["safety_neurons"]
    ids = [NeuronId(int(layer), int(index)) for layer, index in zip(layers, indices, strict=True)]
    return ScalingFactors(NeuronSet(tuple(ids[:count]), tuple(ids[count:])), alpha)


def scaling_model(folder: Path) -> str:
    """Return the identity of the model that the factors in `alpha.safetensors` belong to."""
    with safe_open(folder / ALPHA, framework="numpy") as file:
        return str(json.loads(file.metadata()["neurontune"])["model"])
