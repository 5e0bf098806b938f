"""The command line of `neurontune`. Heavy modules are imported inside the commands that need them."""

import gc
import os
import signal
import sys
import traceback
from importlib import metadata
from types import TracebackType
from typing import Annotated, Any

import typer

from flows.commands.console import fail
from flows.services import ending, memory_watch
from flows.services.ending import INTERRUPTED
from flows.stage_names import STAGES
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

RUN_STATES = ("finished", "failed", "killed", "running")

for _bars in ("HF_HUB_DISABLE_PROGRESS_BARS", "HF_DATASETS_DISABLE_PROGRESS_BARS"):
    os.environ.setdefault(_bars, "1")  # no library's own bars, transformers' among them


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"neurontune {metadata.version('neurontune')}")
        raise typer.Exit


Model = Annotated[
    str | None,
    typer.Argument(
        metavar="[MODEL]",
        help="Your model: a folder, a GGUF file, a hub id or packaged:NAME; without it, the preset's model.",
    ),
]
Preset = Annotated[
    str | None,
    typer.Option(
        "--preset",
        metavar="NAME",
        help="Shipped preset (`neurontune presets`), or path of a TOML file; by default smollm2, with MODEL default.",
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="SECTION.FIELD=VALUE", help="Change one setting; see `neurontune settings`."),
]

Run = Annotated[str, typer.Argument(metavar="RUN", help="Run id, flow run id, name, or `latest`.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show Prefect's log, and the traceback of an error.")]


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Print the version.")
    ] = False,
) -> None:
    """Find and scale the MLP neurons that carry safety and utility in a chat model (NeuronTune)."""


@app.command()
def run(
    model: Model = None,
    preset: Preset = None,
    settings: Settings = None,
    refresh: Annotated[
        list[str] | None,
        typer.Option(metavar="STAGE", help=f"Compute a stage again even if its result exists: {', '.join(STAGES)}."),
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="Name of the run; by default, its changes.")
    ] = None,
    debug: Debug = False,
) -> None:
    """Run the pipeline; stages whose inputs and settings have not changed are reused."""
    from flows.commands.run import run_pipeline
    from neurontune_core.config import load_config

    run_pipeline(load_config(preset, settings or [], model), refresh or [], name, debug)


@app.command()
def up(
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="runtime.FIELD=VALUE", help="Where runs are kept, e.g. runtime.root=DIR."),
    ] = None,
    port: Annotated[int, typer.Option(metavar="PORT", help="Port of the Prefect server.")] = 4200,
    mlflow_port: Annotated[int, typer.Option(metavar="PORT", help="Port of the MLflow server.")] = 5000,
    show_password: Annotated[
        bool, typer.Option("--show-password", help="Print the password; only that if servers are up.")
    ] = False,
) -> None:
    """Start the Prefect server, its workers and the MLflow server on this machine, until Ctrl-C."""
    from flows.services import up

    try:
        up.up(settings or [], port, mlflow_port, show_password)
    except KeyboardInterrupt:  # the way to stop it, and it has said so
        sys.exit(INTERRUPTED)


@app.command()
def pairs(
    model: Model = None,
    preset: Preset = None,
    settings: Settings = None,
    json_file: Annotated[str | None, typer.Option("--json", metavar="FILE", help="Write the summary there.")] = None,
    debug: Debug = False,
) -> None:
    """Build or reuse the pairs, and show counts, the ranking of the attacks and examples."""
    from flows.commands.run import run_pairs
    from neurontune_core.config import load_config

    run_pairs(load_config(preset, settings or [], model), json_file, debug)


@app.command()
def plan(
    model: Model = None,
    preset: Preset = None,
    settings: Settings = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    debug: Debug = False,
) -> None:
    """Estimate the cost of a run by stage: seconds, memory, disk, money; this times a short calibration."""
    from flows.commands.plan import run_plan
    from neurontune_core.config import load_config

    run_plan(load_config(preset, settings or [], model), as_json, debug)


@app.command()
def shard(
    run: Annotated[str, typer.Argument(help="MLflow run id, flow run id, name of the run, or `latest`.")],
    index: Annotated[int, typer.Argument(help="Which shard, counted from 1 as in `attribution shard 2/4`.")],
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="runtime.FIELD=VALUE", help="Where the run is, and how to run the shard."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Compute it again even if its result exists.")] = False,
    debug: Debug = False,
) -> None:
    """Compute one shard of attribution of a recorded run, with that run's own settings."""
    from flows.commands.run import run_one_shard

    run_one_shard(run, index, settings or [], force, debug)


@app.command()
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


