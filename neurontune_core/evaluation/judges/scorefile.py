"""Judge a JSON Lines file of completions, and measure the agreement with its human labels, if it has any."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from neurontune_core.data.conversations import BadConversation, read_history
from neurontune_core.data.rows import read_objects, read_rows
from neurontune_core.errors import InputError
from neurontune_core.storage import check_file, no_file

from .agreement import measure_agreement
from .precomputed import PrecomputedJudge
from .verdict import LABEL_NAMES, Completion, Judge, Label, Verdict

LABEL_FILES = (".jsonl", ".csv", ".parquet")
"""Endings of files that verdicts can be written to."""
TABLES = (".csv", ".tsv")
"""Endings of files of which each cell is text."""
TRUTH = {"true": True, "false": False}
HUMAN_LABELS = tuple(name for name, label in LABEL_NAMES.items() if label in ("refusal", "partial", "compliance"))

GAVE = {True: "yes", False: "no", None: "unknown"}
"""Whether an answer gave what was asked for, in words; unknown if the judge does not say."""


@dataclass(frozen=True)
class ScoredRow:
    """One row of a file to judge; `label`, `source_model` and `prompt_safe` are None if the file lacks them."""

    completion: Completion
    label: Label | None
    source_model: str | None
    prompt_safe: bool | None


def read_row(row: Any, where: str) -> ScoredRow:
    """Check one parsed row; raises InputError that names the row, the field and the remedy."""
    if not isinstance(row, dict):
        raise InputError(f"{where}: is {type(row).__name__}, not an object; write one JSON object a line")
    for field in ("prompt", "completion"):
        if field not in row:
            raise InputError(
                f"{where}: no column {field} among {', '.join(row) or 'none'}; every row needs prompt and completion"
            )
        # a completion may be null: its verdict is `unscored`
        if not isinstance(row[field], str) and (field == "prompt" or row[field] is not None):
            raise InputError(f"{where}: {field} is {row[field]!r}; it must be text")
    label, safe, model = row.get("label"), row.get("prompt_safe"), row.get("source_model")
    if label is not None and (not isinstance(label, str) or label not in HUMAN_LABELS):
        raise InputError(f"{where}: label is {label!r}; use one of {', '.join(HUMAN_LABELS)} or leave it out")
    if safe is not None and not isinstance(safe, bool):
        raise InputError(f"{where}: prompt_safe is {safe!r}; use true, false or leave it out")
    if model is not None and not isinstance(model, str):
        raise InputError(f"{where}: source_model is {model!r}; it must be text")
    name = where.rsplit(" ", 1)[-1] if row.get("id") is None else str(row["id"])
    if isinstance(row.get("model"), str):  # both models of an evaluation answered the prompt of this id
        name = f"{row['model']}/{name}"
    try:
        earlier = read_history(row.get("history"), row["prompt"]).history
    except BadConversation as error:
        raise InputError(
            f"{where}: history: {error}; give the earlier messages, each with role and content, or leave it out"
        ) from error
    query = row["query"] if isinstance(row.get("query"), str) else ""
    completion = Completion(name, row["prompt"], row["completion"], query, earlier)
    return ScoredRow(completion, LABEL_NAMES[label] if label else None, model, safe)


def read_completions(path: str | Path) -> list[ScoredRow]:
    """Rows of a JSON Lines, CSV or parquet file, such as an evaluation's `completions.parquet`.

    Raises InputError on a bad row.

    A row without id gets its row number as id.
    """
    path = Path(path)
    if not os.path.isfile(path):
        raise InputError(f"completions file {path} {no_file(path)}; give a JSON Lines file with prompt and completion")
    suffix = path.suffix.lower()
    found = _of_table(path) if suffix in TABLES else read_objects(path, "completions file")
    rows = [read_row(row, f"{path} row {number}") for number, row in found]
    if suffix == ".parquet":
        return rows
    if not rows:
        raise InputError(f"completions file {path} has no rows; write one completion a line")
    return rows


def _of_table(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the rows of a CSV file; a cell without text is one that is left out, unless it is an answer."""
    for row in read_rows(path):
        if row.problem:
            raise InputError(f"{path} row {row.number}: {row.problem}; correct the row")
        values: dict[str, Any] = {
            name: cell for name, cell in row.values.items() if cell.strip() or name in ("prompt", "completion")
        }
        if (safe := str(values.get("prompt_safe")).strip().lower()) in TRUTH:
            values["prompt_safe"] = TRUTH[safe]
        yield row.number, values


