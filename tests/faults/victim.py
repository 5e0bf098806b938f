"""A tiny run in a process of its own, which kills itself at a named point: `python victim.py ROOT [POINT]`."""

import os
import signal
import sys
from pathlib import Path
from typing import Any
from unittest import mock

from flows import pipeline as flow
from neurontune_core import artifacts
from neurontune_core.config import load_config


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def kill_at(point: str) -> None:
    """Prepare the end: before a stage, within one, with half of it written, or between a rename and its record."""
    stage = point.split()[-1]
    make, move = artifacts._make, artifacts._move_into_place

    def made(root: str, named: str, key: str, fill: Any, *rest: Any) -> None:
        def half(folder: Path) -> Any:
            facts = fill(folder)
            die()
            return facts

        make(root, named, key, half if named == stage else fill, *rest)

    def moved(folder: Path, target: Path) -> None:
        move(folder, target)
        if target.parent.name == stage:
            die()

    if "before" in point:
        mock.patch.object(flow, "check_inputs", lambda _: die()).start()
    elif "rename" in point:
        mock.patch.object(artifacts, "_move_into_place", moved).start()
    else:
        mock.patch.object(artifacts, "_make", made).start()


if __name__ == "__main__":
    root, *point = sys.argv[1:]
    if point:
        kill_at(point[0])
    settings = ["runtime.device=cpu", "pairs.wrapped_queries=24", "evaluation.prompts_per_benchmark=2"]
    flow.pipeline(load_config("tiny", [f"runtime.root='{root}'", *settings]))
