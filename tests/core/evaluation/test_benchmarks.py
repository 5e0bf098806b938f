from dataclasses import replace

import pytest
from library_sample import FakeLibrary

from neurontune_core.data.settings import SourceConfig
from neurontune_core.errors import InputError
from neurontune_core.evaluation import benchmarks
from neurontune_core.evaluation.answers import prompt_table
from neurontune_core.evaluation.public_sets import attacks_of, public_benchmarks, set_digests
from neurontune_core.evaluation.settings import EvaluationConfig
from neurontune_core.records import PromptPair


def test_the_shipped_test_split_falls_into_seven_groups(pairs: list[PromptPair]) -> None:
    groups = benchmarks.test_prompts(pairs, EvaluationConfig())
    assert {name: [pair.id for pair in sorted(members, key=lambda p: p.id)] for name, members in groups.items()} == {
        "harmful_plain": ["safety-test-0", "safety-test-1", "safety-test-2"],
        "harmful_attacked": [f"safety-test-{number}/sudo_mode" for number in range(3)],
        "harmful_heldout_attack": [f"safety-test-{number}/translation" for number in range(3)],
        "benign_ordinary": ["utility-test-0", "utility-test-1"],
        "benign_borderline": ["utility-test-2"],
        "benign_attacked": [f"utility-test-{number}/sudo_mode" for number in range(3)],
        "benign_heldout_attack": [f"utility-test-{number}/translation" for number in range(3)],
    }
    assert list(groups) == list(benchmarks.GROUPS)


def test_samples_hang_on_the_seed_alone(pairs: list[PromptPair]) -> None:
    config = EvaluationConfig(prompts_per_benchmark=2)
    first = benchmarks.test_prompts(pairs, config)
    assert first == benchmarks.test_prompts(pairs[::-1], config)
    assert max(len(members) for members in first.values()) == 2
    others = [benchmarks.test_prompts(pairs, config.model_copy(update={"seed": seed})) for seed in range(1, 5)]
    assert any(other != first for other in others)


@pytest.mark.parametrize(("role", "kind"), [("safety", "harmful"), ("utility", "harmless")])
def test_a_side_without_prompts_is_an_error(pairs: list[PromptPair], role: str, kind: str) -> None:
    one_sided = [pair if pair.role != role else replace(pair, split="train") for pair in pairs]
    with pytest.raises(InputError, match=f"no {kind} prompt"):
        benchmarks.test_prompts(one_sided, EvaluationConfig())


@pytest.mark.parametrize("name", ["advbnech", "shipped/all", "advbench/", ""])
def test_unknown_benchmarks_are_refused_with_the_known_ones(name: str) -> None:
    with pytest.raises(InputError, match=r"evaluation\.benchmarks: unknown .*choose among .*alpaca"):
        benchmarks.check_benchmarks(EvaluationConfig(benchmarks=("shipped", name)))


def test_a_benchmark_named_twice_is_refused() -> None:
    with pytest.raises(InputError, match="twice"):
        benchmarks.check_benchmarks(EvaluationConfig(benchmarks=("alpaca", "alpaca")))


def test_public_sets_are_asked_plain_and_wrapped(pairs: list[PromptPair]) -> None:
    library = FakeLibrary()
    config = EvaluationConfig(
        benchmarks=("advbench", "advbench/heldout", "alpaca", "xstest"),
        prompts_per_benchmark=4,
        sources={"advbench": SourceConfig(path="copy.csv")},
    )
    groups = benchmarks.test_prompts(pairs, config, library)
    assert list(groups) == list(config.benchmarks)
    assert {name: {pair.role for pair in members} for name, members in groups.items()} == {
        "advbench": {"safety"}, "advbench/heldout": {"safety"}, "alpaca": {"utility"}, "xstest": {"utility"},
    }  # fmt: skip
    assert library.asked[0] == ("advbench", "safety", SourceConfig(path="copy.csv"))
    plain, wrapped = groups["advbench"], groups["advbench/heldout"]
    assert [pair.query_id for pair in plain] == [pair.query_id for pair in wrapped], "the same queries in both"
    # sudo_mode is in the training split, translation is not
    assert {pair.attack_category for pair in wrapped} == {"translation"}
    assert wrapped[0].prompt == f"[french] {wrapped[0].query}"


