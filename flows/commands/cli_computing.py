"""The commands that compute: they run a flow, or a model."""

import sys
from typing import Annotated

import typer

from flows.commands.cli_arguments import Debug, Model, Preset, PresetAlone, Run, Settings
from flows.commands.console import echo
from flows.services.ending import INTERRUPTED
from flows.stage_names import STAGES
from tasks.importing import without_collecting


def run(
    model: Model = None,
    preset: Preset = None,
    settings: Settings = None,
    refresh: Annotated[
        list[str] | None,
        typer.Option(metavar="STAGE", help=f"Compute a stage again even if its result exists: {', '.join(STAGES)}."),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option("--name", metavar="NAME", help="Name of the run; by default model, preset and changes."),
    ] = None,
    debug: Debug = False,
) -> None:
    """Run the pipeline; stages whose inputs and settings have not changed are reused."""
    with without_collecting():
        from flows.commands.run import run_pipeline
        from neurontune_core.config import load_config

    run_pipeline(load_config(preset, settings or [], model), refresh or [], name, debug)


def up(
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="runtime.FIELD=VALUE", help="Where runs are kept, e.g. runtime.root=DIR."),
    ] = None,
    port: Annotated[int, typer.Option(min=1, max=65535, metavar="PORT", help="Port of the Prefect server.")] = 4200,
    mlflow_port: Annotated[
        int, typer.Option(min=1, max=65535, metavar="PORT", help="Port of the MLflow server.")
    ] = 5000,
    show_password: Annotated[
        bool, typer.Option("--show-password", help="Print the password; do nothing else if the servers are up.")
    ] = False,
) -> None:
    """Start the Prefect server, its workers and the MLflow server on this machine, until Ctrl-C."""
    if not show_password:
        echo("checking the settings and the ports", error=True)  # before imports, which take a second
    from flows.services import up

    try:
        up.up(settings or [], port, mlflow_port, show_password)
    except KeyboardInterrupt:  # Ctrl-C is the usual way to stop `up`, which has already printed a message
        sys.exit(INTERRUPTED)


def pairs(
    model: Model = None,
    preset: Preset = None,
    settings: Settings = None,
    json_file: Annotated[
        str | None, typer.Option("--json", metavar="FILE", help="Also write the summary to this file.")
    ] = None,
    debug: Debug = False,
) -> None:
    """Build or reuse the pairs, and show counts, the ranking of the attacks and examples."""
    from flows.commands.run import run_pairs
    from neurontune_core.config import load_config

    run_pairs(load_config(preset, settings or [], model), json_file, debug)


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


def evaluate(
    model: Annotated[str, typer.Option("--model", metavar="FOLDER", help="A model: folder, GGUF file or hub id.")],
    benchmarks: Annotated[
        str, typer.Option(metavar="NAME,NAME", help="Public sets or files: `advbench,benign:mine.csv`.")
    ],
    settings: Settings = None,
    to: Annotated[
        str | None, typer.Option("--to", metavar="FILE", help="Also write answers and verdicts to this file.")
    ] = None,
) -> None:
    """Judge the answers of any model to benchmarks: refusals, harm, help and over-refusal, as JSON."""
    from flows.commands.evaluate_model import evaluate_folder

    evaluate_folder(model, benchmarks, settings or [], to)


def ability(
    run: Run,
    tasks: Annotated[
        str, typer.Option(metavar="NAME,NAME", help="Tasks of lm-evaluation-harness: `mmlu,gsm8k,hellaswag`.")
    ],
    task_folder: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER", help="Folder with YAML files of your own tasks; they may run Python code in it."
        ),
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


def study(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A shipped study (`neurontune studies`), or `own`.")],
    preset: PresetAlone = None,
    settings: Settings = None,
    variants: Annotated[
        list[str] | None,
        typer.Option(
            "--variant", metavar="'NAME: FIELD=VALUE ...'", help="A variant that replaces those of the study."
        ),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", metavar="TEXT", help="Only variants with this text in their name, such as `seed 0`."),
    ] = None,
    trials: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=1000,
            metavar="N",
            help="Settings tried on validation data: 8 by default in automatic-count, in scaling-methods and, for each "
            "other method, in baselines; none by default in robustness.",
        ),
    ] = None,
    to: Annotated[str | None, typer.Option("--to", metavar="FOLDER", help="Also write page and drawing there.")] = None,
    debug: Debug = False,
) -> None:
    """Run the pipeline under several settings and compare the results in one table."""
    from flows.commands.run import run_study
    from neurontune_core.config import DEFAULT_PRESET

    run_study(name, preset or DEFAULT_PRESET, settings or [], variants or [], only or [], trials, to, debug)


def causal(
    run: Run,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="causal.FIELD=VALUE", help="Change a setting of causal, evaluation or runtime."),
    ] = None,
    to: Annotated[str | None, typer.Option("--to", metavar="FOLDER", help="Also write page and drawing there.")] = None,
    debug: Debug = False,
) -> None:
    """Silence, amplify and patch a run's neurons, beside random ones, and count refusals: cause and effect."""
    from flows.commands.run import run_causal

    run_causal(run, settings or [], to, debug)
