"""New databases of Prefect and MLflow made from their schemas: those of the migrations, whole, never over another."""

import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import mlflow
import prefect
import pytest

from tasks.recording import new_database

PACKAGES = ("prefect", "mlflow")
VERSIONS = {
    "prefect": Path(prefect.__file__).parent / "server" / "database" / "_migrations" / "versions" / "sqlite",
    "mlflow": Path(mlflow.__file__).parent / "store" / "db_migrations" / "versions",
}
UPGRADED = "after an upgrade: python -m tasks.recording.new_database"
MIGRATED = "import sys; from tasks.recording.new_database import migrated; print(migrated(sys.argv[1]), end='')"


@pytest.mark.parametrize("package", PACKAGES)
def test_its_revision_is_the_newest_of_the_installed_package(tmp_path: Path, package: str) -> None:
    file = tmp_path / "new.db"
    file.with_name("new.db.part").write_text("of a killed process")
    file.with_name("new.db-wal").write_text("of a database that was deleted without it")
    new_database.create(file, package)
    assert file.is_file(), UPGRADED
    with closing(sqlite3.connect(file)) as database:
        found = database.execute("select version_num from alembic_version").fetchall()
    migrations = [path.read_text(encoding="utf-8") for path in VERSIONS[package].glob("*.py")]
    made, replaced = (
        {match for text in migrations for match in re.findall(rf'^{name}(?:: .*)? = "(\w+)"', text, re.MULTILINE)}
        for name in ("revision", "down_revision")
    )
    assert {row[0] for row in found} == made - replaced, UPGRADED
    assert [path.name for path in tmp_path.iterdir()] == ["new.db"]


@pytest.mark.slow
@pytest.mark.parametrize("package", PACKAGES)
def test_the_schema_is_what_the_migrations_make(package: str) -> None:
    """But for the order of a table's constraints, which the migrations change from time to time."""
    command = [sys.executable, "-c", MIGRATED, package]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    shipped, made = (
        sorted(part.strip(" \t)(") for part in re.split(r"[,\n]", text))
        for text in (new_database.schema_file(package).read_text(encoding="utf-8"), done.stdout)
    )
    assert shipped == made


@pytest.mark.parametrize("heading", ["-- mlflow 3.0.0\n", None], ids=["of another version", "not shipped"])
def test_without_a_schema_of_the_installed_version_the_package_makes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, heading: str | None
) -> None:
    if heading:
        (tmp_path / "mlflow_schema.sql").write_text(f"{heading}CREATE TABLE old (text);")
    monkeypatch.setattr(new_database, "SCHEMAS", tmp_path)
    new_database.create(tmp_path / "new.db", "mlflow")
    assert not (tmp_path / "new.db").exists()


@pytest.mark.parametrize("package", PACKAGES)
def test_a_database_that_is_there_is_left_alone(tmp_path: Path, package: str) -> None:
    (tmp_path / "new.db").write_text("mine")
    new_database.create(tmp_path / "new.db", package)
    assert (tmp_path / "new.db").read_text() == "mine"
