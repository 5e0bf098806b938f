"""Convert artifacts and settings to MLflow's entities: metrics, curves, datasets, parameters."""

import json
import math
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from neurontune_core import artifacts, tables
from neurontune_core.records import Artifact
from tasks.recording import mlflow_spool

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput, Metric, Run

HEADLINE = ("eval/su_f1", "eval/safety", "eval/utility")
"""The metrics that are recorded first, which are MLflow's first columns."""
LONGEST_VALUE = 6000
"""MLflow cuts longer parameter values without a warning."""


def facts_of(artifact: Artifact) -> dict[str, float]:
    """Return the facts in an artifact's manifest."""
    facts: dict[str, float] = artifacts.read_manifest(artifact)["facts"]
    return facts


def metrics_of(stage: str, facts: Mapping[str, float], step: int = 0, model: str | None = None) -> "list[Metric]":
    """Return facts as metrics named `<stage>/<fact>`, the headline first; a fact with a slash keeps its name."""
    from mlflow.entities import Metric

    now = mlflow_spool.now()
    names = sorted(facts, key=lambda name: HEADLINE.index(name) if name in HEADLINE else len(HEADLINE))
    return [Metric(_metric_name(stage, name), float(facts[name]), now, step, model) for name in names]


def curve_of(artifact: Artifact) -> "list[Metric]":
    """Return the points of an artifact's training curve; none if it has no curve."""
    if "curve.parquet" not in artifacts.read_manifest(artifact)["files"]:
        return []
    curve = tables.load_table(artifacts.open_folder(artifact), "curve").select_dtypes("number")
    points = []
    for row in curve.to_dict("records"):
        values = {str(name): float(value) for name, value in row.items() if name != "step" and not math.isnan(value)}
        points += metrics_of(artifact.stage, values, int(row["step"]))
    return points


def place_of(artifact: Artifact) -> str:
    """Return the path of an artifact relative to its root; the root is not recorded, because it can be moved."""
    return f"{artifact.stage}/{artifact.key}"


def dataset_of(artifact: Artifact, context: str) -> "DatasetInput":
    """Return an artifact as a dataset with its own digest; `context` is `input` or `output`."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    source = json.dumps({"uri": place_of(artifact), "key": artifact.key, "digest": artifact.digest})
    dataset = Dataset(artifact.stage, artifact.digest[:36], source_type="local", source=source)
    return DatasetInput(dataset, tags=[InputTag("mlflow.data.context", context)])


def data_files_of(artifact: Artifact) -> list[Artifact]:
    """Return the data files that a stage read, by its artifact's manifest."""
    inputs = artifacts.read_manifest(artifact).get("inputs", [])
    return [Artifact(one["stage"], one["key"], "", one["digest"]) for one in inputs if "/" in one["stage"]]


def started_at(run: "Run") -> str:
    """Return when a run started, to the minute, in this machine's time zone."""
    return datetime.fromtimestamp(run.info.start_time / 1000, UTC).astimezone().strftime("%Y-%m-%d %H:%M")


def parameters_of(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield settings as pairs of `section.field` and text."""
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from parameters_of(value, f"{prefix}{name}.")
        else:
            text = value if isinstance(value, str) else json.dumps(value)
            yield f"{prefix}{name}", text[:LONGEST_VALUE]


def _metric_name(stage: str, name: str) -> str:
    return re.sub(r"[^\w\-. :/]", "_", name if "/" in name else f"{stage}/{name}")
