"""Arguments and options that several commands take."""

from typing import Annotated

import typer

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
        help="Shipped preset (`neurontune presets`) or TOML file; by default smollm2, or `default` if MODEL is given.",
    ),
]
PresetAlone = Annotated[
    str | None,
    typer.Option(
        "--preset", metavar="NAME", help="Shipped preset (`neurontune presets`) or TOML file; by default smollm2."
    ),
]
"""The preset in a command that takes no model."""
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="SECTION.FIELD=VALUE", help="Change one setting; see `neurontune settings`."),
]
Run = Annotated[str, typer.Argument(metavar="RUN", help="Run id, flow run id, name, or `latest`.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show Prefect's log, and the traceback of an error.")]
