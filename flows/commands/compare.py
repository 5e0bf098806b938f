"""`neurontune compare`: what differs between runs, on one screen."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd
from rich.console import Console

from flows.commands.console import TextConsole, fitting_table, mlflow_ui
from flows.services import environment
from neurontune_core.errors import InputError
from neurontune_core.shown_text import group_in_words, one_line

if TYPE_CHECKING:
    from neurontune_core.comparison.behaviour import Behaviour
    from tasks.recording.runs import RecordedRun

WIDTH = 140
SHOWN_ANSWERS = 6
SHOWN_CHARACTERS = 160
HEADLINE = ("eval/su_f1", "eval/safety", "eval/utility", "eval/broken")
UNPAIRED = ("eval/kl_to_base", "eval/perplexity_ratio", "eval/fluency", "selection/overlap", "scaling/loss_last")
"""Metrics without paired intervals; they are shown if a run has them."""
SIDES = ("one", "other")
SPOKEN = {"su_f1": "SU-F1", "kl_to_base": "KL to base"}
"""The names of metrics that are not spoken as they are written."""


def compare_runs(runs: Sequence[str], harmful: bool, full: bool, settings: Sequence[str], debug: bool) -> None:
    """Print the differences of every run from the first.

    Raises:
        InputError: fewer than two runs, no such run, or a run that did not finish.
    """
    if len(runs) < 2:
        raise InputError("compare: name two runs or more; each is compared with the first")
    runtime = environment.ready(settings, debug)
    from tasks.recording.runs import find_run

    found = [find_run(run, runtime, finished=True) for run in runs]  # a bad name is told before torch is imported
    from neurontune_core.comparison.behaviour import compare_behaviour
    from tasks.recording.tuned import completions_of

    console = TextConsole(WIDTH)
    names = [chr(ord("A") + place % 26) + str(place // 26 or "") for place in range(len(found))]
    for name, run in zip(names, found, strict=True):
        console.print(f"{name}  {one_line(run.name)}  {run.run_id}  {run.status}")
    _show_settings(console, names, found)
    for name, run in zip(names[1:], found[1:], strict=True):
        console.rule(f"{names[0]} and {name}")
        behaviour = compare_behaviour(completions_of(found[0]), completions_of(run))
        _show_metrics(console, (names[0], name), (found[0], run), behaviour)
        _show_neurons(console, (names[0], name), (found[0], run))
        _show_answers(console, (names[0], name), behaviour.changed, harmful, full)
    console.print(f"\nAll runs side by side: {mlflow_ui(runtime)}", soft_wrap=True)


def metric_in_words(name: str) -> str:
    """Return a metric's name in words: `refusal_rate/benign_attacked` is `refused: harmless attacked`."""
    kind, _, rest = name.partition("/")
    words = SPOKEN.get(rest, group_in_words(rest))
    return words if kind == "eval" else f"{'refused' if kind == 'refusal_rate' else kind}: {words}"


def _show_settings(console: Console, names: Sequence[str], runs: "Sequence[RecordedRun]") -> None:
    from neurontune_core.comparison.settings import differing_settings

    rows = differing_settings([run.config.model_dump(mode="json") for run in runs])
    if not rows:
        console.print("settings: the same")
        return
    console.print(
        fitting_table(
            [
                {"setting": setting, **dict(zip(names, map(str, values), strict=True))}
                for setting, values in rows.items()
            ]
        )
    )


