"""Output to the terminal: this project's log lines, progress bars, and errors in one line."""

import json
import logging
import os
import shlex
import sys
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Table
from tqdm import tqdm

from neurontune_core.shown_text import printable

if TYPE_CHECKING:
    from neurontune_core.config import RuntimeConfig

SHORT = 9
"""The most characters of a number or word whose column is not wrapped."""


class TextConsole(Console):
    """A console that prints text literally: no markup, no emoji codes, and no escape sequences from the text."""

    def __init__(self, width: int | None = None, **options: Any) -> None:
        """Make the console; `width` is used if the output is not a terminal and COLUMNS is not set."""
        plain: dict[str, Any] = {"markup": False, "highlight": False, "emoji": False}
        super().__init__(**plain | options)
        if width is not None and not self.is_terminal and "COLUMNS" not in os.environ:
            self.width = width

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Render as Rich does, with control characters in the text escaped."""
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else printable(text), style, control)


class SafeRecord(logging.LogRecord):
    """A log line, of any library, with control characters escaped."""

    def getMessage(self) -> str:
        """Return the line."""
        return printable(super().getMessage())


class BarFriendlyHandler(logging.Handler):
    """Writes log lines above the progress bars, without lines that repeat a bar that is shown."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line to standard error."""
        if getattr(record, "progress_line", False) and sys.stderr.isatty():
            return
        tqdm.write(self.format(record), file=sys.stderr)


def show_own_lines() -> None:
    """Send this project's log lines to the terminal, without level and time, and hide most lines of libraries."""
    logging.setLogRecordFactory(SafeRecord)
    logger = logging.getLogger("neurontune")
    handler = BarFriendlyHandler(level=logging.INFO)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger.addHandler(handler)
    logger.propagate = False
    for chatty in ("mlflow", "alembic", "httpx", "transformers", "distributed"):
        logging.getLogger(chatty).setLevel(logging.ERROR)
    # a FutureWarning tells programmers what a library will change in its next version
    warnings.simplefilter("ignore", FutureWarning)


def echo(text: str, error: bool = False) -> None:
    """Print a text with control characters escaped; to standard error if `error`, for text that is not a result."""
    print(printable(text), file=sys.stderr if error else sys.stdout, flush=True)


def json_text(value: Any) -> str:
    """Return a value as JSON; control characters, and letters that the output cannot show, are JSON escapes."""
    shows_all = (sys.stdout.encoding or "utf-8").lower().startswith("utf")
    text = json.dumps(value, indent=1, ensure_ascii=not shows_all, default=str)
    return "".join(sign if sign.isprintable() or sign == "\n" else json.dumps(sign)[1:-1] for sign in text)


def fitting_table(rows: Sequence[Mapping[str, str]]) -> Table:
    """Return rows, all with the same columns, as a table whose texts wrap on a narrow terminal and are never cut."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for name in rows[0] if rows else ():
        texts = [name, *(row[name] for row in rows)]
        short = all(len(text) <= SHORT for text in texts)
        one_word = short and not any(" " in text for text in texts)
        table.add_column(name, justify="right" if short else "left", no_wrap=one_word, overflow="fold")
    for row in rows:
        table.add_row(*row.values())
    return table


def fail(message: str, code: int) -> int:
    """Print an error as one line and return the exit code."""
    print(f"neurontune: error: {printable(' '.join(message.split()))}", file=sys.stderr)
    return code


def program(name: str) -> str:
    """Return the command for a program of this Python environment: its name if that is on PATH, else its path."""
    import shutil

    beside = Path(sys.executable).with_name(name)
    found = shutil.which(name)
    return name if found is not None and Path(found).resolve() == beside.resolve() else str(beside)


def mlflow_ui(runtime: "RuntimeConfig") -> str:
    """Return the address of MLflow's run table; without a server, the command that starts one stands before it."""
    from tasks.recording.mlflow_store import run_table, tracking_uri, without_password

    uri, table = tracking_uri(runtime), run_table(runtime)
    if uri.startswith("http"):
        return f"{without_password(uri).rstrip('/')}/{table}"
    return f"{program('mlflow')} ui --backend-store-uri {shlex.quote(without_password(uri))}   then http://127.0.0.1:5000/{table}"