@app.command()
def settings(
    words: Annotated[
        list[str] | None, typer.Argument(metavar="[WORD...]", help="Only settings with these words in their names.")
    ] = None,
    preset: Preset = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the settings: value in the preset, default, type and meaning."""
    from flows.commands.setting_list import show_settings

    show_settings(words or [], preset, as_json)


@app.command()
def presets() -> None:
    """List the shipped presets and what each is for."""
    from flows.commands.listings import show_presets

    show_presets()


@app.command()
def coverage(model: Annotated[str, typer.Argument(help="Model name, as in the setting model.name.")]) -> None:
    """Show where the neurons of a model are, a row a layer; exits with 1 if a layer has none."""
    from flows.commands.listings import show_coverage

    if not show_coverage(model):
        raise typer.Exit(1)


@app.command()
def judge(
    file: Annotated[
        str, typer.Argument(help="JSON Lines file with prompt and completion, or an evaluation's completions.parquet.")
    ],
    judge: Annotated[str, typer.Option(metavar="rules|keyword|classifier|precomputed", help="Judge.")] = "rules",
    path: Annotated[
        str | None, typer.Option(help="Model folder of the classifier, verdict file of the precomputed judge.")
    ] = None,
    to: Annotated[
        str | None, typer.Option("--to", metavar="FILE", help="Write a verdict a row there: .jsonl, .csv or .parquet.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Judge completions: counts of every verdict and, where the file has labels, the agreement with people."""
    from flows.commands.listings import show_judgement

    show_judgement(file, judge, path, to, as_json)


@app.command()
def evaluate(
    model: Annotated[str, typer.Option("--model", metavar="FOLDER", help="A model: folder, GGUF file or hub id.")],
    benchmarks: Annotated[
        str, typer.Option(metavar="NAME,NAME", help="Public sets or files: `advbench,benign:mine.csv`.")
    ],
    settings: Settings = None,
    to: Annotated[str | None, typer.Option("--to", metavar="FILE", help="Write answers and verdicts there.")] = None,
) -> None:
    """Judge the answers of any model to benchmarks: refusals, harm, help and over-refusal, as JSON."""
    from flows.commands.evaluate_model import evaluate_folder

    evaluate_folder(model, benchmarks, settings or [], to)


@app.command()
def ability(
    run: Run,
    tasks: Annotated[
        str, typer.Option(metavar="NAME,NAME", help="Tasks of lm-evaluation-harness: `mmlu,gsm8k,hellaswag`.")
    ],
    task_folder: Annotated[
        str | None,
        typer.Option(metavar="FOLDER", help="YAML files of tasks of your own; they may run Python code beside them."),
    ] = None,
    limit: Annotated[int | None, typer.Option(metavar="N", help="Most rows of each task.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="runtime.FIELD=VALUE", help="Where and how it runs.")
    ] = None,
    debug: Debug = False,
) -> None:
    """Measure general ability of a run's base and tuned model on tasks of lm-evaluation-harness."""
    from flows.commands.run import run_ability

    names = [name.strip() for name in tasks.split(",") if name.strip()]
    run_ability(run, names, task_folder, limit, settings or [], debug)


@app.command()
def study(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A shipped study (`neurontune studies`), or `own`.")],
    preset: Preset = None,
    settings: Settings = None,
    variants: Annotated[
        list[str] | None,
        typer.Option("--variant", metavar="'NAME: FIELD=VALUE ...'", help="A variant, in place of the study's own."),
    ] = None,
    trials: Annotated[
        int,
        typer.Option(min=1, max=1000, help="Trials on validation data (automatic-count, baselines)."),
    ] = 8,
    to: Annotated[str | None, typer.Option("--to", metavar="FOLDER", help="Put page and drawing there too.")] = None,
    debug: Debug = False,
) -> None:
    """Run the pipeline under several settings and compare the results in one table."""
    from flows.commands.run import run_study
    from neurontune_core.config import DEFAULT_PRESET

    run_study(name, preset or DEFAULT_PRESET, settings or [], variants or [], trials, to, debug)


@app.command()
def causal(
    run: Run,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="causal.FIELD=VALUE", help="Change a setting of causal, evaluation or runtime."),
    ] = None,
    to: Annotated[str | None, typer.Option("--to", metavar="FOLDER", help="Put page and drawing there too.")] = None,
    debug: Debug = False,
) -> None:
    """Silence, amplify and patch a run's neurons, beside random ones, and count refusals: cause and effect."""
    from flows.commands.run import run_causal

    run_causal(run, settings or [], to, debug)


@app.command()
def studies() -> None:
    """List the shipped studies with their questions."""
    from flows.commands.listings import show_studies

    show_studies()


