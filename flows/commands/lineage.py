"""`neurontune lineage` and `neurontune sync`."""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.tree import Tree

from flows.commands.console import TextConsole, echo
from flows.services import environment
from neurontune_core.config import RuntimeConfig
from neurontune_core.errors import InputError
from neurontune_core.shown_text import one_line

if TYPE_CHECKING:
    from tasks.recording.lineage import MadeFrom, Node
    from tasks.recording.runs import RecordedRun

MEANING = {
    "evaluation": "evaluation",
    "base": "base: the base model's answers",
    "tuned": "tuned: the tuned model's answers",
    "base-ability": "base-ability: four-option questions, the base model",
    "ability": "ability: four-option questions before and after",
    "triggers": "triggers: words that trigger false refusals",
    "scaling": "scaling: the factors",
    "baseline": "baseline: another method, in place of factors",
    "cards": "cards: the strongest neurons",
    "selection": "selection: the selected neurons",
    "scores": "scores: of all shards",
    "attribution": "attribution: a shard",
    "pairs": "pairs",
}
WIDTH = 150


def show_lineage(run: str | None, dataset: str | None, as_json: bool, settings: Sequence[str], debug: bool) -> None:
    """Print what a run's model was made from, or what was made from a dataset.

    Raises:
        InputError: not exactly one of run and dataset is given, or it does not exist.
    """
    if (run is None) == (dataset is None):
        raise InputError("lineage: name a run, or a dataset with --dataset")
    runtime = environment.ready(settings, debug)
    from tasks.recording.runs import find_run

    # a bad name is told before torch is imported
    found = None if run is None else find_run(run, runtime, finished=True)
    from tasks.recording.lineage import made_from, trace

    console = TextConsole(WIDTH)
    if found is None:
        _show_forward(made_from(str(dataset), runtime), as_json, console)
        return
    nodes = trace(found)
    if as_json:
        model = found.config.model.model_dump(mode="json")
        facts = {"run_id": found.run_id, "name": found.name, "status": found.status, "model": model}
        echo(json.dumps(facts | {"base": _base(found), "made": [node.to_dict() for node in nodes]}, indent=1))
        return
    console.print(_tree(found, nodes))


def sync_records(to: str | None, settings: Sequence[str], debug: bool) -> None:
    """Send the kept records of the artifact root to their MLflow, or all records to the address `to`; print the result.

    Raises:
        InputError: MLflow still does not answer, or refuses the records.
    """
    there = [] if to is None else [f"runtime.mlflow_uri={json.dumps(to)}"]
    runtime = environment.ready([*settings, *there], debug)
    from tasks.recording.killed_runs import are_killed
    from tasks.recording.tracking import catch_up

    sent = catch_up(runtime, of_every_store=to is not None)
    echo(f"{sent.sent} records sent, {len(sent.refused)} refused for good, {len(sent.left)} still kept")
    if are_killed(runtime):
        echo(f"{_end_killed(runtime)} runs whose process was killed were ended")
    if sent.elsewhere and to is not None:
        raise InputError(
            f"--to: the records that are left belong to runs that only {' and '.join(sent.elsewhere)} has; "
            f"{runtime.root} keeps them until that MLflow answers again"
        )
    if sent.elsewhere:
        raise InputError(
            f"runtime.mlflow_uri: the records kept in {runtime.root} belong to {' and '.join(sent.elsewhere)}; run "
            f"`neurontune sync --set runtime.mlflow_uri={sent.elsewhere[0]}`, or send them to another MLflow with --to "
            f"ADDRESS"
        )
    if sent.left:
        raise InputError(
            f"runtime.mlflow_uri: MLflow does not accept the records kept in {runtime.root}: {sent.reason}"
        )


def _end_killed(runtime: RuntimeConfig) -> int:
    """End killed runs in MLflow and in Prefect; a Prefect server is started for this if none is configured."""
    from prefect.settings import temporary_settings

    from flows.commands.run import start_prefect
    from tasks.recording.killed_runs import end_killed

    with temporary_settings(start_prefect()()):
        return end_killed(runtime)


def _tree(run: "RecordedRun", nodes: "Sequence[Node]") -> Tree:
    tree = Tree(one_line(f"run {run.name}  {run.run_id}  {run.status}"))
    base = tree.add(one_line(f"base model {run.config.model.name}"))
    for name, value in _base(run).items():
        base.add(f"{name} {value}")
    base.add("settings " + _written(run.config.model.model_dump(mode="json", exclude={"name", "revision"})))
    tree.add("runtime " + _written(run.config.runtime.model_dump(mode="json", exclude={"mlflow_uri"})))
    seen: set[tuple[str, str]] = set()
    for node in nodes:
        _add(tree, node, seen)
    return tree


def _base(run: "RecordedRun") -> dict[str, str]:
    """The identity of the base model as recorded with its change, so the model itself is not needed."""
    from neurontune_core import artifacts
    from neurontune_core.baselines.storage import changed_model
    from tasks.baseline import changing_stage
    from tasks.recording.lineage import dequantised_from

    change = artifacts.open_folder(run.artifact(changing_stage(run.stages)))
    weights = changed_model(change).split(":")[0]
    dequantised = dequantised_from(weights, run.config.runtime.root)
    known = {"dequantised": dequantised} if dequantised else {}
    return {"revision": run.config.model.revision or "-", "weights": weights} | known


def _add(tree: Tree, node: "Node", seen: set[tuple[str, str]]) -> None:
    title = one_line(f"{MEANING.get(node.name, f'data {node.name}')}  {node.digest}")
    if node.key and node.inputs and (node.name, node.key) in seen:
        tree.add(f"{title}  (as above)")
        return
    seen.add((node.name, node.key))
    branch = tree.add(title)
    if node.problem:
        branch.add(f"NOTE: {node.problem}")
    if node.uri:
        branch.add(one_line(f"folder {node.uri}"))
    if node.versions:
        branch.add("code " + ", ".join(f"{name} {version}" for name, version in node.versions.items()))
    if node.settings:
        branch.add("settings " + _written(node.settings))
    for part in node.inputs:
        _add(branch, part, seen)


def _written(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in settings.items())


def _show_forward(found: "MadeFrom", as_json: bool, console: Console) -> None:
    if as_json:
        runs = [{"run_id": run, "name": name} for run, name in found.runs]
        parts = {part: [node.to_dict() for node in getattr(found, part)] for part in ("datasets", "artifacts")}
        echo(json.dumps(parts | {"runs": runs}, indent=1))
        return
    for node in found.datasets:
        console.print(one_line(f"data {node.name}  {node.digest}"))
    for node in found.artifacts:
        console.print(one_line(f"  {MEANING.get(node.name, node.name)}  {node.digest}  {node.uri}"))
    console.print(f"\n{len(found.runs)} runs ended with a model made from it:")
    for run, name in found.runs:
        console.print(one_line(f"  {name}  {run}"))
