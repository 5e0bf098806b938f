"""Register the deployments in a process of its own, which imports the flows while the Prefect server starts."""

import sys
from importlib import import_module
from pathlib import Path

import yaml

from tasks.importing import without_collecting


def deploy(file: str) -> None:
    """Register all deployments of a file once standard input is closed, the sign that server and work pools are ready.

    Prefect's command `deploy` ends this process with its exit code.
    """
    with without_collecting():
        for deployment in yaml.safe_load(Path(file).read_text(encoding="utf-8"))["deployments"]:
            import_module(deployment["entrypoint"].partition(".py:")[0].replace("/", "."))
        from prefect.cli import app

    sys.stdin.read()
    sys.argv = ["prefect", "--no-prompt", "deploy", "--all", "--prefect-file", file]
    app()


if __name__ == "__main__":
    deploy(sys.argv[1])
