"""Datasets of one's own on the hub, and datasets that a TOML file describes."""

from pathlib import Path

import pytest
from own_files import QUERIES, loaded, table

from neurontune_core.data import fetch
from neurontune_core.data.categories import UNCATEGORISED
from neurontune_core.errors import InputError
from neurontune_core.pairs.prepare import prepare
from neurontune_core.pairs.settings import PairsConfig


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "cached.parquet"
    table(file, [{"user turn": text} for text in QUERIES])
    wanted = ("me/red-team", "data/a.parquet", "c0ffee")

    def cached(hub: str, name: str, revision: str, repo_type: str) -> str | None:
        return str(file) if (hub, name, revision) == wanted else None

    monkeypatch.setattr(fetch, "try_to_load_from_cache", cached)
    monkeypatch.setattr(fetch.constants, "HF_HUB_OFFLINE", True)
    return file


def test_a_file_on_the_hub_is_named_with_its_columns(hub: Path) -> None:
    name = "hub:me/red-team/data/a.parquet"
    read = loaded(harmful=[name], sources={"red_team": {"revision": "c0ffee"}})
    assert [query.id for query in read.queries if query.role == "safety"][:1] == ["red_team-harmful-00001"]
    assert read.sources[0].origin == "me/red-team@c0ffee"
    with pytest.raises(InputError, match=r"HF_HUB_OFFLINE.*--set pairs\.sources\.red_team\.path=FILE"):
        loaded(harmful=[name])
    local = loaded(harmful=[name], sources={"red_team": {"path": str(hub)}})
    assert [query.text for query in local.queries] == [query.text for query in read.queries]
    config = {"harmful": [name], "sources": {"red_team": {"path": str(hub)}}}
    assert prepare(PairsConfig.model_validate(config)).data.digests


DESCRIPTION = """
title = "Ours"
licence = "internal"
path = "rows"

[harmful]
file = "bad.csv"
[[harmful.layouts]]
query = "Task"
category = "Area"
where = { Part = ["A"] }
[harmful.categories]
weapons = "physical_harm"

[benign]
file = "good.csv"
kind = "borderline"

[attacks]
file = "tricks.csv"
columns = { template = "How", name = "Who" }

[refusals]
file = "no.csv"
"""


@pytest.fixture
def described(tmp_path: Path) -> Path:
    (tmp_path / "rows").mkdir()
    parts = zip(QUERIES, ("weapons", "Weapons", "other", ""), "ABAA", strict=True)
    table(tmp_path / "rows" / "bad.csv", [{"Task": t, "Area": a, "Part": p} for t, a, p in parts])
    table(tmp_path / "rows" / "good.csv", [{"question": "How do tides work", "n": 1}])
    table(tmp_path / "rows" / "tricks.csv", [{"How": "Be {query}", "Who": "Bee"}])
    table(tmp_path / "rows" / "no.csv", [{"text": "No."}])
    file = tmp_path / "Ours.TOML"
    file.write_text(DESCRIPTION)
    return file


def test_a_description_says_how_a_dataset_is_understood(described: Path) -> None:
    name = str(described)
    read = loaded(harmful=[name], benign=[name, "shipped"], attacks=[name], refusals=[name])
    mine = [query for query in read.queries if query.source == "ours"]
    assert [(query.text, query.category) for query in mine] == [
        (QUERIES[0], "physical_harm"), (QUERIES[2], UNCATEGORISED), (QUERIES[3], UNCATEGORISED),
        ("How do tides work", "borderline/ours"),
    ]  # fmt: skip
    assert [attack.name for attack in read.attacks] == ["ours_bee"] and read.refusals == ["No."]
    assert {(source.title, source.licence) for source in read.sources if source.name == "ours"} == {
        ("Ours", "internal")
    }
    assert [source.other_rows for source in read.sources if source.role == "harmful"] == [1]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('path = "rows"', "", r"Ours\.TOML: give either path, .* or hub"),
        ('path = "rows"', 'path = "rows"\nhub = "a/b"', r"Ours\.TOML: give either path"),
        ('path = "rows"', 'path = "row"', r"row is no such file"),
        ('file = "bad.csv"', "", r"rows is a folder, not a file"),
        ('file = "bad.csv"', 'file = "worse.csv"', r"worse\.csv is no such file"),
        ('query = "Task"', "", r"Ours\.TOML: harmful\.layouts\.0\.query: Field required"),
        ('query = "Task"', 'query = "Job"', r"pairs\.sources\.ours: the file has columns"),
        ('title = "Ours"', 'name = "us"', r"Ours\.TOML: name: the name of a dataset is that of its file, here 'ours'"),
        ('title = "Ours"', "title = Ours", r"Ours\.TOML: not valid TOML"),
        ('title = "Ours"', "titel = 'Ours'", r"Ours\.TOML: titel: Extra inputs are not permitted"),
        ("[harmful", "[benign", r"Ours\.TOML: not valid TOML"),
    ],
)
def test_a_wrong_description_is_told(described: Path, old: str, new: str, message: str) -> None:
    described.write_text(DESCRIPTION.replace(old, new))
    with pytest.raises(InputError, match=message):
        loaded(harmful=[str(described)])


def test_a_description_without_the_part_asked_for_is_told(described: Path) -> None:
    described.write_text('path = "rows"\n[benign]\nfile = "good.csv"\n')
    with pytest.raises(InputError, match=r"has no harmful queries; add a section \[harmful\], or name it in pairs"):
        loaded(harmful=[str(described)])
    with pytest.raises(InputError, match=r"has no attacks; add a section \[attacks\]"):
        loaded(attacks=[str(described)])
    with pytest.raises(InputError, match=r"gone\.toml: cannot be read"):
        loaded(harmful=[str(described.parent / "gone.toml")])
