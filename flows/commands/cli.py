"""The command line of `neurontune`. Heavy modules are imported inside the commands that need them."""

import gc
import io
import os
import signal
import sys
import traceback
from importlib import metadata
from types import TracebackType
from typing import Annotated, Any

import typer

from flows.commands import cli_computing, cli_sending, cli_showing
from flows.commands.console import fail
from flows.services import ending, memory_watch
from flows.services.ending import INTERRUPTED
from neurontune_core.errors import InputError, NeuronTuneError
from neurontune_core.shown_text import printable
from neurontune_core.storage import out_of_memory, problem
from tasks.progress import stop_requested

app = typer.Typer(
    help="Find and scale the MLP neurons that carry safety and utility in a chat model (NeuronTune).",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


COMMANDS = (
    cli_computing.run,
    cli_computing.up,
    cli_computing.pairs,
    cli_computing.plan,
    cli_computing.shard,
    cli_showing.runs,
    cli_showing.settings,
    cli_showing.presets,
    cli_showing.coverage,
    cli_showing.judge,
    cli_computing.evaluate,
    cli_computing.ability,
    cli_computing.study,
    cli_computing.causal,
    cli_showing.studies,
    cli_sending.export,
    cli_showing.lineage,
    cli_sending.sync,
    cli_sending.register,
    cli_sending.promote,
    cli_showing.compare,
    cli_showing.neurons,
    cli_showing.chat,
)
"""In the order in which the help lists them."""

for _bars in ("HF_HUB_DISABLE_PROGRESS_BARS", "HF_DATASETS_DISABLE_PROGRESS_BARS"):
    os.environ.setdefault(_bars, "1")  # no progress bars of libraries such as transformers


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"neurontune {metadata.version('neurontune')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Print the version.")
    ] = False,
) -> None:
    """Find and scale the MLP neurons that carry safety and utility in a chat model (NeuronTune)."""


for _command in COMMANDS:
    app.command()(_command)


def main() -> None:
    """Entry point: run a command, and turn an error into one line and an exit code.

    Exit codes: 0 done, 1 failed, 2 bad input, 130 interrupted.
    """
    _ready_streams()
    ending.tell_if_lost()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    sys.excepthook = _show_traceback
    sys.unraisablehook = _show_unraisable
    memory_watch.watch_memory()
    ending.watch_signals()
    try:
        code = _exit_code()
    finally:  # also if a command calls sys.exit itself
        ending.reported()
    gc.freeze()  # without it the interpreter collects garbage of torch and MLflow for two seconds at exit
    sys.exit(code)


def _ready_streams() -> None:
    """Open closed standard streams on the null device, and write `?` for a character that the output cannot show."""
    if None in (sys.stdin, sys.stdout, sys.stderr):
        while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:  # `open` takes the lowest closed descriptor
            pass
        os.close(descriptor)
        sys.stdin, sys.stdout, sys.stderr = (
            stream or open(os.devnull, mode)  # noqa: SIM115  # it stays open until the process ends
            for stream, mode in ((sys.stdin, "r"), (sys.stdout, "w"), (sys.stderr, "w"))
        )
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def _exit_code() -> int:
    try:
        result: Any = app(args=sys.argv[1:] or ["--help"], prog_name="neurontune", standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        result = INTERRUPTED
    except InputError as error:
        return fail(str(error), 2)
    except Exception as error:
        if hasattr(error, "format_message"):  # a usage error, raised by typer or click
            context = getattr(error, "ctx", None)
            help_of = f"; see `{context.command_path} -h`" if context else ""
            return fail(f"{error.format_message().rstrip('.')}{help_of}", 2)
        if "--debug" in sys.argv:
            raise
        from tasks.recording.mlflow_store import is_of_database, reason_of

        if is_of_database(error):
            return fail(reason_of(error), 2)
        if isinstance(error, NeuronTuneError):
            return fail(str(error), 1)
        if out_of_memory(error):
            memory_watch.told()
            return fail(memory_watch.PROBLEM, 1)
        if why := problem(error):
            return fail(f"{getattr(error, 'filename', None) or 'the output or a file'}: {why}", 1)
        return fail(f"{type(error).__name__}: {error} (run again with --debug to see where)", 1)
    if result == INTERRUPTED:
        return fail("interrupted; finished stages are kept and will be reused", INTERRUPTED)
    return result if isinstance(result, int) else 0


def _show_traceback(kind: type[BaseException], error: BaseException, place: TracebackType | None) -> None:
    print(printable("".join(traceback.format_exception(kind, error, place))), end="", file=sys.stderr)


def _show_unraisable(error: "sys.UnraisableHookArgs") -> None:
    """Show an exception that Python cannot raise, as it arose in a finalizer or in a weak reference's callback.

    An interrupt is not shown: `_interrupt` has noted it, and it ends the command.
    """
    if not (stop_requested.is_set() and issubclass(error.exc_type, KeyboardInterrupt)):
        sys.__unraisablehook__(error)


def _interrupt(number: int, frame: object) -> None:
    """End at SIGINT (Ctrl-C) or SIGTERM, without half-written files.

    The exception alone is not enough: a library may swallow it inside a callback, and Python swallows it in a
    finalizer. So `stop_requested` is set too, which ends the loops at their next item.
    """
    stop_requested.set()
    raise KeyboardInterrupt
