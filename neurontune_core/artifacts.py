"""The one place that writes, finds, verifies and opens artifacts.

An artifact is the folder `<root>/<stage>/<key>/`. Files are written to a temporary folder, synced and moved into
place; `manifest.json`, which lists them with digests and sizes, comes last, so a folder without a manifest was never
finished and does not count. `<root>` is a local folder or any fsspec URL (`s3://bucket/prefix`).
"""

import hashlib
import json
import math
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any
from uuid import uuid4

import fsspec
from filelock import FileLock, Timeout
from fsspec.implementations.local import LocalFileSystem
from pydantic import BaseModel

from neurontune_core.code_version import code_version
from neurontune_core.errors import ArtifactError, NeuronTuneError, NumericalError, StorageError
from neurontune_core.records import Artifact
from neurontune_core.storage import problem
from neurontune_core.transient import tried_again

MANIFEST = "manifest.json"
_CACHE = "download-cache"
_FIELDS = {"files", "digest", "checksum"}
_ABSENT = (FileNotFoundError, NotADirectoryError, IsADirectoryError)


def absolute_root(root: str) -> str:
    """Return an artifact root that means the same in every process: a local folder by its absolute path."""
    filesystem, base = fsspec.url_to_fs(root)
    return str(base) if isinstance(filesystem, LocalFileSystem) else root


def stage_key(
    stage: str, stage_version: int, settings: Mapping[str, Any] | BaseModel, model: str, inputs: Sequence[str]
) -> str:
    """Return the content key of a stage: SHA-256 of canonical JSON of everything the result depends on.

    Args:
        stage: name of the stage.
        stage_version: raised by hand whenever the stage's code changes its result.
        settings: the stage's own configuration section.
        model: identity of the model (weights digest or revision, and dtype), "" where none is used.
        inputs: digests (never paths) of the stage's inputs, in order.
    """
    resolved = settings.model_dump(mode="json") if isinstance(settings, BaseModel) else dict(settings)
    text = json.dumps(
        {"stage": stage, "version": stage_version, "settings": resolved, "model": model, "inputs": list(inputs)},
        sort_keys=True,
        separators=(",", ":"),
    )
    return text_digest(text)[:32]


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file's content as hexadecimal text."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def text_digest(text: str) -> str:
    """Return the SHA-256 of a text as hexadecimal text."""
    return hashlib.sha256(text.encode()).hexdigest()


def write(
    root: str,
    stage: str,
    key: str,
    fill: Callable[[Path], Mapping[str, Any]],
    settings: Mapping[str, Any] | BaseModel,
    inputs: Sequence[Artifact] = (),
) -> Artifact:
    """Make an artifact atomically: `fill` writes its files into the folder it is given and returns facts about them.

    The returned facts (metrics, counts: JSON-serialisable) are kept in the manifest under `facts`, and what the
    artifact is made from under `inputs`. While another process works on the same key this one waits, and returns what
    that one made.

    Raises:
        NumericalError: a fact is NaN or infinite.
        ArtifactError: the artifact could not be read back.
        StorageError: the disk is full, or something else about the place keeps it from being written.
    """
    try:
        with working_lock(root, stage, key):
            if found := find(root, stage, key):
                return found
            _make(root, stage, key, fill, settings, inputs)
    except NeuronTuneError:
        raise
    except Exception as error:
        if why := problem(error):
            raise StorageError(
                f"artifact {stage}/{key}: cannot be written to {root} ({why}), then run again: finished stages are "
                f"reused"
            ) from error
        raise
    artifact = find(root, stage, key)
    if artifact is None:
        raise ArtifactError(f"artifact {stage}/{key} could not be read back from {root}; check the storage")
    return artifact


def working_lock(root: str, stage: str, key: str) -> FileLock:
    """Return the lock held while an artifact is made; the system frees it when its holder dies.

    It is beside the artifacts, or, where those are in object storage, on this machine only.
    """
    folder = _partial(root)
    folder.mkdir(parents=True, exist_ok=True)
    return FileLock(folder / f"{stage}-{key}.lock")


