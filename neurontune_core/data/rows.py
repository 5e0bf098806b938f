"""Read the rows of a local data file: CSV, TSV, JSON, JSON lines or parquet."""

import codecs
import csv
import io
import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any
from unicodedata import category, normalize

import pyarrow as pa
from pyarrow import parquet

from neurontune_core.data.json_values import JsonObject, json_values
from neurontune_core.errors import InputError
from neurontune_core.model.checks.files import STAND_INS, reason

LARGEST = 2**30
"""Most bytes of a data file, because all of it is read at once."""
FORMATS = (".csv", ".tsv", ".json", ".jsonl", ".parquet")
ONLY_COLUMN = "text"
"""The name of the column of a file that has texts and no header."""
_INDEX = re.compile(r"|Unnamed: \d+(\.\d+)*|__index_level_\d+__")
_TO_UTF8 = "convert the file to UTF-8 (a spreadsheet can save it as `CSV UTF-8`)"
_COUNTED = re.compile(r"index|level_\d+")
"""Names that pandas gives to an index column; the column is an index if it counts the rows."""
_SENTENCE_WORDS = 4
_SEPARATOR_LINE = re.compile(r"sep=(.)\n", re.IGNORECASE)
"""A first line by which spreadsheets tell the character between columns."""
_DELIMITERS = ("\t", ";", "|")
"""What may stand between columns instead of a comma, in the order of search."""


@dataclass(frozen=True)
class Row:
    """A row and its number, counted from 1 without the header; `problem` says why it could not be read, if so."""

    number: int
    values: dict[str, Any]
    problem: str = ""


@dataclass(frozen=True)
class Table:
    """The rows of a file, and in words what was not as usual about it."""

    rows: list[Row]
    notes: tuple[str, ...] = ()

    @property
    def columns(self) -> list[str]:
        """All columns that any row has, in order."""
        return list(dict.fromkeys(column for row in self.rows for column in row.values))


def read_rows(path: Path) -> list[Row]:
    """Return all rows of a file, those that cannot be read included (`read_table`)."""
    return read_table(path).rows


def read_table(path: Path) -> Table:
    """Return all rows of a file, those that cannot be read included, without the index column that pandas writes.

    Text is UTF-8, with or without a byte-order mark, or UTF-16 with one. The suffix tells the format; a `.json` file
    holds a list of objects or of texts, one a line, or an object with the rows (`json_values`). A CSV file of one
    column may do without a header.

    Raises:
        InputError: unknown suffix, a column that occurs twice or differs from another only in case or blanks, or
            the file as a whole cannot be read.
    """
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise InputError(f"{path}: unknown format {path.suffix!r}; give a file that ends in {', '.join(FORMATS)}")
    try:
        check_is_itself(path)
        if suffix == ".parquet":
            table = _parquet_table(path)
        else:
            text = _text(path)
            table = _json_table(path, text) if suffix.startswith(".json") else _csv_table(path, text)
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 ({error.reason} at byte {error.start}); {_TO_UTF8}") from error
    except (csv.Error, ValueError, RecursionError, pa.ArrowException) as error:
        raise InputError(f"{path}: not a readable {suffix[1:]} file: {reason(error)}; correct the file") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or reason(error)}); check the file") from error
    check_columns(path, table.columns)
    return _without_index(table)


def _text(path: Path) -> str:
    """Return a file's text, of which UTF-16 is known by its byte-order mark; all ends of lines are newlines.

    Raises:
        UnicodeDecodeError: it is in another encoding.
    """
    with path.open("rb") as file:
        mark = file.read(2)
    return path.read_text(encoding="utf-16" if mark in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig")


def check_is_itself(path: Path) -> None:
    """Check that a file is a regular file of readable size, and not a Git LFS pointer or a web page instead.

    Raises:
        InputError: it is not.
    """
    if not os.path.exists(path) or os.path.isdir(path):
        return
    if not os.path.isfile(path):  # a pipe would be waited for
        raise InputError(f"{path}: is neither file nor folder; give a file")
    if (size := os.path.getsize(path)) > LARGEST:
        raise InputError(f"{path}: has {size:,} bytes, more than can be read ({LARGEST:,}); give a part of the file")
    try:
        with path.open("rb") as file:
            start = file.read(64).removeprefix(codecs.BOM_UTF8).lstrip().lower()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or reason(error)}); check the file") from error
    for sign, what, remedy in STAND_INS:
        if start.startswith(sign):
            raise InputError(f"{path}: is {what}; {remedy}")


