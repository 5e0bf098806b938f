"""State of a stage that is still running: saved beside the artifacts, so that a killed run continues from it."""

import hashlib
import logging
import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import fsspec
from fsspec.implementations.local import LocalFileSystem

from neurontune_core.transient import tried_again

FOLDER = ".unfinished"
DAMAGED = "damaged"
ABANDONED_SECONDS = 7 * 24 * 3600.0
"""A state that nobody has written for so long belongs to settings that were given up."""
logger = logging.getLogger("neurontune")


@dataclass(frozen=True)
class UnfinishedStage:
    """The saved state of the stage with this key, in any artifact root.

    A file starts with the SHA-256 of what follows, so that a damaged one is told from a whole one.
    """

    root: str
    stage: str
    key: str

    def load(self) -> bytes | None:
        """Return what was saved last, None if nothing was; what is damaged is set aside, and one line says so."""
        filesystem, path = self._place()
        self._remove_abandoned(filesystem, path)
        try:
            written: bytes = tried_again(filesystem.cat_file, path)
        except FileNotFoundError:
            return None
        length = hashlib.sha256().digest_size
        checksum, content = written[:length], written[length:]
        if hashlib.sha256(content).digest() == checksum:
            return content
        aside = f"{path}.{DAMAGED}"
        filesystem.mv(path, aside)
        told = "%s: the saved state %s is damaged; it is set aside, and work starts from the beginning"
        logger.warning(told, self.stage, aside)
        return None

    def save(self, content: bytes) -> None:
        """Replace what was saved, at once or not at all."""
        filesystem, path = self._place()
        filesystem.makedirs(path.rpartition("/")[0], exist_ok=True)
        written = hashlib.sha256(content).digest() + content
        if not isinstance(filesystem, LocalFileSystem):
            tried_again(filesystem.pipe_file, path, written)  # an object is replaced whole
            return
        part = f"{path}.{os.getpid()}.part"
        with open(part, "wb") as file:
            file.write(written)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)

    def discard(self) -> None:
        """Delete what was saved."""
        filesystem, path = self._place()
        for name in (path, f"{path}.{DAMAGED}"):
            if filesystem.exists(name):
                filesystem.rm_file(name)

    def _remove_abandoned(self, filesystem: fsspec.AbstractFileSystem, path: str) -> None:
        if not isinstance(filesystem, LocalFileSystem):
            return  # object stores have rules for that of their own
        oldest = time.time() - ABANDONED_SECONDS
        for other in Path(path).parent.glob("*"):
            with suppress(FileNotFoundError):  # another process may have removed or renamed it
                if other != Path(path) and other.is_file() and other.stat().st_mtime < oldest:
                    other.unlink()

    def _place(self) -> tuple[fsspec.AbstractFileSystem, str]:
        filesystem, base = fsspec.url_to_fs(self.root)
        return filesystem, f"{base}/{FOLDER}/{self.stage}-{self.key}"
