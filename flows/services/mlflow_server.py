"""The MLflow server of `neurontune up`: on loopback, only for its own pages, with the root's password."""

import os
import sys

from flows.services.guard import OwnPagesOnly, PasswordAsked
from tasks.importing import without_collecting
from tasks.recording.mlflow_store import client_of

OPEN = ("/health",)
"""Paths that need no password: the health check."""


def serve_mlflow(store: str, files: str, port: int) -> None:
    """Serve a store, with the folder for the files of its runs, until stopped.

    The login is in PREFECT_API_AUTH_STRING. The address of the store comes by an environment variable too, because it
    may contain a password, and other users of the machine can read command lines.
    """
    with without_collecting():
        import mlflow.server as settings

        os.environ |= {settings.BACKEND_STORE_URI_ENV_VAR: store, settings.ARTIFACT_ROOT_ENV_VAR: files}
        import uvicorn
        from mlflow.server.fastapi_app import app
        from mlflow.server.handlers import initialize_backend_stores

    client_of(store)  # creates a store that does not exist, under the lock that runs use
    initialize_backend_stores(store, store, files)
    guarded = OwnPagesOnly(PasswordAsked(app, os.environ["PREFECT_API_AUTH_STRING"], OPEN))
    uvicorn.run(guarded, host="127.0.0.1", port=port, log_level="warning", timeout_graceful_shutdown=5)


if __name__ == "__main__":
    serve_mlflow(os.environ["MLFLOW_BACKEND_STORE_URI"], sys.argv[1], int(sys.argv[2]))