@contextmanager
def temporary_folder(root: str, name: str) -> Iterator[Path]:
    """Inside this context there is an empty folder; if the process is killed, the next run on this root deletes it."""
    key = uuid4().hex
    lock = working_lock(root, name, key)
    try:
        with lock, tempfile.TemporaryDirectory(prefix=f"{name}-{key}-", dir=_partial(root)) as folder:
            yield Path(folder)
    finally:
        Path(lock.lock_file).unlink(missing_ok=True)


def remove_leftovers(root: str) -> None:
    """Delete what killed processes left half-made for a root on this machine; others' work is left alone."""
    for left in _partial(root).glob("*-*-*/"):
        lock = FileLock(left.parent / f"{left.name.rpartition('-')[0]}.lock")
        with suppress(Timeout, OSError), lock.acquire(timeout=0):
            shutil.rmtree(left, ignore_errors=True)


def _make(
    root: str,
    stage: str,
    key: str,
    fill: Callable[[Path], Mapping[str, Any]],
    settings: Mapping[str, Any] | BaseModel,
    inputs: Sequence[Artifact],
) -> None:
    filesystem, base = fsspec.url_to_fs(root)
    local = isinstance(filesystem, LocalFileSystem)
    started = time.time()
    partial = _partial(root)
    partial.mkdir(parents=True, exist_ok=True)
    for left in partial.glob(f"{stage}-{key}-*"):  # of a killed process: nobody else works on this key
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=f"{stage}-{key}-", dir=partial) as place:
        folder = Path(place) / "content"
        folder.mkdir()
        facts = dict(fill(folder))
        for name, value in facts.items():
            if isinstance(value, float) and not math.isfinite(value):
                raise NumericalError(f"{stage}: {name} is {value}; the stage's result was not stored")
        files = {
            path.relative_to(folder).as_posix(): {"sha256": file_digest(path), "bytes": path.stat().st_size}
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }
        manifest = {
            "stage": stage,
            "key": key,
            "digest": _digest_of(files),
            "files": files,
            "settings": settings.model_dump(mode="json") if isinstance(settings, BaseModel) else dict(settings),
            "inputs": [{"stage": one.stage, "key": one.key, "digest": one.digest} for one in inputs],
            "facts": facts,
            "started": started,
            "seconds": time.time() - started,
            "versions": {"neurontune": code_version()} | {name: version(name) for name in ("torch", "transformers")},
        }
        manifest["checksum"] = _checksum(manifest)
        text = json.dumps(manifest, indent=1, sort_keys=True, allow_nan=False)
        target = f"{base}/{stage}/{key}"
        if local:
            (folder / MANIFEST).write_text(text)
            _sync_tree(folder)
            _move_into_place(folder, Path(target))
        elif find(root, stage, key) is None:  # another machine may have been faster
            for name in files:
                tried_again(filesystem.put_file, str(folder / name), f"{target}/{name}")
            tried_again(filesystem.pipe_file, f"{target}/{MANIFEST}", text.encode())


def at(root: str, stage: str, key: str, digest: str = "") -> Artifact:
    """Return the reference to what is, or would be, the artifact of this key under a root; nothing is looked at."""
    filesystem, base = fsspec.url_to_fs(root)
    return Artifact(stage, key, filesystem.unstrip_protocol(f"{base}/{stage}/{key}"), digest)


def find(root: str, stage: str, key: str) -> Artifact | None:
    """Return the finished and undamaged artifact of this key, or None; damage is treated as absence."""
    artifact = at(root, stage, key)
    try:
        artifact = replace(artifact, digest=read_manifest(artifact)["digest"])
        verify(artifact)
    except ArtifactError:
        return None
    return artifact


def verify(artifact: Artifact) -> None:
    """Check every file of an artifact against its manifest, content included.

    Raises:
        ArtifactError: a file is missing, or its SHA-256 differs.
    """
    filesystem, target = fsspec.url_to_fs(artifact.uri)
    manifest = read_manifest(artifact)
    if manifest["digest"] != artifact.digest or _digest_of(manifest["files"]) != artifact.digest:
        raise ArtifactError(_damaged(artifact, MANIFEST, "does not match the expected digest"))
    filesystem.invalidate_cache(target)  # fsspec caches directory listings, and another machine may have written since
    for name, entry in manifest["files"].items():
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise ArtifactError(_damaged(artifact, name, "is not inside the artifact"))
        try:
            digest = tried_again(_stored_digest, filesystem, f"{target}/{name}")
        except _ABSENT as error:
            raise ArtifactError(_damaged(artifact, name, "is missing")) from error
        if digest != entry["sha256"]:
            raise ArtifactError(_damaged(artifact, name, "has changed since it was written"))