def _parquet_table(path: Path) -> Table:
    file = parquet.ParquetFile(path)
    check_columns(path, file.schema_arrow.names)
    return Table([Row(number, values) for number, values in enumerate(file.read().to_pylist(), start=1)])


def check_columns(path: Path, columns: Sequence[str]) -> None:
    """Check that no column occurs twice, and no two differ only in case or blanks.

    Raises:
        InputError: they do.
    """
    met: dict[str, str] = {}
    for column in columns:
        plain = "".join(sign for sign in normalize("NFKC", column) if not _is_blank(sign)).casefold()
        if met.get(plain) == column:
            raise InputError(f"{path}: column {column!r} occurs twice; keep one of them, or rename one")
        if plain in met:
            raise InputError(
                f"{path}: columns {met[plain]!r} and {column!r} differ only in case or blanks; keep one of them"
            )
        met[plain] = column


def _is_blank(sign: str) -> bool:
    return sign.isspace() or category(sign) == "Cf"


def _without_index(table: Table) -> Table:
    """Leave out the columns of an index, which stand first or last, and tell so; the same of a column named twice."""
    columns, doubled = table.columns, []
    index = list(takewhile(lambda column: _is_index(table, column), columns))
    index += takewhile(lambda column: _is_index(table, column), reversed(columns[len(index) :]))
    if len(index) == len(columns):
        index = []
    for column in (column for column in columns if column not in index):
        name, dot, number = column.rpartition(".")
        if dot and number.isdecimal() and name in columns:
            doubled.append(f"pandas gives a second column {name!r} the name {column!r}; check that you mean {name!r}")
    rows = table.rows
    if index:
        rows = [
            Row(row.number, {k: v for k, v in row.values.items() if k not in index}, row.problem) for row in table.rows
        ]
    left_out = [f"column {column!r} is taken for an index and not used" for column in index]
    return Table(rows, (*table.notes, *left_out, *doubled))


def _is_index(table: Table, column: str) -> bool:
    if _INDEX.fullmatch(column):
        return True
    values = [str(row.values.get(column)) for row in table.rows]
    return bool(_COUNTED.fullmatch(column)) and values == [str(number) for number in range(len(values))]


def _csv_table(path: Path, text: str) -> Table:
    # a field that is not used may be of any length; one that is used and too long is its row's problem
    csv.field_size_limit(2**31 - 1)
    notes, delimiter = [], ","
    if line := _SEPARATOR_LINE.match(text):
        delimiter, text = line[1], text[line.end() :]
    elif len(header := _header(text, ",")) == 1:
        delimiter = _other_delimiter(header[0])
    header = _header(text, delimiter)
    if delimiter != ",":
        notes.append(f"its columns are separated by {delimiter!r}")
    named = _named_columns(text, delimiter, header)
    check_columns(path, named)
    if _is_plain_lines(text, header):
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        note = "it has no header and is read as one text a line"
        return Table([Row(number, {ONLY_COLUMN: line}) for number, line in enumerate(lines, start=1)], (note,))
    if len(header) == 1 and _is_sentence(header[0]):
        notes.append("it has no header, so its only column is read from the first line on")
        return Table(_csv_rows(text, delimiter, [ONLY_COLUMN]), tuple(notes))
    if (empty := len(header) - len(named)) > 0:
        notes.append(f"{empty} empty columns without a name are not used")
    return Table(_csv_rows(text, delimiter, None, len(named)), tuple(notes))


def _header(text: str, delimiter: str) -> list[str]:
    return next(_nonempty(text, delimiter), [])


def _nonempty(text: str, delimiter: str) -> Iterator[list[str]]:
    return filter(None, csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=delimiter))


def _other_delimiter(name: str) -> str:
    """Return what separates columns if what was read as the name of one is those of several; else the comma."""
    for delimiter in _DELIMITERS:
        parts = name.split(delimiter)
        if len(parts) > 1 and not any(_is_sentence(part) for part in parts):
            return delimiter
    return ","


