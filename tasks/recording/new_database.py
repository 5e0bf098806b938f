"""Create the SQLite databases of Prefect and MLflow from their final schemas: their migrations take seconds.

After an upgrade of one of them, `python -m tasks.recording.new_database` writes its schema again.
"""

import asyncio
import os
import sqlite3
import sys
import tempfile
from collections.abc import Callable
from contextlib import closing
from importlib.metadata import version
from pathlib import Path
from urllib.parse import quote

SCHEMAS = Path(__file__).parent


def create(file: Path, package: str) -> None:
    """Write an empty database of `prefect` or `mlflow` unless it exists.

    Without a schema of the installed version nothing is written: then the package runs its migrations.
    """
    shipped = schema_file(package)
    if file.exists() or not shipped.is_file():
        return
    heading, _, schema = shipped.read_text(encoding="utf-8").partition("\n")
    if heading != _heading(package):
        return
    part = file.with_name(f"{file.name}.part")
    part.unlink(missing_ok=True)
    with closing(sqlite3.connect(part)) as database:
        database.executescript(schema)
    for log in ("wal", "shm"):  # of a deleted database, which SQLite would apply to the new one
        file.with_name(f"{file.name}-{log}").unlink(missing_ok=True)
    part.replace(file)  # completely or not at all, even if this process is killed


def database_path(file: Path) -> str:
    """Return a file as the path in a SQLite address: percent-encoded if it contains `%`, `?` or `#`.

    Slashes are then encoded too, because MLflow would create the folder before the last slash with its encoded name.
    """
    return quote(str(file), safe="") if any(sign in str(file) for sign in "%?#") else str(file)


def schema_file(package: str) -> Path:
    """Return the file with the schema of a package's database; its first line has the package's version."""
    return SCHEMAS / f"{package}_schema.sql"


def migrated(package: str) -> str:
    """Return the schema that a package's migrations make, as it is in `schema_file`."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "new.db"
        MIGRATIONS[package](file)
        with closing(sqlite3.connect(file)) as database:
            return "\n".join([_heading(package), *database.iterdump()]) + "\n"


def _migrate_prefect(file: Path) -> None:
    # before Prefect is imported; with the address, no database of the user is migrated in its place
    os.environ |= {
        "PREFECT_HOME": str(file.parent),
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{file}",
    }
    from prefect.server.database import provide_database_interface

    asyncio.run(provide_database_interface().create_db())


def _migrate_mlflow(file: Path) -> None:
    from mlflow.store.db.utils import _initialize_tables, create_sqlalchemy_engine

    _initialize_tables(create_sqlalchemy_engine(f"sqlite:///{file}"))


MIGRATIONS: dict[str, Callable[[Path], None]] = {"prefect": _migrate_prefect, "mlflow": _migrate_mlflow}


def _heading(package: str) -> str:
    return f"-- {package} {version(package)}"


if __name__ == "__main__":
    for _package in sys.argv[1:] or MIGRATIONS:
        schema_file(_package).write_text(migrated(_package), encoding="utf-8")
