"""Verdicts made elsewhere, by people or by a judge that cannot run here, looked up by id."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from neurontune_core.data.rows import read_objects
from neurontune_core.errors import InputError
from neurontune_core.storage import no_file

from .verdict import DEGENERATE, LABEL_NAMES, Completion, Verdict

NAME = "precomputed"
VERSION = "2"


def read_verdict_rows(path: Path) -> list[dict[str, Any]]:
    """Rows of a .jsonl or .parquet file; raises InputError if it is missing, of another format, or without rows."""
    if not os.path.isfile(path):
        raise InputError(f"verdict file {path} {no_file(path)}; give a .jsonl or .parquet file with id and label")
    if path.suffix.lower() not in (".jsonl", ".parquet"):
        raise InputError(f"verdict file {path} has the ending {path.suffix!r}; use .jsonl or .parquet")
    rows = [row for _, row in read_objects(path, "verdict file")]
    if not rows:
        raise InputError(f"verdict file {path} has no rows; give a file with an id and a label in each row")
    return rows


def read_verdict(row: dict[str, Any]) -> Verdict:
    """The verdict in a row, by its `label` or else by its `verdict`; what cannot be read becomes `unscored`."""
    name, given = str(row["id"]), row.get("verdict") if row.get("label") is None else row["label"]
    label = LABEL_NAMES.get(given) if isinstance(given, str) else None
    degenerate, gave = row.get("degenerate") or "none", row.get("gave")
    if label is None or degenerate not in DEGENERATE or not isinstance(gave, bool | None):
        why = f"cannot read label {given!r}, degenerate {degenerate!r}, gave {gave!r}"
        return Verdict(name, "unscored", explanation=why)
    score = row.get("score")
    numeric = float(score) if isinstance(score, int | float) and not isinstance(score, bool) else None
    return Verdict(name, label, degenerate, numeric, str(row.get("explanation") or ""), gave)


class PrecomputedJudge:
    """Looks up verdicts by id; an id that the file does not have is `unscored`."""

    name = NAME
    version = VERSION

    def __init__(self, path: str | Path) -> None:
        self.path = path
        self.verdicts: dict[str, Verdict] = {}
        for number, row in enumerate(read_verdict_rows(Path(path)), start=1):
            if not isinstance(row, dict) or row.get("id") is None:
                raise InputError(f"{path} row {number}: has no id; give every verdict the id of its completion")
            verdict = read_verdict(row)
            if verdict.id in self.verdicts:
                raise InputError(f"{path} row {number}: id {verdict.id!r} occurs twice; keep one verdict for each id")
            self.verdicts[verdict.id] = verdict

    def __call__(self, batch: Sequence[Completion]) -> list[Verdict]:
        """The stored verdict of every completion, in order."""
        missing = "no verdict stored for this id"
        return [self.verdicts.get(item.id, Verdict(item.id, "unscored", explanation=missing)) for item in batch]

    def check_ids(self, ids: Sequence[str]) -> None:
        """Raises InputError if the file has no verdict for any of these completions."""
        if ids and self.verdicts.keys().isdisjoint(ids):
            raise InputError(
                f"verdict file {self.path} has no verdict for any of the {len(ids)} completions: its first id is "
                f"{next(iter(self.verdicts))!r}, theirs is {ids[0]!r}; give every verdict the id of its completion"
            )
