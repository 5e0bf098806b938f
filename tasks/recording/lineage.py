"""Lineage: what an artifact was made from, back to the data files, and what was made from a data file.

It is read from the artifacts' manifests, which name their inputs, so it needs no MLflow and does not depend on the
process, machine or run that made an artifact. The manifest of a reused artifact names the inputs of the run that first
made it. Another run may have had different inputs of equal content; the record of that run tells which.
"""

import glob
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import fsspec

from neurontune_core import artifacts
from neurontune_core.config import RuntimeConfig
from neurontune_core.errors import ArtifactError, InputError
from neurontune_core.model.source import CONVERSION, conversion_key
from neurontune_core.records import Artifact
from tasks.recording.mlflow_models import CHANGES
from tasks.recording.mlflow_store import client_of, tracking_uri
from tasks.recording.runs import RecordedRun

if TYPE_CHECKING:
    from mlflow import MlflowClient

SHORTEST_DIGEST = 6


@dataclass(frozen=True)
class Node:
    """An artifact or data file with its inputs; `problem` says why some of it is unknown."""

    name: str
    key: str
    digest: str
    uri: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    inputs: tuple["Node", ...] = ()
    problem: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the node and all below it as JSON-serialisable data."""
        fields = {
            name: getattr(self, name) for name in ("name", "key", "digest", "uri", "settings", "versions", "problem")
        }
        return fields | {"inputs": [node.to_dict() for node in self.inputs]}


@dataclass(frozen=True)
class MadeFrom:
    """What was made from a data file: the artifacts, and the runs whose factors are among them."""

    datasets: list[Node]
    artifacts: list[Node]
    runs: list[tuple[str, str]]


def trace(run: RecordedRun) -> list[Node]:
    """Return the lineage of a run's result: of its evaluation if there is one, else of its factors or its baseline.

    Raises:
        InputError: the run learned no factors and fitted no baseline.
    """
    last = next((stage for stage in ("evaluation", *CHANGES) if stage in run.stages), None)
    if last is None:
        raise InputError(f"run {run.name} ({run.run_id}) has no scaling: it ended {run.status}; run it again")
    history = _History(run)
    traced = history.trace(run.stages[last])
    # runs of earlier versions recorded only their final artifacts, without the inputs
    return [traced] if traced.inputs else [history.trace(artifact) for artifact in run.stages.values()]


def dequantised_from(weights: str, root: str) -> str:
    """Return the quantised formats that a base model's weights were converted from, by the digest of its file.

    They are read from the conversion under the artifact root, so the original file is not needed; "" if the weights
    were not quantised, or the conversion has been deleted.
    """
    key = conversion_key(weights)
    try:
        manifest = artifacts.read_manifest(Artifact(CONVERSION, key, f"{root}/{CONVERSION}/{key}", digest=""))
    except ArtifactError:
        return ""
    return str(manifest["settings"].get("dequantised", ""))


def made_from(dataset: str, runtime: RuntimeConfig) -> MadeFrom:
    """Return everything under an artifact root that was made from a data file.

    Args:
        dataset: name of a dataset (`advbench`), of one of its files (`advbench/harmful`), or the start of a digest.
        runtime: says where the artifacts and the runs are.

    Raises:
        InputError: nothing there was made from such a dataset.
    """
    nodes = {(node.name, node.key): node for node in _all_nodes(runtime.root)}
    files = {
        (one.name, one.digest): one
        for node in nodes.values()
        for one in node.inputs
        if (one.name, one.key) not in nodes
    }
    found = [node for node in files.values() if _is_named(node, dataset)]
    if not found:
        known = ", ".join(sorted({node.name for node in files.values()})) or "none"
        raise InputError(f"--dataset: nothing in {runtime.root} was made from {dataset!r}; known: {known}")
    # match inputs by content, not by key: two inputs of equal content give the same artifact
    contents = {(node.name, node.digest) for node in found}
    made: list[Node] = []
    size = -1
    while len(made) > size:  # repeat until nothing is added; the graph is six stages deep
        size = len(made)
        made = [
            node for _, node in sorted(nodes.items()) if any((one.name, one.digest) in contents for one in node.inputs)
        ]
        contents |= {(node.name, node.digest) for node in made}
    pairs = {node.key for node in made if node.name == "pairs"}
    return MadeFrom(found, made, _runs_with(pairs, runtime))


class _History:
    """The artifacts that a run made or reused, by key and by content, and the nodes made of them so far."""

    def __init__(self, run: RecordedRun) -> None:
        self.places = {(one.stage, one.key) for one in run.made}
        self.contents: dict[tuple[str, str], list[Artifact]] = {}
        for one in run.made:
            self.contents.setdefault((one.stage, one.digest), []).append(one)
        self.known: dict[tuple[str, str], Node] = {}

    def trace(self, artifact: Artifact) -> Node:
        """Return the node of an artifact, with its inputs down to the data files."""
        place = (artifact.stage, artifact.key)
        if place not in self.known:
            try:
                manifest = artifacts.read_manifest(artifact)
            except ArtifactError as error:
                self.known[place] = Node(
                    artifact.stage, artifact.key, artifact.digest, artifact.uri, problem=str(error)
                )
            else:
                root = artifact.uri.removesuffix(f"/{artifact.stage}/{artifact.key}")
                inputs, seen = [], Counter[str]()
                for entry in _inputs(manifest):  # shards can have equal content: the n-th of them is the run's n-th
                    inputs.append(self._trace_input(root, entry, seen[entry["digest"]]))
                    seen[entry["digest"]] += 1
                self.known[place] = _node(manifest, artifact.uri, tuple(inputs))
        return self.known[place]

    def _trace_input(self, root: str, entry: dict[str, str], place: int) -> Node:
        if "/" in entry["stage"]:  # a data file: no stage made it
            return Node(entry["stage"], entry["key"], entry["digest"])
        uri = f"{root}/{entry['stage']}/{entry['key']}"
        artifact = Artifact(entry["stage"], entry["key"], uri, entry["digest"])
        equal = self.contents.get((artifact.stage, artifact.digest), [])
        if equal and (artifact.stage, artifact.key) not in self.places:
            artifact = equal[min(place, len(equal) - 1)]
        node = self.trace(artifact)
        if not node.problem and node.digest != artifact.digest:
            problem = f"has been made again since, with digest {node.digest}; this was made from {artifact.digest}"
            return replace(node, digest=artifact.digest, uri=artifact.uri, problem=problem)
        return node


def _node(manifest: dict[str, Any], uri: str, inputs: tuple[Node, ...]) -> Node:
    problem = "" if "inputs" in manifest else "an earlier version made it, and did not note what from"
    fields = (manifest["stage"], manifest["key"], manifest["digest"], uri, manifest["settings"], manifest["versions"])
    return Node(*fields, inputs, problem)


def _inputs(manifest: dict[str, Any]) -> list[dict[str, str]]:
    return list(manifest.get("inputs", []))


def _all_nodes(root: str) -> Iterator[Node]:
    """Yield the artifacts of a root, each with its direct inputs."""
    filesystem, base = fsspec.url_to_fs(root)
    for path in filesystem.glob(f"{glob.escape(base)}/*/*/{artifacts.MANIFEST}"):
        stage, key = path.split("/")[-3:-1]
        artifact = artifacts.at(root, stage, key)
        try:
            manifest = artifacts.read_manifest(artifact)
        except ArtifactError:
            continue  # damaged: no stage would reuse it
        direct = tuple(Node(one["stage"], one["key"], one["digest"]) for one in _inputs(manifest))
        yield _node(manifest, artifact.uri, direct)


def _is_named(node: Node, dataset: str) -> bool:
    digest = len(dataset) >= SHORTEST_DIGEST and node.digest.startswith(dataset)
    return digest or dataset in (node.name, node.name.split("/")[0])


def _runs_with(pairs: set[str], runtime: RuntimeConfig) -> list[tuple[str, str]]:
    """Return id and name of the pipeline runs with a tuned model made from pairs with these keys, oldest first."""
    client = client_of(tracking_uri(runtime))
    experiment = client.get_experiment_by_name(runtime.experiment)
    if experiment is None:
        return []
    made, *learned = (_steps(client, str(experiment.experiment_id), stage) for stage in ("pairs", *CHANGES))
    having = {step["mlflow.parentRunId"] for step in made if step["step.cache_key"] in pairs}
    parents = {step["mlflow.parentRunId"] for steps in learned for step in steps} & having
    runs = sorted((client.get_run(parent).info for parent in parents), key=lambda info: int(info.start_time))
    return [(str(info.run_id), str(info.run_name)) for info in runs]


def _steps(client: "MlflowClient", experiment: str, stage: str) -> list[dict[str, str]]:
    """Return the tags of all finished runs of a stage, oldest first."""
    query = f"tags.`step.name` = '{stage}' and attributes.status = 'FINISHED'"
    steps: list[dict[str, str]] = []
    token = None
    while True:
        page = client.search_runs([experiment], query, order_by=["start_time ASC"], page_token=token)
        steps += [run.data.tags for run in page]
        token = page.token
        if not token:
            return steps