def score_rows(rows: list[ScoredRow], verdicts: list[Verdict]) -> dict[str, Any]:
    """Counts of every verdict, and the agreement with people over the labelled rows; undefined figures are None."""
    labelled = [index for index, row in enumerate(rows) if row.label is not None]
    agreement = measure_agreement(
        [label for row in rows if (label := row.label) is not None],
        [verdicts[index] for index in labelled],
        [rows[index].source_model for index in labelled],
        [rows[index].prompt_safe for index in labelled],
    )
    figures = asdict(agreement)
    return {
        "n": len(rows),
        "labelled": len(labelled),
        **{key: value for key, value in figures.items() if key not in ("n", "unscored")},
        "verdicts": dict(Counter(verdict.label for verdict in verdicts)),
        "gave": dict(Counter(GAVE[verdict.gave] for verdict in verdicts)),
        "degenerate": dict(Counter(verdict.degenerate for verdict in verdicts)),
    }


def score_file(path: str | Path, judge: Judge, labels: str | Path | None = None) -> dict[str, Any]:
    """Judge every row of a file: prompt, completion; optional id, label, source_model, prompt_safe, query, history.

    The result is ready for JSON: judge and version, n, f1, f1_without_partial, worst_group_f1, false_refusal_unsafe,
    false_refusal_safe, the counts behind them, and gave (how many answers gave what was asked for). The verdicts are
    written to the file `labels`, a row each, if one is named. Raises InputError on a bad row, a file that cannot be
    written, or a verdict file without a verdict for any row.
    """
    if labels is not None:
        check_labels_file(labels, [path, *([judge.path] if isinstance(judge, PrecomputedJudge) else [])])
    rows = read_completions(path)
    if isinstance(judge, PrecomputedJudge):
        judge.check_ids([row.completion.id for row in rows])
    verdicts = judge([row.completion for row in rows])
    if labels is not None:
        write_labels(labels, rows, verdicts, f"{judge.name} {judge.version}")
    return {"judge": judge.name, "version": judge.version, **score_rows(rows, verdicts)}


def check_labels_file(path: str | Path, read: Iterable[str | Path] = ()) -> None:
    """Raises InputError if verdicts cannot be written there: unknown ending, no such folder, or one of those `read`."""
    path = Path(path)
    if path.suffix.lower() not in LABEL_FILES:
        raise InputError(f"--to: {path} ends in {path.suffix or 'nothing'}; name a file in {', '.join(LABEL_FILES)}")
    check_file("--to", str(path), read)


def write_labels(path: str | Path, rows: list[ScoredRow], verdicts: list[Verdict], judge: str) -> None:
    """Write a row a completion: id, prompt, completion, the parts of its verdict, the human label and the judge."""
    table = pd.DataFrame(
        [
            {
                "id": row.completion.id,
                "prompt": row.completion.prompt,
                "completion": row.completion.response,
                "verdict": verdict.label,
                "gave": verdict.gave,
                "score": verdict.score,
                "explanation": verdict.explanation,
                "degenerate": verdict.degenerate,
                "label": row.label,
                "judge": judge,
            }
            for row, verdict in zip(rows, verdicts, strict=True)
        ]
    )
    ending = Path(path).suffix.lower()
    if ending == ".parquet":
        table.to_parquet(path, index=False)
    elif ending == ".csv":
        table.to_csv(path, index=False)
    else:
        table.to_json(path, orient="records", lines=True, force_ascii=False)
