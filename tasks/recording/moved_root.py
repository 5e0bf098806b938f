"""Correct MLflow's database after an artifact root was moved or copied: it has absolute addresses of files."""

import sqlite3
from contextlib import closing
from pathlib import Path

import fsspec
from fsspec.implementations.local import LocalFileSystem

# other columns with addresses below an experiment's folder: models, model versions, traces
_BELOW = {
    "logged_models": ["artifact_location"],
    "model_versions": ["source", "storage_location"],
    "trace_tags": ["value"],
}


def readdress(root: str) -> None:
    """Replace the addresses in the MLflow database of a local artifact root by those of the files beside it.

    After a move or a copy the database has the addresses of the old place. A locked or damaged database is not
    changed; MLflow reports it.
    """
    filesystem, base = fsspec.url_to_fs(root)
    place = Path(base) / "mlflow"
    file = Path(base) / "mlflow.db"
    if not isinstance(filesystem, LocalFileSystem) or not file.is_file():
        return
    try:
        with closing(sqlite3.connect(file, timeout=5)) as database, database:
            moved = _runs(database, place)
            _experiments(database, place, moved)
            for table, columns in _BELOW.items():
                for column in columns:
                    _below(database, table, column, moved)
    except sqlite3.Error:
        return


def _runs(database: sqlite3.Connection, place: Path) -> dict[str, str]:
    """Correct the runs of each old experiment folder that has a run's files here; return new folders by old ones."""
    runs = {
        run: str(address).removesuffix(f"/{run}/artifacts")
        for run, address in database.execute("SELECT run_uuid, artifact_uri FROM runs").fetchall()
    }
    moved: dict[str, str] = {}
    for run, old in runs.items():
        new = _here(old, place)
        if new is not None and new != old and (place / (_part(old) or "") / run).is_dir():
            moved[old] = new
    changes = [(f"{moved[old]}/{run}/artifacts", run) for run, old in runs.items() if old in moved]
    database.executemany("UPDATE runs SET artifact_uri = ? WHERE run_uuid = ?", changes)
    return moved


def _experiments(database: sqlite3.Connection, place: Path, moved: dict[str, str]) -> None:
    query = "SELECT experiment_id, artifact_location, (SELECT count(*) FROM runs WHERE experiment_id = e.experiment_id)"
    for experiment, address, runs in database.execute(f"{query} FROM experiments e").fetchall():
        new = moved.get(str(address)) if runs else _here(str(address), place)
        if new is not None and new != address:
            values = (new, experiment)
            database.execute("UPDATE experiments SET artifact_location = ? WHERE experiment_id = ?", values)


def _below(database: sqlite3.Connection, table: str, column: str, moved: dict[str, str]) -> None:
    for old, new in moved.items():
        change = f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE substr({column}, 1, ?) = ?"
        database.execute(change, (f"{new}/", len(old) + 2, len(old) + 1, f"{old}/"))


def _here(address: str, place: Path) -> str | None:
    """Return the address under this root of an experiment's folder; None if the folder was never under a root."""
    part = _part(address)
    if part is None:
        return None
    found = place / part
    return found.absolute().as_uri() if address.startswith("file:") else str(found.absolute())


def _part(address: str) -> str | None:
    """Return the part of an experiment's address below the folder `mlflow`: "" or the experiment's id."""
    *_, last, end = ["", *address.split("/")]
    if end == "mlflow":
        return ""
    return end if last == "mlflow" and end.isdigit() else None
