"""`neurontune runs`: the recorded runs, newest first."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from rich.table import Table

from flows.commands.cli_showing import RUN_STATES
from flows.commands.console import TextConsole, echo, json_text
from flows.services import environment
from neurontune_core.errors import InputError
from neurontune_core.evaluation.answered_by import mark
from neurontune_core.shown_text import one_line

if TYPE_CHECKING:
    from tasks.recording.run_list import ListedRun

WIDE = 150
"""On a terminal with at least this many columns, a run is a row of a table; on a narrower one it has several lines."""


@dataclass(frozen=True)
class RunFilter:
    """The runs to list: those with all of the words, of this model, of this preset, in this state."""

    words: Sequence[str] = ()
    model: str | None = None
    preset: str | None = None
    state: str | None = None


def show_runs(wanted: RunFilter, most: int, as_json: bool, settings: Sequence[str], debug: bool) -> None:
    """Print the newest runs that match: as a table if the terminal is wide enough, as JSON if `as_json`.

    Raises:
        InputError: no such state, or no run is recorded.
    """
    if wanted.state is not None and wanted.state not in RUN_STATES:
        raise InputError(f"--state: {wanted.state!r} is unknown; choose among {', '.join(RUN_STATES)}")
    runtime = environment.ready(settings, debug)
    from tasks.recording.run_list import listed, search

    fitting = [run for run in map(listed, search(runtime)) if _fits(run, wanted)]
    shown = fitting[:most]
    if as_json:
        echo(json_text([asdict(run) for run in shown]))
        return
    console = TextConsole()
    if console.width >= WIDE:
        console.print(_table(shown))
    else:
        for run in shown:
            console.print("\n".join(_lines(run)))
    if len(fitting) > len(shown):
        console.print(f"{len(fitting) - len(shown)} more; --most {len(fitting)} shows all")
    if not fitting:
        console.print("no run fits" if wanted != RunFilter() else "no run is recorded yet")


def _fits(run: "ListedRun", wanted: RunFilter) -> bool:
    model = wanted.model
    text = " ".join((run.run_id, run.name, run.model, run.preset, run.differs)).lower()
    return (
        all(word.lower() in text for word in wanted.words)
        and (model is None or model.rstrip("/").split("/")[-1].split(":")[-1].lower() in run.model.lower())
        and wanted.preset in (None, run.preset)
        and wanted.state in (None, run.state)
    )


def _table(runs: "Sequence[ListedRun]") -> Table:
    table = Table(box=None)
    for name in ("run", "date", "state", "SU-F1", "safety", "utility", "name", "model", "preset", "differs"):
        table.add_column(name, no_wrap=name in ("run", "date", "state", "SU-F1"), overflow="fold")
    for run in runs:
        scores = [
            _score(run) or "-",
            *("-" if value is None else f"{value:.2f}" for value in (run.safety, run.utility)),
        ]
        made = map(one_line, (run.name, run.model, run.preset, run.differs))
        table.add_row(run.run_id[:8], run.started, run.state, *scores, *made)
    return table


def _lines(run: "ListedRun") -> list[str]:
    scores = [_score(run) and f"SU-F1 {_score(run)}"]
    scores += [
        f"{name} {value:.2f}" for name, value in (("safety", run.safety), ("utility", run.utility)) if value is not None
    ]
    made = [run.model, run.preset and f"preset {run.preset}", run.differs]
    return [
        one_line(run.name),
        f"  {run.run_id[:8]}  {run.started}  {run.state}",
        f"  {one_line(', '.join(filter(None, made)))}",
        f"  {'  '.join(filter(None, scores)) or 'not evaluated'}",
    ]


def _score(run: "ListedRun") -> str:
    if run.su_f1 is None:
        return ""
    interval = "" if run.su_f1_low is None else f" [{run.su_f1_low:.2f}, {run.su_f1_high:.2f}]"
    return f"{run.su_f1:.2f}{interval}{mark(run.answered_by)}"