def _named_columns(text: str, delimiter: str, header: list[str]) -> list[str]:
    """Return a header without the columns at its end that have no name and no value, as spreadsheets write them."""
    named = len(header)
    while named > 1 and not header[named - 1].strip():
        named -= 1
    if named == len(header):
        return header
    # read without errors, which the rows tell
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    return header if any(field.strip() for row in rows for field in row[named:]) else header[:named]


def _is_sentence(text: str) -> bool:
    return len(text.split()) >= _SENTENCE_WORDS or "{query}" in text


def _is_plain_lines(text: str, header: Sequence[str]) -> bool:
    """Tell whether a file is lines of text that contain commas, not a table: no quotes, rows of different length."""
    first = ",".join(header)
    if len(header) < 2 or '"' in text or not _is_sentence(first) or not first.rstrip().endswith((".", "!", "?")):
        return False
    return any(line.count(",") != first.count(",") for line in text.splitlines() if line.strip())


def _csv_rows(text: str, delimiter: str, header: list[str] | None, named: int | None = None) -> list[Row]:
    """Return the rows below the header, or with a header that is given all rows; of each the first `named` fields."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=delimiter)
    rows: list[Row] = []
    while True:
        try:
            fields, fault = next(reader), ""
        except StopIteration:
            return rows
        except csv.Error as error:
            # after a stray quote the next line can be read, but one that never closes has swallowed all that follows
            if "expected after" not in str(error) or header is None:
                raise csv.Error(f"line {reader.line_num}: {error}") from error
            fields, fault = [""], f"not CSV: {error}"
        if not fields:
            continue
        if not any(field.strip() for field in fields[named:]):
            fields = fields[:named]
        if header is None:
            header = fields
            continue
        if not fault and len(fields) != len(header):
            fault = f"{len(fields)} fields where the header has {len(header)}"
        rows.append(Row(len(rows) + 1, dict(zip(header, fields, strict=False)), fault))


def read_objects(path: Path, kind: str) -> Iterator[tuple[int, Any]]:
    """Yield the rows of a parquet file, or what the lines of a JSON Lines file hold, each with its number from 1.

    Args:
        path: the file; one that does not end in .parquet is read as JSON Lines.
        kind: what the file is called in errors, e.g. `verdict file`.

    Raises:
        InputError: the file, a line of it, or a key that occurs twice.
    """
    check_is_itself(path)
    if path.suffix.lower() == ".parquet":
        try:
            table = parquet.read_table(path)
            check_columns(path, table.column_names)
            rows: list[Any] = table.to_pylist()
        except (pa.ArrowException, OSError) as error:
            raise InputError(
                f"{kind} {path} is not a readable parquet file: {reason(error)}; write it again"
            ) from error
        yield from enumerate(rows, start=1)
        return
    try:
        lines = _text(path).split("\n")
    except UnicodeDecodeError as error:
        raise InputError(f"{kind} {path} is not UTF-8 ({error.reason}); {_TO_UTF8}") from error
    except OSError as error:
        raise InputError(f"{kind} {path} cannot be read ({error.strerror or error}); check the file") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line, object_pairs_hook=JsonObject)
        except (ValueError, RecursionError) as error:
            why = error.msg if isinstance(error, json.JSONDecodeError) else error
            raise InputError(f"{path} row {number}: not valid JSON ({why}); write one object a line") from error
        if isinstance(row, JsonObject) and row.doubled:
            raise InputError(f"{path} row {number}: key {row.doubled!r} occurs twice; keep one of them")
        yield number, row


def _json_table(path: Path, text: str) -> Table:
    values, notes = json_values(path, text)
    readable = [value for _, value in values if not isinstance(value, json.JSONDecodeError)]
    if readable and all(isinstance(value, str) for value in readable):
        values = [(n, JsonObject([(ONLY_COLUMN, each)]) if isinstance(each, str) else each) for n, each in values]
    return Table([_row(path, number, value) for number, value in values], notes)


def _row(path: Path, number: int, value: Any) -> Row:
    if isinstance(value, json.JSONDecodeError):
        return Row(number, {}, f"not JSON: {value.msg} at character {value.pos + 1}")
    if not isinstance(value, JsonObject):
        return Row(number, {}, f"not an object: {str(value)[:40]!r}")
    if value.doubled:
        raise InputError(f"{path}: row {number}: key {value.doubled!r} occurs twice; keep one of them, or rename one")
    return Row(number, {key: dict(each) if isinstance(each, JsonObject) else each for key, each in value.items()})
