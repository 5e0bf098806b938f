"""Three changes of Prefect's server for which Prefect has no setting: two on SQLite, one of the order on a page."""

from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from functools import partial
from typing import Any

CHECK_EVERY = timedelta(seconds=2)
"""Interval at which the work queue checks for due work; Prefect's 0.25 seconds use a tenth of a core."""


def change_server() -> None:
    """Let writers of SQLite wait for one another, and let the server look for due work less often.

    A transaction that first reads and then writes fails at once if another transaction has written meanwhile, without
    any timeout. A transaction that takes the write lock at its beginning waits for it, up to the timeout.

    Artifacts get ids that increase with time, like those of runs. The page of a run lists its artifacts by id, the
    largest first; with Prefect's random ids the order would be random. So the result of a run, which is published last,
    is at the top.
    """
    from prefect.server.api import background_workers
    from prefect.server.database.configurations import AioSqliteConfiguration
    from prefect.server.schemas.core import Artifact
    from prefect.server.utilities.schemas.bases import TimeSeriesBaseModel

    begin = AioSqliteConfiguration.begin_transaction

    def begin_writing(
        self: AioSqliteConfiguration, session: Any, with_for_update: bool = True
    ) -> AbstractAsyncContextManager[Any]:
        return begin(self, session, with_for_update=True)

    AioSqliteConfiguration.begin_transaction = begin_writing  # type: ignore[method-assign, assignment]
    worker: Any = background_workers.Worker
    background_workers.Worker = partial(  # type: ignore[misc, assignment]
        worker, minimum_check_interval=CHECK_EVERY, scheduling_resolution=CHECK_EVERY
    )
    Artifact.model_fields["id"] = TimeSeriesBaseModel.model_fields["id"]
    Artifact.model_rebuild(force=True)
