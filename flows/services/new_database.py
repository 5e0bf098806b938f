"""A new Prefect database on SQLite, made at once from its final schema: Prefect's migrations take eight seconds.

`python -m flows.services.new_database` writes the schema anew, after an upgrade of Prefect.
"""

import asyncio
import os
import sqlite3
import tempfile
from contextlib import closing
from importlib.metadata import version
from pathlib import Path

SCHEMA = Path(__file__).with_name("prefect_schema.sql")


def create(file: Path) -> None:
    """Write an empty database unless the file exists; without a schema of the installed version, Prefect makes it."""
    if file.exists() or not SCHEMA.is_file():
        return
    heading, _, schema = SCHEMA.read_text(encoding="utf-8").partition("\n")
    if heading != _heading():
        return
    part = file.with_name(f"{file.name}.part")
    part.unlink(missing_ok=True)
    with closing(sqlite3.connect(part)) as database:
        database.executescript(schema)
    for log in ("wal", "shm"):  # of a database that was deleted alone: SQLite would play it into the new one
        file.with_name(f"{file.name}-{log}").unlink(missing_ok=True)
    part.replace(file)  # whole or not at all, also where this process is killed


def migrated() -> str:
    """Return the schema as Prefect's migrations make it, with the version of Prefect in the first line."""
    with tempfile.TemporaryDirectory() as home:
        # before Prefect is imported; with the address, no database of the user is migrated in its place
        file = Path(home) / "prefect.db"
        os.environ |= {
            "PREFECT_HOME": home,
            "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{file}",
        }
        from prefect.server.database import provide_database_interface

        asyncio.run(provide_database_interface().create_db())
        with closing(sqlite3.connect(file)) as database:
            return "\n".join([_heading(), *database.iterdump()]) + "\n"


def _heading() -> str:
    return f"-- Prefect {version('prefect')}"


if __name__ == "__main__":
    SCHEMA.write_text(migrated(), encoding="utf-8")