def _stored_digest(filesystem: fsspec.AbstractFileSystem, path: str) -> str:
    with filesystem.open(path, "rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()


def read_manifest(artifact: Artifact) -> dict[str, Any]:
    """Return an artifact's manifest.

    Raises:
        ArtifactError: the manifest is missing or damaged.
    """
    filesystem, target = fsspec.url_to_fs(artifact.uri)
    try:
        manifest: Any = json.loads(tried_again(filesystem.cat_file, f"{target}/{MANIFEST}"))
    except _ABSENT as error:
        raise ArtifactError(_damaged(artifact, MANIFEST, "is missing")) from error
    except (ValueError, RecursionError) as error:
        raise ArtifactError(_damaged(artifact, MANIFEST, "is not readable")) from error
    if not isinstance(manifest, dict) or not manifest.keys() >= _FIELDS:
        raise ArtifactError(_damaged(artifact, MANIFEST, "is not a manifest"))
    if manifest.pop("checksum", None) != _checksum(manifest):
        raise ArtifactError(_damaged(artifact, MANIFEST, "has changed since it was written"))
    return manifest


def open_folder(artifact: Artifact) -> Path:
    """Verify an artifact and return a local folder with its files, downloaded first if it is stored elsewhere.

    Raises:
        ArtifactError: the artifact is missing or damaged.
    """
    filesystem, target = fsspec.url_to_fs(artifact.uri)
    if isinstance(filesystem, LocalFileSystem):
        verify(artifact)
        return Path(target)
    cache = _own_folder(_CACHE)
    copy = replace(artifact, uri=str(cache / artifact.digest))
    with FileLock(f"{copy.uri}.lock"), tempfile.TemporaryDirectory(dir=cache) as temporary:
        if not _is_sound(copy):
            verify(artifact)
            content = Path(temporary) / "content"
            for name in [*read_manifest(artifact)["files"], MANIFEST]:
                (content / name).parent.mkdir(parents=True, exist_ok=True)
                tried_again(filesystem.get_file, f"{target}/{name}", str(content / name))
            _move_into_place(content, Path(copy.uri))
            verify(copy)
    return Path(copy.uri)


def _partial(root: str) -> Path:
    """Return where this machine makes artifacts of a root: beside them, or in its temporary folder if they are away."""
    filesystem, base = fsspec.url_to_fs(root)
    if isinstance(filesystem, LocalFileSystem):
        return Path(base) / ".partial"
    return _own_folder("locks") / text_digest(root)[:16]


def _own_folder(name: str) -> Path:
    folder = Path(tempfile.gettempdir()) / f"neurontune-{name}-{os.getuid()}"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


def _is_sound(artifact: Artifact) -> bool:
    try:
        verify(artifact)
    except ArtifactError:
        return False
    return True


def _digest_of(files: Mapping[str, Mapping[str, Any]]) -> str:
    lines = "".join(f"{name}\0{entry['sha256']}\n" for name, entry in sorted(files.items()))
    return text_digest(lines)


def _checksum(manifest: Mapping[str, Any]) -> str:
    return text_digest(json.dumps(manifest, sort_keys=True))


def _damaged(artifact: Artifact, name: str, what: str) -> str:
    return (
        f"artifact {artifact.stage}/{artifact.key}: {name} {what} ({artifact.uri}); "
        f"run the pipeline again to recompute this stage"
    )


def _sync_tree(folder: Path) -> None:
    for path in [*folder.rglob("*"), folder]:
        _sync(path)


def _move_into_place(folder: Path, target: Path) -> None:
    """Rename `folder` to `target`; a damaged or unfinished folder standing there goes with the temporary one."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        target.rename(folder.parent / "replaced")
    folder.rename(target)
    _sync(target.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
