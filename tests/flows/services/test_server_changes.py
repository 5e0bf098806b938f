"""What is changed in Prefect's server: SQLite's writers wait for one another, and artifacts are in order of time."""

import asyncio
import time
from pathlib import Path

import pytest
import sqlalchemy as sa
from prefect.server.api import background_workers
from prefect.server.database.configurations import AioSqliteConfiguration
from prefect.server.schemas.core import Artifact

from flows.services import server_changes


async def write_at_once(file: Path) -> int:
    """Let three transactions read, wait and write at once; return how many rows they wrote."""
    database = AioSqliteConfiguration(connection_url=f"sqlite+aiosqlite:///{file}", timeout=10)
    engine = await database.engine()
    async with engine.begin() as connection:
        await connection.execute(sa.text("CREATE TABLE notes (text)"))

    async def note() -> None:
        async with await database.session(engine) as session, database.begin_transaction(session):
            await session.execute(sa.text("SELECT count(*) FROM notes"))
            await asyncio.sleep(0.1)
            await session.execute(sa.text("INSERT INTO notes VALUES ('x')"))

    try:
        await asyncio.gather(*(note() for _ in range(3)))
        async with engine.connect() as connection:
            return int((await connection.execute(sa.text("SELECT count(*) FROM notes"))).scalar_one())
    finally:
        await engine.dispose()


def test_writers_wait_for_one_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(sa.exc.OperationalError, match="database is locked"):
        asyncio.run(write_at_once(tmp_path / "unchanged.db"))
    for place, name in ((AioSqliteConfiguration, "begin_transaction"), (background_workers, "Worker")):
        monkeypatch.setattr(place, name, getattr(place, name))  # as they were, after the test
    server_changes.change_server()
    assert asyncio.run(write_at_once(tmp_path / "changed.db")) == 3


def test_artifacts_get_ids_in_the_order_of_time(monkeypatch: pytest.MonkeyPatch) -> None:
    for place, name in ((AioSqliteConfiguration, "begin_transaction"), (background_workers, "Worker")):
        monkeypatch.setattr(place, name, getattr(place, name))  # as they were, after the test
    server_changes.change_server()
    ids = []
    for _ in range(3):
        ids.append(Artifact().id)
        time.sleep(0.002)
    assert ids == sorted(ids) and {each.version for each in ids} == {7}
