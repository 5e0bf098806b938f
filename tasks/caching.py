"""Caching by content key: a stage whose artifact exists and is undamaged is not computed again."""

import json
from contextvars import ContextVar
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import fsspec
from fsspec.implementations.local import LocalFileSystem
from prefect.cache_policies import CacheKeyFnPolicy
from prefect.context import TaskRunContext
from prefect.filesystems import RemoteFileSystem, WritableFileSystem
from prefect.serializers import JSONSerializer, Serializer

from neurontune_core import artifacts
from neurontune_core.records import Artifact

RESULTS = ".prefect-results"
"""Folder under the artifact root where Prefect keeps its result records; they name artifacts and hold no data."""


reading_root: ContextVar[str] = ContextVar("root")
"""Artifact root of the stage whose result record is read next; the record itself does not contain the root."""


class ArtifactSerializer(Serializer):
    """Stores an artifact's reference as JSON, and raises on reading if the artifact's files are missing or damaged.

    Prefect reads a record before it uses it, and treats an error as a cache miss: so the stage of a damaged artifact
    is computed again.
    """

    type: Literal["neurontune-artifact"] = "neurontune-artifact"

    def dumps(self, obj: Any) -> bytes:
        """Return JSON: the artifact's fields, or Prefect's own JSON for an exception of a failed run."""
        if not isinstance(obj, Artifact):
            return bytes(JSONSerializer().dumps(obj))
        return json.dumps({"artifact": obj.to_dict()}, sort_keys=True).encode()

    def loads(self, blob: bytes) -> Any:
        """Return the artifact after checking its files.

        Raises:
            ArtifactError: a file of the artifact is missing or has changed.
        """
        fields = json.loads(blob)
        if not isinstance(fields, dict) or "artifact" not in fields:
            return JSONSerializer().loads(blob)
        known = fields["artifact"]
        artifact = artifacts.at(reading_root.get(), known["stage"], known["key"], known["digest"])
        artifacts.verify(artifact)
        return artifact


def cached_by_key(stage: str) -> CacheKeyFnPolicy:
    """Return the cache policy of a stage: Prefect's cache key is the content key in the task's argument `run`."""

    def cache_key(context: TaskRunContext | None, arguments: dict[str, Any]) -> str:
        run = arguments["run"]
        _read_below(run.runtime.root)
        return f"{stage}/{run.key}"

    return CacheKeyFnPolicy(cache_key_fn=cache_key)


def _read_below(root: str) -> None:
    """Set `reading_root`. A separate function, because Dask pickles a policy with its globals, and a context variable
    cannot be pickled.
    """
    reading_root.set(root)


def result_storage(root: str) -> Path | WritableFileSystem:
    """Return where Prefect keeps its result records: in the same storage as the artifacts."""
    filesystem, base = fsspec.url_to_fs(root)
    if isinstance(filesystem, LocalFileSystem):
        return Path(base) / RESULTS
    return _saved_block(root)


@lru_cache(maxsize=4)
def _saved_block(root: str) -> WritableFileSystem:
    """Save a storage block, because Prefect accepts only a saved one; credentials stay in the environment."""
    block = RemoteFileSystem(basepath=f"{root.rstrip('/')}/{RESULTS}")
    block.save(f"neurontune-{artifacts.text_digest(root)[:12]}", overwrite=True)
    return block


def discard(root: str, stage: str, key: str) -> None:
    """Delete an artifact, if it exists, so that its stage is computed again."""
    filesystem, base = fsspec.url_to_fs(root)
    target = f"{base}/{stage}/{key}"
    if filesystem.exists(target):
        filesystem.rm(target, recursive=True)
