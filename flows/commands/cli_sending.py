"""The commands that send results: to a folder, the hub, MLflow, or the model registry."""

from typing import Annotated

import typer

from flows.commands.cli_arguments import Debug, Run, Settings


def export(
    run: Run,
    to: Annotated[str, typer.Option("--to", metavar="FOLDER", help="New or empty folder to write.")],
    form: Annotated[
        str, typer.Option("--format", metavar="folder|alpha", help="The whole model, or only the factors.")
    ] = "folder",
    push: Annotated[
        str | None,
        typer.Option("--push", metavar="OWNER/NAME", help="Also upload it to the hub; a new repository is private."),
    ] = None,
    gguf: Annotated[
        str | None,
        typer.Option("--gguf", metavar="FILE", help="Also write it as a GGUF file, with llama.cpp's converter."),
    ] = None,
    settings: Settings = None,
    debug: Debug = False,
) -> None:
    """Write a tuned model as an ordinary Hugging Face folder, or its factors as a small file."""
    from flows.commands.export import export_model

    export_model(run, to, form, push, gguf, settings or [], debug)


def sync(
    to: Annotated[
        str | None,
        typer.Option("--to", metavar="ADDRESS", help="Send all kept records to this MLflow, even those for others."),
    ] = None,
    settings: Settings = None,
    debug: Debug = False,
) -> None:
    """Send records to MLflow that were kept because it did not answer."""
    from flows.commands.lineage import sync_records

    sync_records(to, settings or [], debug)


def register(
    run: Run,
    name: Annotated[str, typer.Option(metavar="NAME", help="Name of the registered model.")] = "neurontune",
    alias: Annotated[str, typer.Option(metavar="NAME", help="Alias of the version.")] = "candidate",
    settings: Settings = None,
    debug: Debug = False,
) -> None:
    """Register a run's model in MLflow, with its factors, model card and report."""
    from flows.commands.registry import register_run

    register_run(run, name, alias, settings or [], debug)


def promote(
    run: Run,
    name: Annotated[str, typer.Option(metavar="NAME", help="Name of the registered model.")] = "neurontune",
    settings: Settings = None,
    debug: Debug = False,
) -> None:
    """Make a run's model champion, after a person has agreed by the form on the flow run's page in the Prefect UI."""
    from flows.commands.registry import promote_run

    promote_run(run, name, settings or [], debug)
