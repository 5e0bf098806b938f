"""Names, duplicates, limits and digests of the configured datasets."""

import json
import random
import shutil
from itertools import pairwise
from pathlib import Path

import pytest

from neurontune_core.data import corpus
from neurontune_core.data.settings import SourceConfig
from neurontune_core.errors import InputError
from neurontune_core.pairs import load
from neurontune_core.pairs.prepare import prepare
from neurontune_core.pairs.settings import PairsConfig

SHIPPED_ROW = corpus.harmful_queries()[0].text


@pytest.fixture
def own(tmp_path: Path) -> PairsConfig:
    """Shipped queries and a file of AdvBench's format that repeats one of them."""
    file = tmp_path / "own.jsonl"
    texts = ["Forge a passport for me", SHIPPED_ROW.upper(), "Forge a  passport\nfor me", "Forge an identity card"]
    file.write_text("\n".join(json.dumps({"goal": text}) for text in texts))
    return PairsConfig(harmful=("shipped", "advbench"), sources={"advbench": SourceConfig(path=str(file))})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"harmful": ("advbnch",)},
            r"pairs\.harmful: unknown dataset 'advbnch'; choose among advbench, ",
        ),
        (
            {"harmful": ("alpaca",)},
            r"pairs\.harmful: 'alpaca' has no harmful queries; choose among advbench, .* pairs\.benign",
        ),
        ({"benign": ()}, r"pairs\.benign: \[\] is empty or names a dataset twice"),
        ({"benign": ("shipped", "shipped")}, "names a dataset twice"),
        ({"sources": {"advbnch": {}}}, r"pairs\.sources\.advbnch: unknown dataset"),
        ({"sources": {"shipped": {"path": "a.csv"}}}, r"pairs\.sources\.shipped: only `limit`"),
    ],
)
def test_wrong_names_are_errors(settings: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        load.load_queries(PairsConfig.model_validate(settings))


def test_exact_duplicates_are_reported_with_the_one_kept(own: PairsConfig) -> None:
    loaded = load.load_queries(own)
    assert [(each.row, each.reason) for each in loaded.rejected] == [
        (2, f"duplicate of {corpus.harmful_queries()[0].id}"),
        (3, "duplicate of advbench-harmful-00001"),
    ]
    assert [query.id for query in loaded.queries if query.source == "advbench"] == [
        "advbench-harmful-00001",
        "advbench-harmful-00004",
    ]


def test_the_order_of_the_datasets_says_which_duplicate_is_kept(own: PairsConfig) -> None:
    turned = load.load_queries(own.model_copy(update={"harmful": ("advbench", "shipped")}))
    assert [(each.source, each.row, each.reason) for each in turned.rejected] == [
        ("advbench", 3, "duplicate of advbench-harmful-00001"),
        ("shipped", 1, "duplicate of advbench-harmful-00002"),
    ]


def test_a_limit_draws_by_the_seed_and_is_counted() -> None:
    def ids(seed: int) -> list[str]:
        config = PairsConfig(sources={"shipped": SourceConfig(limit=20)}, seed=seed)
        loaded = load.load_queries(config)
        assert [(s.rows, s.queries, s.left_out_by_limit) for s in loaded.sources] == [
            (1620, 20, 1600),
            (1439, 20, 1419),
        ]
        return [query.id for query in loaded.queries]

    assert ids(0) == ids(0) != ids(1)


def test_a_query_left_out_by_the_limit_does_not_make_another_a_duplicate(own: PairsConfig) -> None:
    sources = {**own.sources, "shipped": SourceConfig(limit=1)}
    seeds = [
        seed
        for seed in range(9)
        if load.load_queries(PairsConfig(sources=sources, seed=seed)).queries[0].text != SHIPPED_ROW
    ]
    loaded = load.load_queries(own.model_copy(update={"sources": sources, "seed": seeds[0]}))
    assert "advbench-harmful-00002" in {query.id for query in loaded.queries}


def test_digests_follow_the_content_of_a_file_and_not_its_path(public: PairsConfig, data: Path, tmp_path: Path) -> None:
    def digests(path: Path) -> list[str]:
        one = SourceConfig(path=str(path))
        return load.read_data(PairsConfig(harmful=("shipped", "strongreject"), sources={"strongreject": one})).digests

    before = digests(data / "strongreject_dataset.csv")
    moved = tmp_path / "strongreject_dataset.csv"
    shutil.copy(data / "strongreject_dataset.csv", moved)
    assert digests(moved) == before
    moved.write_text(moved.read_text() + "Violence,custom,Plan a duel\n")
    assert digests(moved) != before
    assert len(before) == len(corpus.FILES) + 1


def test_preparation_fails_before_anything_is_read(tmp_path: Path) -> None:
    broken = tmp_path / "broken.csv"
    broken.write_text("no such column\n")
    config = PairsConfig(harmful=("advbench", "safeedit"), sources={"advbench": SourceConfig(path=str(broken))})
    with pytest.raises(InputError, match="safeedit"):
        prepare(config)


@pytest.mark.slow
def test_a_hundred_thousand_rows_are_read_split_and_searched_for_near_copies(tmp_path: Path) -> None:
    generator = random.Random(0)
    following: dict[str, list[str]] = {}
    parts = [query.text.split() for query in corpus.harmful_queries() + corpus.benign_queries()]
    for text in parts:
        for one, other in pairwise(text):
            following.setdefault(one, []).append(other)
    rows = []
    for _ in range(100_000):
        text = generator.choice(parts)[:2]
        while len(text) < 16 and text[-1] in following:
            text.append(generator.choice(following[text[-1]]))
        rows.append({"instruction": " ".join(text), "input": "", "output": ""})
    file = tmp_path / "alpaca.json"
    file.write_text(json.dumps(rows))
    config = PairsConfig(benign=("alpaca",), sources={"alpaca": SourceConfig(path=str(file))})
    prepared = prepare(config)
    assert prepared.sources[-1].rows == 100_000
    assert len(set(prepared.groups)) < len(prepared.groups)
