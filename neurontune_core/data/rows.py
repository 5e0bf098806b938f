"""Read the rows of a local data file: CSV, JSON, JSON lines or parquet."""

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from neurontune_core.errors import InputError

FORMATS = (".csv", ".json", ".jsonl", ".parquet")


@dataclass(frozen=True)
class Row:
    """A row and its number, counted from 1 without the header; `problem` says why it could not be read, if so."""

    number: int
    values: dict[str, Any]
    problem: str = ""


def read_rows(path: Path) -> list[Row]:
    """Return all rows of a file, those that cannot be read included.

    Text is UTF-8, with or without a byte-order mark. The suffix tells the format; a `.json` file holds a list of
    objects or one object a line.

    Raises:
        InputError: unknown suffix, or the file as a whole cannot be read.
    """
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise InputError(f"{path}: unknown format {path.suffix!r}; give a file that ends in {', '.join(FORMATS)}")
    try:
        if suffix == ".parquet":
            return [Row(i, values) for i, values in enumerate(parquet.read_table(path).to_pylist(), start=1)]
        text = path.read_text(encoding="utf-8-sig")
        if suffix == ".csv":
            return list(_csv_rows(text))
        if suffix == ".json" and text.lstrip().startswith("["):
            return [_checked(number, value) for number, value in enumerate(json.loads(text), start=1)]
        return list(_json_lines(text))
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}: not UTF-8 ({error.reason} at byte {error.start}); convert the file to UTF-8"
        ) from error
    except (csv.Error, json.JSONDecodeError, pa.ArrowException) as error:
        raise InputError(f"{path}: not a readable {suffix[1:]} file: {error}") from error


def _csv_rows(text: str) -> Iterator[Row]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header = next(reader, [])
    number = 0
    while True:
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            # after a stray quote the next line can be read, but one that never closes has swallowed all that follows
            if "expected after" not in str(error):
                raise csv.Error(f"line {reader.line_num}: {error}") from error
            fields, fault = [""], f"not CSV: {error}"
        else:
            fault = f"{len(fields)} fields where the header has {len(header)}" if len(fields) != len(header) else ""
        if fields:
            number += 1
            yield Row(number, dict(zip(header, fields, strict=False)), fault)


def _json_lines(text: str) -> Iterator[Row]:
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                yield _checked(number, json.loads(line))
            except json.JSONDecodeError as error:
                yield Row(number, {}, f"not JSON: {error.msg} at character {error.pos + 1}")


def _checked(number: int, value: Any) -> Row:
    return Row(number, value) if isinstance(value, dict) else Row(number, {}, f"not an object: {str(value)[:40]!r}")
