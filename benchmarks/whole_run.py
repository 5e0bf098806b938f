"""One whole run of a real model, in minutes on a GPU: seconds of every stage, beside what `neurontune plan` predicted.

    python benchmarks/whole_run.py [MODEL] [--device cuda] [--full] [--tiny] [--json FILE]

MODEL is what `neurontune run` takes, such as a GGUF file; the default is Qwen2.5-Coder-0.5B out of Python packages. It
runs in an empty artifact root, so nothing is reused but the pairs and the converted model, which the plan needs too.
Fewer examples and shorter answers than by default, unless `--full` is given. `--tiny` takes the preset `tiny`, to try
the script on a processor: its numbers say nothing of a real model.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from neurontune_core.model.devices import choose_devices, devices_in_words

MODEL = "packaged:qwen2.5-coder-0.5b-instruct"
SHORT = (
    "pairs.responses=100", "attribution.pairs_per_role=12", "scaling.steps=10", "scaling.harmful_batch=20",
    "scaling.harmless_batch=20", "scaling.validations=2", "scaling.validation_prompts=24",
    "evaluation.prompts_per_benchmark=30", "evaluation.max_new_tokens=48",
)  # fmt: skip
COMMAND = (sys.executable, "-c", "from flows.commands.cli import main; main()")


def main() -> None:
    """Plan a run, execute it, and print both side by side."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default=MODEL, help="what `neurontune run` takes")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1")
    parser.add_argument("--full", action="store_true", help="as many examples as by default")
    parser.add_argument("--tiny", action="store_true", help="the preset `tiny`, to try the script")
    parser.add_argument("--json", metavar="FILE", help="also write the rows here")
    arguments = parser.parse_args()
    given = ["--preset", "tiny"] if arguments.tiny else [arguments.model, "--preset", "default"]
    short = () if arguments.full or arguments.tiny else SHORT
    settings = [f"runtime.device={arguments.device}", *short]
    with tempfile.TemporaryDirectory() as root:
        given += [part for setting in (f"runtime.root={root}", *settings) for part in ("--set", setting)]
        planned = json.loads(_run("plan", *given, "--json"))
        started = time.perf_counter()
        _run("run", *given)
        whole = time.perf_counter() - started
        taken = seconds_of_stages(Path(root))
    predicted = {row["stage"]: row["seconds"] for row in planned["stages"]}
    rows = [(stage, taken.get(stage, 0.0), predicted.get(stage, 0.0)) for stage in {**predicted, **taken}]
    rows.append(("whole run", whole, planned["total"]["seconds"]))
    report(rows, arguments)


def seconds_of_stages(root: Path) -> dict[str, float]:
    """Return the seconds of every stage by the manifests of its artifacts; those of shards are added up."""
    found: dict[str, float] = {}
    for file in root.glob("*/*/manifest.json"):
        manifest = json.loads(file.read_text(encoding="utf-8"))
        found[manifest["stage"]] = found.get(manifest["stage"], 0.0) + manifest["seconds"]
    return found


def report(rows: list[tuple[str, float, float]], arguments: argparse.Namespace) -> None:
    """Print the rows and, if a file is named, write them."""
    device = devices_in_words(choose_devices(arguments.device))
    machine = f"{device}, {platform.machine()}, {os.cpu_count()} processors, torch {torch.__version__}"
    print(f"{'the preset tiny' if arguments.tiny else arguments.model}; {machine}")
    print(f"{'stage':<16} {'seconds':>10} {'predicted':>10}")
    for stage, seconds, predicted in rows:
        print(f"{stage:<16} {seconds:>10.1f} {predicted:>10.1f}")
    if arguments.json:
        named = [dict(zip(("stage", "seconds", "predicted"), row, strict=True)) for row in rows]
        Path(arguments.json).write_text(json.dumps({"machine": machine, "rows": named}, indent=1), encoding="utf-8")


def _run(*arguments: str) -> str:
    """Run a command of `neurontune` and return what it prints; the user sees its progress and its errors."""
    return subprocess.run([*COMMAND, *arguments], check=True, text=True, stdout=subprocess.PIPE).stdout


if __name__ == "__main__":
    main()
