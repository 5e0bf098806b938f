"""A tiny flow with a fault injected at a named point, and what its artifacts are."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from flows.pipeline import pipeline
from neurontune_core import artifacts
from neurontune_core.config import PipelineConfig
from tasks import attribution

DAY_SECONDS = 86_400


class Ended(BaseException):
    """The end of a process, as far as one can have it in a process that goes on: nothing here catches it."""


def digests(root: str) -> dict[str, str]:
    """Return the digests of all artifacts under a root by stage and key; the report, which tells times, is left out."""
    found = {}
    for manifest in sorted(Path(root).glob(f"*/*/{artifacts.MANIFEST}")):
        stage, key = manifest.parts[-3:-1]
        artifact = artifacts.find(root, stage, key)
        if stage != "report":
            found[f"{stage}/{key}"] = artifact.digest if artifact else "damaged"
    return found


def run_with_fault(config: PipelineConfig, point: str) -> dict[str, str]:
    """Run the flow with the fault of a point, run it again, and return the digests of what is there then."""
    with pytest.MonkeyPatch.context() as patch, _injected(point, config.runtime.root, patch) as ends:
        try:
            pipeline(config)
            assert not ends, f"the fault did not happen: {point}"
        except Ended:
            assert ends
    pipeline(config)
    return digests(config.runtime.root)


@contextmanager
def _injected(point: str, root: str, patch: pytest.MonkeyPatch) -> Iterator[bool]:
    """Inject a fault; yields whether it ends the run that meets it."""
    words = point.split()
    if words[0] == "in":
        patch.setattr(artifacts, "_make", _ending_at(words[1], artifacts._make, before=True))
        yield True
    elif words[0] in ("before", "after") and words[1:3] == ["the", "rename"]:
        move = artifacts._move_into_place

        def moved(folder: Path, target: Path) -> None:
            ends = target.parent.name == words[-1]
            if not ends or words[0] == "after":
                move(folder, target)
            if ends:
                raise Ended(point)

        patch.setattr(artifacts, "_move_into_place", moved)
        yield True
    else:
        OTHERS[point](root, patch)
        yield False
        if point in AFTER:
            AFTER[point](Path(root))


def _ending_at(stage: str, function: Callable[..., Any], before: bool) -> Callable[..., Any]:
    def called(root: str, named: str, *rest: Any) -> Any:
        if named == stage:
            raise Ended(stage)
        return function(root, named, *rest)

    return called


def _clock_set_back(_: str, patch: pytest.MonkeyPatch) -> None:
    real, set_back = time.time, []
    move = artifacts._move_into_place

    def moved(folder: Path, target: Path) -> None:
        move(folder, target)
        set_back.append(target)

    patch.setattr(artifacts, "_move_into_place", moved)
    patch.setattr(artifacts.time, "time", lambda: real() - (DAY_SECONDS if len(set_back) > 2 else 0))


def _out_of_memory(_: str, patch: pytest.MonkeyPatch) -> None:
    compute, errors = attribution.shards.attribute_shard, [torch.OutOfMemoryError("CUDA out of memory")]

    def computed(*arguments: Any) -> Any:
        if errors:
            raise errors.pop()
        return compute(*arguments)

    patch.setattr(attribution.shards, "attribute_shard", computed)


def _nothing(_: str, __: pytest.MonkeyPatch) -> None:
    pass


def _garbage_records(root: str, _: pytest.MonkeyPatch) -> None:
    folder = Path(root) / ".unrecorded"
    folder.mkdir(parents=True)
    for name, content in {"0": "", "1": "[]", "2": "{", "3": "null"}.items():
        (folder / f"{name}.json").write_text(content)


def _spoil_manifests(root: Path) -> None:
    for manifest in root.glob(f"*/*/{artifacts.MANIFEST}"):
        manifest.write_text("[1]")


def _spoil_results(root: Path) -> None:
    for record in (root / ".prefect-results").glob("*/*"):
        record.write_bytes(b"\x00garbage")


OTHERS: dict[str, Callable[[str, pytest.MonkeyPatch], None]] = {
    "clock set back": _clock_set_back,
    "out of memory in attribution": _out_of_memory,
    "manifests are lists": _nothing,
    "result records are garbage": _nothing,
    "kept records are garbage": _garbage_records,
}
AFTER: dict[str, Callable[[Path], None]] = {
    "manifests are lists": _spoil_manifests,
    "result records are garbage": _spoil_results,
}
"""What happens between the two runs."""
