"""MLflow's server as `neurontune up` starts it: on loopback, for its own pages alone, behind the root's password."""

import os
import sys

from flows.services.guard import OwnPagesOnly, PasswordAsked

OPEN = ("/health",)
"""What is answered without the password: whether the server is there."""


def serve(store: str, files: str, port: int) -> None:
    """Serve a store, whose runs keep their files in a folder, until told to stop.

    The login is in PREFECT_API_AUTH_STRING, and the address of the store comes by environment, too, as it may hold a
    password: other users of the machine can read command lines.
    """
    import mlflow.server as settings

    os.environ |= {settings.BACKEND_STORE_URI_ENV_VAR: store, settings.ARTIFACT_ROOT_ENV_VAR: files}
    import uvicorn
    from mlflow.server.fastapi_app import app
    from mlflow.server.handlers import initialize_backend_stores

    initialize_backend_stores(store, store, files)
    guarded = OwnPagesOnly(PasswordAsked(app, os.environ["PREFECT_API_AUTH_STRING"], OPEN))
    uvicorn.run(guarded, host="127.0.0.1", port=port, log_level="warning", timeout_graceful_shutdown=5)


if __name__ == "__main__":
    serve(os.environ["MLFLOW_BACKEND_STORE_URI"], sys.argv[1], int(sys.argv[2]))
