"""The commands that show presets, settings, studies, a model's layers, and recorded runs."""

from typing import Annotated

import typer

from flows.commands.cli_arguments import Debug, PresetAlone, Run, Settings

RUN_STATES = ("finished", "failed", "killed", "running")


def runs(
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[WORD...]", help="Only runs with these words in name, model or changes."),
    ] = None,
    model: Annotated[str | None, typer.Option(metavar="NAME", help="Only runs of this model.")] = None,
    preset: Annotated[str | None, typer.Option(metavar="NAME", help="Only runs of this preset.")] = None,
    state: Annotated[str | None, typer.Option(metavar="|".join(RUN_STATES), help="Only runs in this state.")] = None,
    most: Annotated[int, typer.Option("--most", min=1, metavar="N", help="The most runs to list.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    settings: Settings = None,
    debug: Debug = False,
) -> None:
    """List the recorded runs, newest first, with their settings and results."""
    from flows.commands.run_table import RunFilter, show_runs

    show_runs(RunFilter(words or (), model, preset, state), most, as_json, settings or [], debug)


def settings(
    words: Annotated[
        list[str] | None, typer.Argument(metavar="[WORD...]", help="Only settings with these words in their names.")
    ] = None,
    preset: PresetAlone = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the settings: value in the preset, default, type and meaning."""
    from flows.commands.setting_list import show_settings

    show_settings(words or [], preset, as_json)


def presets() -> None:
    """List the shipped presets and what each is for."""
    from flows.commands.listings import show_presets

    show_presets()


def coverage(model: Annotated[str, typer.Argument(help="Model name, as in the setting model.name.")]) -> None:
    """Show where the neurons of a model are, a row for each layer; the exit code is 1 if a layer has none."""
    from flows.commands.listings import show_coverage

    if not show_coverage(model):
        raise typer.Exit(1)


def judge(
    file: Annotated[
        str,
        typer.Argument(
            help="JSON Lines, CSV or parquet file with prompt and completion, e.g. an evaluation's completions.parquet."
        ),
    ],
    judge: Annotated[str, typer.Option(metavar="NAME", help="Judge, by its name in docs/evaluation.md.")] = "rules",
    path: Annotated[
        str | None,
        typer.Option(metavar="PATH", help="Folder or hub id of a judge's model, verdict file of precomputed."),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option("--to", metavar="FILE", help="Also write a row for each verdict: .jsonl, .csv or .parquet."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Judge completions: counts of every verdict and, where the file has labels, the agreement with people."""
    from flows.commands.listings import show_judgement

    show_judgement(file, judge, path, to, as_json)


def studies() -> None:
    """List the shipped studies with their questions."""
    from flows.commands.listings import show_studies

    show_studies()


def lineage(
    run: Annotated[str | None, typer.Argument(metavar="[RUN]", help="Run id, flow run id, name, or `latest`.")] = None,
    dataset: Annotated[
        str | None, typer.Option(metavar="NAME|DIGEST", help="Show what was made from a dataset instead.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    settings: Settings = None,
    debug: Debug = False,
) -> None:
    """Show what a tuned model was made from, back to the datasets; or what was made from a dataset."""
    from flows.commands.lineage import show_lineage

    show_lineage(run, dataset, as_json, settings or [], debug)


def compare(
    runs: Annotated[list[str], typer.Argument(metavar="RUN RUN...", help="Each is compared with the first.")],
    harmful: Annotated[bool, typer.Option("--harmful", help="Show answers to harmful prompts too.")] = False,
    full: Annotated[bool, typer.Option("--full", help="Show every changed answer, whole.")] = False,
    settings: Settings = None,
    debug: Debug = False,
) -> None:
    """Show how runs differ: settings, metrics with paired intervals, neurons, answers."""
    from flows.commands.compare import compare_runs

    compare_runs(runs, harmful, full, settings or [], debug)


def neurons(
    run: Run,
    top: Annotated[int, typer.Option(metavar="N", help="Number of neurons of each set.")] = 10,
    harmful: Annotated[bool, typer.Option("--harmful", help="Show harmful prompts too.")] = False,
    settings: Settings = None,
    debug: Debug = False,
) -> None:
    """Show the strongest neurons of a run: score, factor, the tokens they promote, and the prompts that excite them."""
    from flows.commands.neurons import show_neurons

    show_neurons(run, top, harmful, settings or [], debug)


def chat(
    run: Run,
    strength: Annotated[str, typer.Option(metavar="0..1", help="0 is the base model, 1 the tuned one.")] = "1",
    attack: Annotated[str, typer.Option(metavar="NAME", help="Attack to wrap every message in.")] = "none",
    tokens: Annotated[int, typer.Option(min=1, max=1_000_000, metavar="N", help="Most tokens of an answer.")] = 200,
    web: Annotated[bool, typer.Option("--web", help="On a page in the browser instead of in the terminal.")] = False,
    settings: Settings = None,
    debug: Debug = False,
) -> None:
    """Talk to the base and the tuned model side by side; /help lists the commands."""
    from flows.commands.chat import chat_with

    chat_with(run, strength, attack, tokens, web, settings or [], debug)
