"""What orchestration costs: a task's overhead, one worker against two, and a fan-out of up to 1,000 shards.

    python benchmarks/scaling.py [--shards 10 100 300 1000] [--skip-workers]

The shards' engine does nothing in the fan-out, so its seconds are Prefect's, MLflow's and the merging's alone. What was
measured is in deployments/README.md.
"""

import argparse
import os
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

from flows.commands.run import start_prefect
from flows.services import environment
from neurontune_core.config import PipelineConfig, load_config


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--shards", type=int, nargs="+", default=[10, 100, 300, 1000])
    options.add_argument("--skip-workers", action="store_true", help="leave out the comparison of 1 and 2 workers")
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as root:
        environment.apply(load_config("tiny", [f"runtime.root={root}"]).runtime, quiet=True)
        os.environ["PREFECT_LOGGING_TO_API_ENABLED"] = "false"
        ready = start_prefect()
        from prefect.settings import PREFECT_API_URL, temporary_settings

        with temporary_settings({PREFECT_API_URL: ready()}):
            print("no-op shards, ms a shard: all new, reused, merged; in MLflow, of this process's processor")
            print(f"{'shards':>7} {'new':>9} {'reused':>9} {'merge':>9} {'MLflow':>9} {'processor':>9} {'memory':>9}")
            for shards in given.shards:
                print(format_row(fan_out(root, shards)), flush=True)
            if not given.skip_workers:
                print("tiny model, 8 shards in processes: seconds of attribution, and of them starting the workers")
                for workers in (1, 2):
                    whole, none = (workers_seconds(root, workers, nodes) for nodes in (64, 2))
                    print(f"{workers} workers  {whole:6.1f} s  {none:6.1f} s", flush=True)


def format_row(row: dict[str, float]) -> str:
    """Return one line of the table: milliseconds a shard, and memory."""
    each = " ".join(
        f"{1000 * row[name] / row['shards']:>7.1f}ms" for name in ("new", "reused", "merge", "mlflow", "processor")
    )
    return f"{row['shards']:>7.0f} {each} {row['memory_mib']:>6.0f}MiB"


def fan_out(root: str, shards: int) -> dict[str, float]:
    """Run `shards` shards that compute nothing and merge them, then run them again (all reused)."""
    config = load_config("tiny", [f"runtime.root={root}", f"attribution.shards={shards}"])
    timed_flow(load_config("tiny", [f"runtime.root={root}", "attribution.shards=1"]))  # the pairs, and what starts once
    table, checks = small_table()
    nothing = SimpleNamespace(table=table, completeness=checks, facts={"pairs": 1.0, "completeness_gap_max": 0.0})
    with (
        mock.patch("tasks.attribution.shards.attribute_shard", lambda *_: nothing),
        mock.patch("tasks.attribution.shards.in_shard", lambda *_: []),
        timed_mlflow() as mlflow,
    ):
        before = time.process_time()
        first = timed_flow(config)
        in_mlflow, processor = sum(mlflow), time.process_time() - before
        second = timed_flow(config)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "shards": shards,
        "new": first["fan_out"],
        "reused": second["fan_out"],
        "merge": first["merge"],
        "mlflow": in_mlflow,
        "processor": processor,
        "memory_mib": memory,
    }


@contextmanager
def timed_mlflow() -> Iterator[list[float]]:
    """Collect the seconds of every call by which a run is recorded."""
    from mlflow import MlflowClient

    seconds: list[float] = []

    def timed(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            started = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                seconds.append(time.perf_counter() - started)

        return call

    with ExitStack() as stack:
        for name in (
            "create_run",
            "log_batch",
            "log_inputs",
            "log_artifact",
            "set_tag",
            "search_runs",
            "set_terminated",
        ):
            stack.enter_context(mock.patch.object(MlflowClient, name, timed(getattr(MlflowClient, name))))
        yield seconds


def timed_flow(config: PipelineConfig) -> dict[str, float]:
    """Run pairs, shards and merging in a flow and return the seconds of the last two."""
    from prefect import flow

    from flows.inputs import check_inputs
    from flows.shards import run_shards
    from flows.stages import recorded, run_stage
    from tasks.pairs import make_pairs
    from tasks.scores import merge_scores

    @flow(name="benchmark")
    def benchmark() -> dict[str, float]:
        inputs = check_inputs(config)
        model, data = inputs.model, {"datasets": inputs.datasets, "prepared": inputs.prepared}
        with recorded(config, "benchmark", model.identity, ()) as run:
            pairs = run_stage(run, make_pairs, config=config.pairs, model=model, **data)
            started = time.perf_counter()
            parts = run_shards(run, config.attribution, pairs, model)
            fanned = time.perf_counter()
            run_stage(run, merge_scores, shards=parts)
            return {"fan_out": fanned - started, "merge": time.perf_counter() - fanned}

    return benchmark()


def workers_seconds(root: str, workers: int, nodes: int) -> float:
    """Return the seconds of attribution by worker processes; its work grows with the nodes of the path integral."""
    place = str(Path(root) / f"workers-{workers}")
    settings = ["attribution.shards=8", "attribution.pairs_per_role=96", f"attribution.nodes={nodes}"]
    own = ["runtime.runner=processes", f"runtime.workers={workers}", "runtime.threads=1", f"runtime.root={place}"]
    return timed_flow(load_config("tiny", [*settings, *own]))["fan_out"]


def small_table() -> tuple[Any, Any]:
    """Return a score table of 672 rows, as many as the tiny model gives, and an empty completeness table."""
    import pandas as pd

    rows = [
        {"role": role, "attack_category": "a", "layer": layer, "neuron": neuron, "half": half, "score_sum": 1.0,
         "score_sq_sum": 1.0, "count": 1}
        for role in ("safety", "utility") for layer in range(2) for neuron in range(84) for half in (0, 1)
    ]  # fmt: skip
    return pd.DataFrame(rows), pd.DataFrame({"gap": [0.0]})


if __name__ == "__main__":
    main()
