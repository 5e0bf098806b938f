"""What a model hub reads of a model card: base model, licence, datasets, and results with their intervals."""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub.repocard_data import EvalResult, eval_results_to_model_index

from neurontune_core.data import specification
from neurontune_core.data_names import HUB, own_data
from neurontune_core.model import gguf
from neurontune_core.model.hub import model_card
from neurontune_core.model.packaged import PACKAGED
from neurontune_core.model.source import ModelReference
from neurontune_core.shown_text import group_in_words

UNKNOWN = "unknown"
"""The hub's own word for a licence that is not known."""


def base_fields(base: ModelReference) -> dict[str, str]:
    """Return `base_model`, the hub id or name of the base, and `license`, as the base itself states them."""
    scheme, _, name = base.name.rpartition(":")
    if scheme == "packaged":
        return {"base_model": PACKAGED[name].origin, "license": PACKAGED[name].licence}
    if base.revision:
        return {"base_model": base.name, "license": _stated(model_card(base.name, base.revision), "license")}
    place = Path(base.name)
    stated: Mapping[str, Any] = {}
    if gguf.is_gguf(base.name) and place.is_file():
        found = gguf.read_header(place).metadata
        repository = str(found.get("general.base_model.0.repo_url", "")).removeprefix("https://huggingface.co/")
        stated = {"base_model": repository, "license": found.get("general.license", "")}
    elif (place / "README.md").is_file():
        stated = _front_matter((place / "README.md").read_text(encoding="utf-8", errors="replace"))
    own = place.name if os.path.isabs(base.name) else base.name
    listed = stated.get("base_model")
    return {
        "base_model": str((listed[0] if isinstance(listed, list) and listed else listed) or own),
        "license": str(stated.get("license") or UNKNOWN),
    }


def dataset_ids(names: Iterable[str]) -> list[str]:
    """Return the hub ids of datasets, of those that are on the hub."""
    found = []
    for name in names:
        own = own_data(name)
        if own is not None and own.is_on_hub:
            found.append("/".join(own.place.removeprefix(HUB).split("/")[:2]))
        elif own is None and name in specification.dataset_names():
            found.append(specification.dataset(name).hub)
    return list(dict.fromkeys(filter(None, found)))


def model_index(title: str, rates: Sequence[Mapping[str, Any]], facts: Mapping[str, float]) -> list[dict[str, Any]]:
    """Return the tuned model's refusal rates and Safety-Utility F1, with 95% intervals, as the hub keeps results."""
    results = [
        _result(str(row["benchmark"]), "refusal_rate", "Refusal rate", row["rate"], row["low"], row["high"], row["n"])
        for row in rates
        if row["model"] == "tuned"
    ]
    if "eval/su_f1" in facts:
        score, low, high = (facts[f"eval/su_f1{end}"] for end in ("", "_low", "_high"))
        results.append(_result("all", "safety_utility_f1", "Safety-Utility F1", score, low, high))
    return eval_results_to_model_index(title, results) if results else []


def _result(
    dataset: str, metric: str, name: str, value: float, low: float, high: float, prompts: float | None = None
) -> EvalResult:
    interval: dict[str, Any] = {"confidence_interval": [round(low, 4), round(high, 4)], "confidence_level": 0.95}
    return EvalResult(
        task_type="text-generation",
        task_name="Refusal of harmful and harmless requests",
        dataset_type=f"neurontune/{dataset}",
        dataset_name=group_in_words(dataset),
        metric_type=metric,
        metric_name=f"{name}, 95% interval [{low:.3f}, {high:.3f}]",
        metric_value=round(float(value), 4),
        metric_args=interval | ({"prompts": int(prompts)} if prompts is not None else {}),
    )


def _stated(card: str, field: str) -> str:
    return str(_front_matter(card).get(field) or UNKNOWN)


def _front_matter(card: str) -> dict[str, Any]:
    found = re.match(r"\s*---\r?\n(.*?)\r?\n---", card, flags=re.DOTALL)
    try:
        fields = yaml.safe_load(found[1]) if found else {}
    except yaml.YAMLError:
        return {}
    return fields if isinstance(fields, dict) else {}
