"""The records that MLflow did not take, as files below the artifact root."""

import glob
import json
import logging
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import fsspec

from neurontune_core.storage import problem
from tasks.recording.mlflow_store import Tracking

FOLDER = ".unrecorded"
KEPT = "kept-"

logger = logging.getLogger("neurontune")
_lost: set[str] = set()
"""Roots that cannot store records; the user has been warned about each."""


@dataclass(frozen=True)
class Record:
    """One call of a recording function: `at` is its time in ms, `tags` have the ids of its Prefect runs."""

    id: str
    at: int
    call: str
    words: str
    store: str
    tags: dict[str, str]
    tracking: dict[str, str]
    arguments: Any
    repeated: bool = False


def is_kept(run_id: str) -> bool:
    """Tell whether an id stands for a run that MLflow does not have yet (`kept-...`)."""
    return run_id.startswith(KEPT)


def waiting(root: str) -> list[str]:
    """Return in words the kept records of an artifact root, which MLflow does not have yet."""
    return [record.words for _, record in kept(root)]


def keep(tracking: Tracking, record: Record) -> str:
    """Write a record into the root, and return the name that stands for the run it would have created."""
    filesystem, base = fsspec.url_to_fs(tracking.root)
    target = f"{base}/{FOLDER}/{time.time_ns():020d}-{record.id}.json"
    try:
        filesystem.makedirs(f"{base}/{FOLDER}", exist_ok=True)
        filesystem.pipe_file(f"{target}.part", json.dumps(asdict(record)).encode())
        filesystem.mv(f"{target}.part", target)
    except Exception as error:
        if tracking.root not in _lost:
            _lost.add(tracking.root)
            why = problem(error) or f"{type(error).__name__}: {error}"
            logger.warning(
                "MLflow: %s and what follows cannot even be kept in %s: %s", record.words, tracking.root, why
            )
    return f"{KEPT}{record.id}"


def kept(root: str) -> Iterator[tuple[str, Record]]:
    """Yield the kept records of a root with their files, oldest first; files that vanish meanwhile are skipped."""
    filesystem, base = fsspec.url_to_fs(root)
    for path in sorted(filesystem.glob(f"{glob.escape(base)}/{FOLDER}/*.json")):
        try:
            record = Record(**json.loads(filesystem.cat_file(path)))
            _, _ = record.arguments
        except FileNotFoundError:
            continue
        except (ValueError, TypeError, RecursionError):  # an incomplete file, e.g. after a power failure
            logger.warning("MLflow: %s is not a readable record; it is set aside", path)
            filesystem.mv(path, f"{path}.damaged")
            continue
        yield path, record
