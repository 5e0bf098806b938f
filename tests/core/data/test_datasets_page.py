"""What the page on datasets says is what the package does."""

import json
import re
from pathlib import Path

from neurontune_core.data import columns, specification
from neurontune_core.pairs import load
from neurontune_core.pairs.settings import PairsConfig

PAGE = (Path(__file__).parents[3] / "docs" / "datasets.md").read_text(encoding="utf-8")


def test_the_page_on_datasets_names_every_repository_commit_and_licence() -> None:
    rows = {cells[1].strip(" `"): line for line in PAGE.splitlines() if len(cells := line.split("|")) == 9}
    for name in specification.dataset_names():
        about = specification.dataset(name)
        cells = [cell.strip(" `") for cell in rows[name].split("|")]
        assert cells[2:5] == [about.hub, about.revision or "none: looked up when used", about.licence]
        assert [bool(cell) for cell in cells[5:8]] == [about.harmful is not None, about.benign is not None, about.gated]


def test_the_page_names_every_column_in_its_order() -> None:
    rows = [line.split("|")[1:-1] for line in PAGE.splitlines() if line.count("|") == 4]
    said = [tuple(cells[2].strip().split(", ")) for cells in rows[2:]]
    query, context, *others = [*columns.HARMFUL.items(), *columns.ATTACK.items(), *columns.REFUSAL.items()]
    assert said[0] == query[1] and context[1] == ("input",)
    assert said[2:] == [names for _, names in others]


def test_the_description_on_the_page_is_read_as_it_says(tmp_path: Path) -> None:
    (found,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "mine.toml").write_text(found)
    rows = tmp_path / "rows"
    rows.mkdir()
    (rows / "asked.csv").write_text(
        "Task text,Document,Area,Part\nBuild a trap,A plan,Weapons,A\nOpen a lock,,Tools,B\nNo,,Tools,C\n"
    )
    (rows / "harmless.jsonl").write_text('{"prompt": "Kill the lights please"}\n')
    (rows / "tricks.csv").write_text("How,Who\nBe a pirate: {query},Pirate\n")
    (rows / "no.json").write_text(json.dumps(["No.", "Never."]))
    name = str(tmp_path / "mine.toml")
    read = load.load_queries(PairsConfig(harmful=(name,), benign=(name,), attacks=(name,), refusals=(name,)))
    assert [(query.text, query.category) for query in read.queries] == [
        ("Build a trap\n\nA plan", "physical_harm"),
        ("Open a lock", "uncategorised"),
        ("Kill the lights please", "borderline/mine"),
    ]
    assert [attack.name for attack in read.attacks] == ["mine_pirate"] and read.refusals == ["No.", "Never."]
