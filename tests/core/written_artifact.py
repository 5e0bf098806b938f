"""A small artifact for tests."""

from pathlib import Path
from typing import Any

from neurontune_core import artifacts
from neurontune_core.records import Artifact

STAGE, KEY = "scores", "0123456789abcdef"
NUMBERS = "1 2 3\n" * 100
BYTES = bytes(range(256)) * 40


def fill(folder: Path) -> dict[str, Any]:
    (folder / "numbers.txt").write_text(NUMBERS)
    (folder / "part").mkdir()
    (folder / "part" / "more.bin").write_bytes(BYTES)
    return {"rows": 3, "gap": 0.25}


def write(root: Path | str) -> Artifact:
    return artifacts.write(str(root), STAGE, KEY, fill, {"field": (1, 2)})
