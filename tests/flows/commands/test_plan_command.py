"""`neurontune plan`: the cost of a run before it starts."""

import json
import re
from contextlib import nullcontext
from pathlib import Path

import pytest
from command_line import call

from flows.commands.plan import plan_text
from neurontune_core import tables
from neurontune_core.costs.plan import Plan, StageCost
from neurontune_core.model.load import Conversion
from neurontune_core.records import PromptPair


def planned_pairs() -> list[PromptPair]:
    """Plain and attacked pairs of both roles in every split."""
    return [
        PromptPair(
            id=f"{role}{split}{number}{attack}", role=role, query_id=f"{role}{split}{number}", query="How?",
            query_category="c", prompt=f"{attack} {number}: how?", response="No.", attack_type="t" * bool(attack),
            attack_category="a" * bool(attack), attack_name=attack, selected=bool(attack), source="s", split=split,
        )
        for role in ("safety", "utility") for split in ("train", "validation", "test") for number in range(3)
        for attack in ("", "n")
    ]  # fmt: skip


def test_plan_prints_what_every_stage_would_take(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The pairs are at hand here; that the flow finds or builds them is tested with the flow."""
    tables.save_pairs(tmp_path, planned_pairs())
    manifest = {"seconds": 3.0, "files": {"pairs.parquet": {"bytes": 2**20}}}
    monkeypatch.setattr("flows.commands.run.embedded", lambda *_: nullcontext())
    monkeypatch.setattr("flows.commands.plan.embedded", lambda *_: nullcontext())
    monkeypatch.setattr("flows.first_stages.pairs_only", lambda config: None)
    monkeypatch.setattr("neurontune_core.artifacts.open_folder", lambda artifact: tmp_path)
    monkeypatch.setattr("neurontune_core.artifacts.read_manifest", lambda artifact: manifest)
    settings = (
        "runtime.device=cpu",
        "attribution.pairs_per_role=2",
        "attribution.shards=2",
        "runtime.price_per_hour=2",
    )
    options = [word for setting in settings for word in ("--set", setting)]
    code, out, _ = call(monkeypatch, capsys, "plan", "--preset", "tiny", *options)
    assert code == 0
    counts, _, heading, *rows = out.splitlines()
    assert re.fullmatch(r"4 pairs in 2 shards, [\d.]+e\+\d\d operations of attribution", counts)
    assert heading.split() == ["stage", "seconds", "MiB", "disk", "MiB", "price"]
    assert max(map(len, out.splitlines())) <= 60
    names = [row.split()[0] for row in rows if not row.startswith("-")]
    assert names == [
        "pairs", "attribution", "scores", "selection", "cards", "scaling", "base", "tuned", "evaluation",
        "base-ability", "ability", "triggers", "report", "run", "export",
    ]  # fmt: skip
    assert all(re.fullmatch(r"[a-z-]+ +\d+\.\d +[1-9]\d* +\d+\.\d\d +\d+\.\d\d", row) for row in rows if row[0] != "-")
    code, out, _ = call(monkeypatch, capsys, "plan", "--preset", "tiny", "--json", *options)
    found = json.loads(out)
    assert code == 0 and [row["stage"] for row in found["stages"]] == names[:-2]
    assert found["total"]["seconds"] == pytest.approx(sum(row["seconds"] for row in found["stages"]))
    assert found["total"]["money"] == pytest.approx(found["total"]["seconds"] / 3600 * 2)


def test_a_plan_begins_with_the_conversion_of_the_model(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A GGUF file becomes a folder of 900 MiB; meanwhile 1300 MiB of memory and 200 MiB of copies are held."""
    tables.save_pairs(tmp_path, planned_pairs())
    manifest = {"seconds": 3.0, "files": {"pairs.parquet": {"bytes": 2**20}}}
    monkeypatch.setattr("flows.commands.plan.embedded", lambda *_: nullcontext())
    monkeypatch.setattr("flows.first_stages.pairs_only", lambda config: None)
    monkeypatch.setattr("neurontune_core.artifacts.open_folder", lambda artifact: tmp_path)
    monkeypatch.setattr("neurontune_core.artifacts.read_manifest", lambda artifact: manifest)
    rows = {}
    for made in (None, Conversion(41.5, 900 << 20, 1300 << 20, 200 << 20)):
        monkeypatch.setattr("neurontune_core.model.load.conversion", lambda model, root, made=made: made)
        options = ["--json", "--set", "attribution.pairs_per_role=2", "--set", "runtime.device=cpu"]
        code, out, _ = call(monkeypatch, capsys, "plan", "--preset", "tiny", *options)
        assert code == 0
        rows[made] = json.loads(out)["stages"]
    without, (first, *others) = rows.values()
    assert [row["stage"] for row in others] == [row["stage"] for row in without] and without[0]["stage"] == "pairs"
    assert (first["stage"], first["seconds"]) == ("model", 41.5)
    assert (first["disk_bytes"], first["temporary_bytes"]) == (900 << 20, 200 << 20)
    assert first["memory_bytes"] - (1300 << 20) >= 1200 << 20


def test_a_plan_shows_what_lies_on_disk_for_a_while_once() -> None:
    base, tuned = (StageCost(name, 1.0, 1, 0, 1 << 20, temporary_bytes=4 << 20) for name in ("base", "tuned"))
    shown = plan_text(Plan(1, 1, 1.0, (base, tuned), StageCost("export", 1.0, 1, 0, 0))).splitlines()
    disk = {row.split()[0]: row.split()[-1] for row in shown if "." in row}
    assert (disk["base"], disk["tuned"], disk["run"]) == ("5.00", "5.00", "6.00")


def test_a_plan_names_the_judges_that_it_does_not_count() -> None:
    row = StageCost("evaluation", 1.0, 1, 0, 0)
    silent, told = (plan_text(Plan(1, 1, 1.0, (row,), row, judges)) for judges in ((), ("wildguard", "classifier")))
    assert told == f"{silent}\n\nNot counted in evaluation, the models of these judges:\nwildguard\nclassifier"
