"""A new Prefect database made from its schema: that of Prefect's migrations, whole, and never over another."""

import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import prefect
import pytest

from flows.services import new_database

VERSIONS = Path(prefect.__file__).parent / "server" / "database" / "_migrations" / "versions" / "sqlite"
UPGRADED = "after an upgrade of Prefect: python -m flows.services.new_database"
MIGRATED = "from flows.services.new_database import migrated; print(migrated(), end='')"


def test_its_revision_is_the_newest_of_the_installed_prefect(tmp_path: Path) -> None:
    file = tmp_path / "prefect.db"
    file.with_name("prefect.db.part").write_text("of a killed process")
    file.with_name("prefect.db-wal").write_text("of a database that was deleted without it")
    new_database.create(file)
    assert file.is_file(), UPGRADED
    with closing(sqlite3.connect(file)) as database:
        found = database.execute("select version_num from alembic_version").fetchall()
    head = max(VERSIONS.glob("*.py")).read_text(encoding="utf-8")  # their names begin with their dates
    assert f'revision = "{found[0][0]}"' in head, UPGRADED
    assert [path.name for path in tmp_path.iterdir()] == ["prefect.db"]


@pytest.mark.slow
def test_the_schema_is_what_the_migrations_make() -> None:
    """But for the order of a table's constraints, which Prefect's migrations change from time to time."""
    done = subprocess.run([sys.executable, "-c", MIGRATED], capture_output=True, text=True, check=True)
    shipped, made = (
        sorted(part.strip(" \t)(") for part in re.split(r"[,\n]", text))
        for text in (new_database.SCHEMA.read_text(encoding="utf-8"), done.stdout)
    )
    assert shipped == made


@pytest.mark.parametrize("heading", ["-- Prefect 3.0.0\n", None], ids=["of another version", "not shipped"])
def test_without_a_schema_of_the_installed_version_prefect_makes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, heading: str | None
) -> None:
    schema = tmp_path / "schema.sql"
    if heading:
        schema.write_text(f"{heading}CREATE TABLE old (text);")
    monkeypatch.setattr(new_database, "SCHEMA", schema)
    new_database.create(tmp_path / "prefect.db")
    assert not (tmp_path / "prefect.db").exists()


def test_a_database_that_is_there_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "prefect.db").write_text("mine")
    new_database.create(tmp_path / "prefect.db")
    assert (tmp_path / "prefect.db").read_text() == "mine"
