"""A machine that makes one artifact at the same time as another: `python racer.py ROOT MEETING`; prints its digest."""

import os
import sys
import time
from pathlib import Path
from typing import Any

from neurontune_core import artifacts

STAGE, KEY, PARTS, PATIENCE = "scores", "0123456789abcdef", 8, 120


def fill(folder: Path) -> dict[str, Any]:
    for number in range(PARTS):
        (folder / f"part-{number}.bin").write_bytes(bytes([number]) * 1000)
    return {"rows": PARTS}


def meet(place: Path) -> None:
    """Wait until the other machine has come as far as this one."""
    (place / str(os.getpid())).touch()
    deadline = time.monotonic() + PATIENCE
    while len(list(place.iterdir())) < 2:
        assert time.monotonic() < deadline, "the other machine did not come"
        time.sleep(0.01)


def fill_together(folder: Path) -> dict[str, Any]:
    facts = fill(folder)
    meet(Path(sys.argv[2]))
    return facts


if __name__ == "__main__":
    made = artifacts.write(sys.argv[1], STAGE, KEY, fill_together, {})
    artifacts.open_folder(made)
    print(made.digest)
