"""Register the deployments: the flows are imported while the Prefect server starts, which takes as long."""

import sys
from importlib import import_module
from pathlib import Path

import yaml


def deploy(file: str) -> None:
    """Register all deployments of a file, after standard input has ended: the server answers then, and has the pools.

    Prefect's own command ends this process, with its exit code.
    """
    for deployment in yaml.safe_load(Path(file).read_text(encoding="utf-8"))["deployments"]:
        import_module(deployment["entrypoint"].partition(".py:")[0].replace("/", "."))
    from prefect.cli import app

    sys.stdin.read()
    sys.argv = ["prefect", "--no-prompt", "deploy", "--all", "--prefect-file", file]
    app()


if __name__ == "__main__":
    deploy(sys.argv[1])