@app.command()
def export(
    run: Run,
    to: Annotated[str, typer.Option("--to", metavar="FOLDER", help="Folder to make; refused if it is in use.")],
    form: Annotated[
        str, typer.Option("--format", metavar="folder|alpha", help="The whole model, or the factors alone.")
    ] = "folder",
    push: Annotated[
        str | None,
        typer.Option("--push", metavar="OWNER/NAME", help="Upload it to the hub; a new one is private."),
    ] = None,
    gguf: Annotated[
        str | None, typer.Option("--gguf", metavar="FILE", help="Convert it too, by llama.cpp's converter.")
    ] = None,
    settings: Settings = None,
    debug: Debug = False,
) -> None:
    """Write a tuned model as an ordinary Hugging Face folder, or its factors as a small file."""
    from flows.commands.export import export_model

    export_model(run, to, form, push, gguf, settings or [], debug)


@app.command()
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


@app.command()
def sync(
    to: Annotated[
        str | None, typer.Option("--to", metavar="ADDRESS", help="MLflow that gets all records, also of other stores.")
    ] = None,
    settings: Settings = None,
    debug: Debug = False,
) -> None:
    """Send records to MLflow that were kept because it did not answer."""
    from flows.commands.lineage import sync_records

    sync_records(to, settings or [], debug)


@app.command()
def register(
    run: Run,
    name: Annotated[str, typer.Option(help="Name of the registered model.")] = "neurontune",
    alias: Annotated[str, typer.Option(help="Alias the version gets.")] = "candidate",
    settings: Settings = None,
    debug: Debug = False,
) -> None:
    """Register a run's model in MLflow, with its factors, model card and report."""
    from flows.commands.registry import register_run

    register_run(run, name, alias, settings or [], debug)


@app.command()
def promote(
    run: Run,
    name: Annotated[str, typer.Option(help="Name of the registered model.")] = "neurontune",
    settings: Settings = None,
    debug: Debug = False,
) -> None:
    """Make a run's model champion, after a person has agreed by the form on the flow run's page in the Prefect UI."""
    from flows.commands.registry import promote_run

    promote_run(run, name, settings or [], debug)


@app.command()
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


@app.command()
def neurons(
    run: Run,
    top: Annotated[int, typer.Option(metavar="N", help="How many of each set.")] = 10,
    harmful: Annotated[bool, typer.Option("--harmful", help="Show harmful prompts too.")] = False,
    settings: Settings = None,
    debug: Debug = False,
) -> None:
    """Show the strongest neurons of a run: score, factor, what they write and which prompts excite them."""
    from flows.commands.neurons import show_neurons

    show_neurons(run, top, harmful, settings or [], debug)


@app.command()
def chat(
    run: Run,
    strength: Annotated[str, typer.Option(metavar="0..1", help="0 is the base model, 1 the tuned one.")] = "1",
    attack: Annotated[str, typer.Option(metavar="NAME", help="Attack to wrap every message in.")] = "none",
    tokens: Annotated[int, typer.Option(min=1, max=1_000_000, help="Longest answer, in tokens.")] = 200,
    web: Annotated[bool, typer.Option("--web", help="On a page in the browser instead of in the terminal.")] = False,
    settings: Settings = None,
    debug: Debug = False,
) -> None:
    """Talk to the base and the tuned model side by side; /help lists the commands."""
    from flows.commands.chat import chat_with

    chat_with(run, strength, attack, tokens, web, settings or [], debug)


def main() -> None:
    """Entry point: run a command, and turn an error into one line and an exit code.

    Exit codes: 0 done, 1 failed, 2 bad input, 130 interrupted.
    """
    ending.tell_if_lost()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    sys.excepthook = _show_traceback
    memory_watch.watch_memory()
    ending.watch_signals()
    try:
        code = _exit_code()
    finally:  # also if a command exits itself
        ending.reported()
    gc.freeze()  # without it the interpreter collects garbage of torch and MLflow for two seconds at exit
    sys.exit(code)


def _exit_code() -> int:
    try:
        result: Any = app(args=sys.argv[1:] or ["--help"], standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        result = INTERRUPTED
    except InputError as error:
        return fail(str(error), 2)
    except Exception as error:
        if hasattr(error, "format_message"):  # a usage error, of typer's or click's making
            return fail(error.format_message(), 2)
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
            return fail(f"{getattr(error, 'filename', None) or 'a file'}: {why}", 1)
        return fail(f"{type(error).__name__}: {error} (run again with --debug to see where)", 1)
    if result == INTERRUPTED:
        return fail("interrupted; finished stages are kept and will be reused", INTERRUPTED)
    return result if isinstance(result, int) else 0


def _show_traceback(kind: type[BaseException], error: BaseException, place: TracebackType | None) -> None:
    print(printable("".join(traceback.format_exception(kind, error, place))), end="", file=sys.stderr)


def _interrupt(number: int, frame: object) -> None:
    """End at SIGINT (Ctrl-C) or SIGTERM, without half-written files.

    The exception alone is not enough: a library may swallow it inside a callback. So `stop_requested` is set too, which
    ends the loops at their next item.
    """
    stop_requested.set()
    raise KeyboardInterrupt
