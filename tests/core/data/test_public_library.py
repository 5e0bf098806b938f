"""Public sets as an evaluation reads them: the same files, found and understood in the same way as for pairs."""

from pathlib import Path

import pytest

from neurontune_core.data import corpus
from neurontune_core.data.library import PublicLibrary
from neurontune_core.data.settings import SourceConfig
from neurontune_core.errors import InputError
from neurontune_core.evaluation.benchmarks import test_prompts as prompts_of
from neurontune_core.evaluation.evaluate import base_digests
from neurontune_core.evaluation.public_sets import public_benchmarks
from neurontune_core.evaluation.settings import EvaluationConfig
from neurontune_core.pairs.settings import PairsConfig


def test_every_public_benchmark_can_be_read_plain_and_attacked(public: PairsConfig) -> None:
    names = [name for each in sorted(public_benchmarks()) for name in (each, f"{each}/all")]
    sources = {name: source for name, source in public.sources.items() if name in public_benchmarks()}
    config = EvaluationConfig(benchmarks=tuple(names), sources=sources)
    prompts = prompts_of([], config, PublicLibrary())
    assert list(prompts) == names
    for name, members in prompts.items():
        plain = not name.endswith("/all")
        assert members and all((pair.prompt == pair.query) == plain for pair in members), name
        assert {pair.role for pair in members} == {public_benchmarks()[name.split("/")[0]].role}


def test_the_digest_follows_the_content_and_not_the_path(data: Path, tmp_path: Path) -> None:
    def digest(file: Path) -> list[str]:
        sources = {"xstest": SourceConfig(path=str(file))}
        return base_digests(EvaluationConfig(benchmarks=("xstest",), sources=sources), PublicLibrary())

    moved = tmp_path / "moved.csv"
    moved.write_bytes((data / "xstest_prompts.csv").read_bytes())
    assert digest(moved) == digest(data / "xstest_prompts.csv")
    moved.write_bytes(moved.read_bytes() + b"6,Another one?,homonyms,safe\n")
    assert digest(moved) != digest(data / "xstest_prompts.csv")


def test_what_is_missing_is_said_in_terms_of_the_evaluation(tmp_path: Path) -> None:
    def ask(**source: str) -> None:
        PublicLibrary().questions("alpaca", "utility", SourceConfig.model_validate(source))

    with pytest.raises(InputError, match=r"evaluation\.sources\.alpaca\.path: no file"):
        ask(path=str(tmp_path / "gone.json"))
    (tmp_path / "other.json").write_text('[{"text": "a"}]')
    with pytest.raises(InputError, match=r"evaluation\.sources\.alpaca: the file has columns text"):
        ask(path=str(tmp_path / "other.json"))
    with pytest.raises(InputError, match=r"^evaluation: alpaca .*--set evaluation\.sources\.alpaca\.path=FILE"):
        ask()


def test_the_shipped_corpus_is_a_public_set_for_runs_trained_on_something_else() -> None:
    library, shipped = PublicLibrary(), SourceConfig()
    assert library.questions("shipped", "safety", shipped) == corpus.harmful_queries()
    assert library.questions("shipped", "utility", shipped) == corpus.benign_queries()
    digests = base_digests(EvaluationConfig(benchmarks=("corpus_harmful", "corpus_benign")), library)
    assert len(set(digests)) == 2
    with pytest.raises(InputError, match=r"evaluation\.sources: the path a\.csv is given for the shipped corpus"):
        library.questions("shipped", "safety", SourceConfig(path="a.csv"))
