"""What settings may name as data, and what it is called in results."""

from pathlib import Path

import pytest

from neurontune_core.config import PipelineConfig, contents, load_config
from neurontune_core.data.specification import dataset_names
from neurontune_core.data_names import OwnData, own_data, short_name, with_absolute_paths
from neurontune_core.errors import InputError
from neurontune_core.evaluation.benchmarks import GROUPS, check_benchmarks
from neurontune_core.evaluation.public_sets import public_benchmarks
from neurontune_core.pairs.data_files import check_names
from neurontune_core.scaling.settings import DialSettings


@pytest.mark.parametrize(
    ("text", "own", "name"),
    [
        ("mine.csv", OwnData("mine.csv"), "mine"),
        ("a/My Queries (2).JSONL", OwnData("a/My Queries (2).JSONL"), "my_queries_2"),
        ("/data/Fragen-größer.parquet", OwnData("/data/Fragen-größer.parquet"), "fragen_größer"),
        ("harmful:x.csv", OwnData("x.csv", "harmful"), "x"),
        ("benign:x.toml/heldout", OwnData("x.toml", "benign", "heldout"), "x_benign/heldout"),
        ("./a.csv/b.json", OwnData("./a.csv/b.json"), "b"),
        ("hub:me/Red-Team/data/a.parquet", OwnData("hub:me/Red-Team/data/a.parquet"), "red_team"),
        ("harmful.csv", OwnData("harmful.csv"), "own_harmful"),
        ("benign_ordinary.csv", OwnData("benign_ordinary.csv"), "own_benign_ordinary"),
        ("advbench.csv", OwnData("advbench.csv"), "own_advbench"),
        ("corpus_benign.json", OwnData("corpus_benign.json"), "own_corpus_benign"),
        ("(?).csv", OwnData("(?).csv"), "own"),
        ("advbench", None, "advbench"),
        ("advbench/heldout", None, "advbench/heldout"),
        ("mine.txt", None, "mine.txt"),
    ],
)
def test_names(text: str, own: OwnData | None, name: str) -> None:
    assert own_data(text) == own and short_name(text) == name


def test_no_file_is_called_like_something_else_in_the_results() -> None:
    for name in ("shipped", "harmful", "benign", *GROUPS, *dataset_names(), *public_benchmarks()):
        assert short_name(f"folder/{name}.csv") == f"own_{name}"


def test_a_name_of_any_length_is_a_name_of_a_metric() -> None:
    assert len(short_name("x" * 250 + ".csv")) == 60


def test_paths_become_absolute_and_stay_what_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/somebody")
    names = ("shipped", "a.csv", "~/b.JSONL", "benign:c/d.toml/all", "hub:o/n/a.csv", "/e.csv", "advbench/all")
    absolute = with_absolute_paths(names)
    assert absolute == (
        "shipped", f"{tmp_path}/a.csv", "/home/somebody/b.JSONL", f"benign:{tmp_path}/c/d.toml/all", "hub:o/n/a.csv",
        "/e.csv", "advbench/all",
    )  # fmt: skip
    assert with_absolute_paths(absolute) == absolute


def test_a_configuration_holds_absolute_paths_and_its_key_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = ["pairs.harmful=a.csv", "pairs.attacks=shipped, b.csv", "evaluation.benchmarks=benign:c.csv/all"]
    monkeypatch.chdir(tmp_path)
    config = load_config("tiny", settings)
    assert config.pairs.harmful == (f"{tmp_path}/a.csv",)
    assert config.evaluation.benchmarks == (f"benign:{tmp_path}/c.csv/all",)
    assert PipelineConfig.model_validate_json(config.model_dump_json()) == config
    monkeypatch.chdir("/")
    other = load_config("tiny", settings)
    assert other.pairs != config.pairs
    assert contents(other.pairs) == contents(config.pairs)
    assert contents(other.evaluation) == contents(config.evaluation)
    assert contents(config.pairs)["attacks"] == ["shipped", "b"]
    assert str(tmp_path) not in str([contents(config.pairs), contents(config.evaluation)])


@pytest.mark.parametrize(
    "text", ["a.csv,b.csv", '["a.csv", "b.csv"]', "[a.csv, b.csv]", " a.csv , b.csv,", "['a.csv', b.csv]"]
)
def test_lists_are_understood_however_they_are_written(text: str) -> None:
    assert load_config("tiny", [f"pairs.harmful={text}"]).pairs.harmful == with_absolute_paths(["a.csv", "b.csv"])


def test_a_single_value_is_a_list() -> None:
    names = ["pairs.holdout_attack_categories=sudo_mode", "evaluation.also_judges=keyword"]
    config = load_config("tiny", [*names, "scaling.method=dial", "scaling.safety_factors=1,2"])
    assert config.pairs.holdout_attack_categories == ("sudo_mode",)
    assert config.evaluation.also_judges == ("keyword",)
    assert isinstance(config.scaling, DialSettings) and config.scaling.safety_factors == (1, 2)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("pairs.harmful=mine.txt", r"unknown dataset 'mine\.txt'; choose among shipped, .* ends in \.csv, \.tsv,"),
        ("pairs.harmful=hub:owner/name", r"names no file; give hub:OWNER/NAME/FILE"),
        ("pairs.harmful=hub:a.csv", r"names no file; give hub:OWNER/NAME/FILE"),
        ("pairs.harmful=s3://bucket/a.csv", r"unknown dataset 's3://bucket/a\.csv'"),
        ("pairs.harmful=benign:a.csv", r"unknown dataset 'benign:"),
        ("pairs.harmful=a.csv/all", r"unknown dataset"),
        ("pairs.harmful=x/a.csv,y/A.json", r"x/a\.csv and .*y/A\.json would both be called 'a'; rename one"),
        ("pairs.attacks=advbench", r"pairs\.attacks: unknown dataset 'advbench'; choose among shipped, or"),
        ("pairs.refusals=", r"pairs\.refusals: \[\] is empty"),
        ("pairs.sources.b.limit=3", r"pairs\.sources\.b: unknown dataset"),
        ("pairs.sources.a.foo=3", r"pairs\.sources\.a\.foo: unknown field"),
        ("pairs.sources.a.columns.foo=x", r"pairs\.sources\.a\.columns\.foo.*'query'"),
        ("pairs.sources.a.path=b.csv", r"pairs\.sources\.a\.path: .*leave this setting out"),
        ("pairs.sources.shipped.columns.query=x", r"only `limit` and `system_prompt` can be set"),
        ("evaluation.benchmarks=mine.txt", r"evaluation\.benchmarks: unknown 'mine\.txt'.*benign:FILE"),
        ("evaluation.benchmarks=hub:owner/name", r"evaluation\.benchmarks: .*names no file"),
        ("evaluation.benchmarks=x/a.csv,y/a.json", r"evaluation\.benchmarks: .*would both be called 'a'"),
        ("evaluation.benchmarks=a.csv,harmful:a.csv", r"evaluation\.benchmarks: .*would both be called 'a'"),
        ("evaluation.benchmarks=[]", r"evaluation\.benchmarks: the list is empty"),
        ("evaluation.attacks=[]", r"evaluation\.attacks: the list is empty"),
        ("evaluation.sources.b.limit=3", r"evaluation\.sources\.b: unknown public set"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_told(setting: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        config = load_config("tiny", ["pairs.harmful=a.csv", setting])
        check_names(config.pairs)
        check_benchmarks(config.evaluation)
