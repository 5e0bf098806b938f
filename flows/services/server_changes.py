"""What this project changes in Prefect's server where no setting of Prefect's does: two costs on SQLite."""

from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from functools import partial
from typing import Any

CHECK_EVERY = timedelta(seconds=2)
"""Prefect's work queue looks for due work four times a second, which keeps a tenth of a core busy."""


def apply() -> None:
    """Let writers of SQLite wait for one another, and the server's work queue look for due work less often.

    A transaction that begins by reading and then writes fails at once where another has written meanwhile: no timeout
    applies. One that takes the right to write from its beginning waits its turn, for as long as the timeout says.
    """
    from prefect.server.api import background_workers
    from prefect.server.database.configurations import AioSqliteConfiguration

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