def _show_metrics(
    console: Console, names: tuple[str, str], runs: "tuple[RecordedRun, RecordedRun]", found: "Behaviour"
) -> None:
    from neurontune_core.evaluation.answered_by import answered_by
    from neurontune_core.run_name import leaves
    from tasks.recording.tuned import facts_of_run

    columns = ("metric (tuned model)", *names, f"{names[1]} - {names[0]}", "95% interval, paired", "n")
    rows: list[tuple[str, ...]] = []
    paired = set()
    for row in found.metrics.to_dict("records"):
        interval = f"[{row['low']:+.3f}, {row['high']:+.3f}]" + ("*" if row["low"] > 0 or row["high"] < 0 else "")
        values = [f"{row[side]:.3f}" for side in SIDES]
        name = str(row["metric"]) if "/" in str(row["metric"]) else f"eval/{row['metric']}"
        paired.add(name)
        rows.append((metric_in_words(name), *values, f"{row['difference']:+.3f}", interval, str(row["n"])))
    facts = [facts_of_run(run) for run in runs]
    rates = sorted(name for name in facts[0] if name.startswith("refusal_rate/"))
    for name in (*HEADLINE, *rates, *UNPAIRED):
        if name not in paired and all(name in values for values in facts):
            first, second = (values[name] for values in facts)
            shown = (f"{first:.3f}", f"{second:.3f}", f"{second - first:+.3f}")
            rows.append((metric_in_words(name), *shown, "", ""))
    console.print(fitting_table([dict(zip(columns, row, strict=True)) for row in rows]))
    if found.prompts:
        console.print(f"* the interval does not contain 0; {found.prompts} prompts are in both evaluations")
    else:
        console.print(
            "no prompt is in both evaluations, so differences may come from the prompts, and there are no intervals"
        )
    if found.judges[0] != found.judges[1]:
        console.print(
            f"the verdicts are by different judges, which may cause the differences: {' and '.join(found.judges)}"
        )
    ways = [answered_by(dict(leaves(run.config))) for run in runs]
    if ways[0] != ways[1]:
        console.print(f"the answers were generated differently, which may cause the differences: {' and '.join(ways)}")


def _show_neurons(console: Console, names: tuple[str, str], runs: "tuple[RecordedRun, RecordedRun]") -> None:
    from neurontune_core import artifacts, tables
    from neurontune_core.comparison.neuron_sets import overlap, overlap_by_layer

    sets = [tables.load_neurons(artifacts.open_folder(run.artifact("selection"))) for run in runs]
    total = overlap(*sets)
    everything: dict[str, Any] = {"layer": "all", **total}
    for role in ("safety", "utility"):
        everything |= {f"{role}_{side}": len(getattr(own, role)) for side, own in zip(SIDES, sets, strict=True)}
    layers: list[dict[Any, Any]] = [everything, *overlap_by_layer(*sets).to_dict("records")]
    rows = []
    for row in layers:
        counts = {
            f"{role}\n{name}": str(row[f"{role}_{side}"])
            for role in ("safety", "utility")
            for name, side in zip(names, SIDES, strict=True)
        }
        shared = {f"Jaccard\n{role}": f"{row[role]:.3f}" for role in ("safety", "utility")}
        rows.append({"layer": str(row["layer"])} | counts | shared)
    console.print(fitting_table(rows))
    console.print(f"Jaccard index of all selected neurons: {total['all']:.3f}")
    models = [run.config.model for run in runs]
    if (models[0].name, models[0].revision) != (models[1].name, models[1].revision):
        console.print("the base models differ: neurons with the same number are unrelated")


def _show_answers(console: Console, names: tuple[str, str], changed: pd.DataFrame, harmful: bool, full: bool) -> None:
    moved = changed[changed["outcome_one"] != changed["outcome_other"]]
    if changed.empty:
        console.print("\nno answer differs")
        return
    console.print(f"\n{len(changed)} answers differ, {len(moved)} of them in outcome:")
    for (role, before, after), group in moved.groupby(["role", "outcome_one", "outcome_other"]):
        console.print(f"  {len(group):4} {'harmful' if role == 'safety' else 'harmless'}: {before} -> {after}")
    shown = pd.concat([moved, changed.drop(moved.index)])
    hidden = 0 if harmful else int((shown["role"] == "safety").sum())
    shown = shown if harmful else shown[shown["role"] != "safety"]
    for row in (shown if full else shown.head(SHOWN_ANSWERS)).to_dict("records"):
        console.print(f"\n{group_in_words(str(row['benchmark']))}  {_cut(row['prompt'], full)}")
        for name, side in zip(names, SIDES, strict=True):
            console.print(f"  {name} [{row[f'outcome_{side}']}] {_cut(row[f'completion_{side}'], full)}")
    if not full and len(shown) > SHOWN_ANSWERS:
        console.print(f"\n{len(shown) - SHOWN_ANSWERS} more; --full shows all, uncut")
    if hidden:
        console.print(f"{hidden} to harmful prompts are not shown; --harmful shows them")


def _cut(text: str, full: bool) -> str:
    from flows.commands.chat import plain

    text = plain(text)
    line = " ".join(text.split())
    return text if full else line if len(line) <= SHOWN_CHARACTERS else f"{line[:SHOWN_CHARACTERS]}..."
