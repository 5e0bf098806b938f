"""Create a new Prefect database on SQLite from the final schema, because Prefect's migrations take eight seconds.

After an upgrade of Prefect, `python -m flows.services.new_database` writes the schema again.
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
    """Write an empty database unless it exists; without a schema of the installed version, leave it to Prefect."""
    if file.exists() or not SCHEMA.is_file():
        return
    heading, _, schema = SCHEMA.read_text(encoding="utf-8").partition("\n")
    if heading != _heading():
        return
    part = file.with_name(f"{file.name}.part")
    part.unlink(missing_ok=True)
    with closing(sqlite3.connect(part)) as database:
        database.executescript(schema)
    for log in ("wal", "shm"):  # of a deleted database, which SQLite would apply to the new one
        file.with_name(f"{file.name}-{log}").unlink(missing_ok=True)
    part.replace(file)  # completely or not at all, even if this process is killed


def migrated() -> str:
    """Return the schema that Prefect's migrations make, with the version of Prefect in the first line."""
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