def test_queries_the_run_learns_from_are_left_out_of_public_sets(pairs: list[PromptPair]) -> None:
    config = EvaluationConfig(benchmarks=("advbench", "alpaca"))
    known = [
        replace(pairs[0], query="QUESTION 2", split="train"),
        replace(pairs[0], query="question 4?", split="validation"),
    ]
    # a query of the test split may stand in a public set too
    tested = [replace(pairs[0], query="Question 5?", split="test")]
    groups = benchmarks.test_prompts(pairs + known + tested, config, FakeLibrary())
    assert sorted(pair.query for pair in groups["alpaca"]) == [f"Question {number}?" for number in (0, 1, 3, 5)]
    everything = [replace(pairs[0], query=f"Question {number}", split="train") for number in range(6)]
    with pytest.raises(InputError, match="the run trains on all queries of advbench"):
        benchmarks.test_prompts(pairs + everything, config, FakeLibrary())


def test_ordinary_prompts_are_plain_and_harmless(pairs: list[PromptPair]) -> None:
    prompts = prompt_table({"any": [pair for pair in pairs if pair.split == "test"]})
    ids = prompts["id"][benchmarks.are_ordinary(prompts)].tolist()
    assert ids == ["utility-test-0", "utility-test-1"]


def test_wrappings_do_not_depend_on_the_sample(pairs: list[PromptPair]) -> None:
    def wrapped(count: int) -> dict[str, str]:
        config = EvaluationConfig(benchmarks=("advbench/all", "alpaca"), prompts_per_benchmark=count)
        members = benchmarks.test_prompts(pairs, config, FakeLibrary())["advbench/all"]
        return {pair.query_id: pair.prompt for pair in members}

    few, many = wrapped(3), wrapped(6)
    assert few.items() <= many.items() and len(many) == 6


def test_attack_sets() -> None:
    attacks, trained = FakeLibrary().attacks(), {"", "sudo_mode"}
    names = {
        asked: [attack.name for attack in attacks_of(asked, attacks, trained)]
        for asked in ("all", "heldout", "privilege_escalation", "translation", "root")
    }
    assert names == {
        "all": ["admin", "root", "french"],
        "heldout": ["french"],
        "privilege_escalation": ["admin", "root"],
        "translation": ["french"],
        "root": ["root"],
    }
    with pytest.raises(InputError, match="no attack in the set 'grandmother'; use all, heldout"):
        attacks_of("grandmother", attacks, trained)


def test_public_sets_need_a_library(pairs: list[PromptPair]) -> None:
    with pytest.raises(InputError, match="cannot be read here"):
        benchmarks.test_prompts(pairs, EvaluationConfig(benchmarks=("advbench", "alpaca")))


def test_every_description_is_complete() -> None:
    described = public_benchmarks()
    assert {name for name, benchmark in described.items() if benchmark.role == "safety"} == {
        "advbench", "corpus_harmful", "safeedit", "jailbreakbench", "harmbench", "strongreject",
    }  # fmt: skip
    assert {name for name, benchmark in described.items() if benchmark.role == "utility"} == {
        "alpaca", "corpus_benign", "truthfulqa", "xstest", "or_bench",
    }  # fmt: skip
    for benchmark in described.values():
        assert benchmark.version >= 1 and benchmark.title


def test_digests_name_every_set_once() -> None:
    config = EvaluationConfig(
        benchmarks=("shipped", "xstest/all", "xstest", "advbench"), sources={"advbench": SourceConfig(path="a.csv")}
    )
    assert set_digests(config, FakeLibrary()) == ["advbench 1 advbench/safety/a.csv", "xstest 1 xstest/utility/None"]
    with pytest.raises(InputError, match="cannot be read here"):
        set_digests(config, None)
    assert set_digests(EvaluationConfig(), None) == []
