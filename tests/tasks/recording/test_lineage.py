"""What a run is made from, where its stages made or found the same content as another run's."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.pipeline import pipeline
from neurontune_core.config import PipelineConfig
from neurontune_core.evaluation.settings import PrecomputedSettings
from tasks.recording.lineage import Node, made_from, trace
from tasks.recording.runs import find_run

ADVBENCH = Path(__file__).parents[2] / "data" / "datasets" / "advbench_harmful_behaviors.csv"


def changed(config: PipelineConfig, section: str, **values: object) -> PipelineConfig:
    tree = config.model_dump(mode="json")
    tree[section] |= values
    return PipelineConfig.model_validate(tree)


def all_nodes(nodes: list[Node]) -> Iterator[Node]:
    for node in nodes:
        yield node
        yield from all_nodes(list(node.inputs))


@pytest.mark.usefixtures("prefect_server")
def test_a_run_is_made_from_its_own_stages_though_another_left_the_same_content(
    config: PipelineConfig, core_calls: Counter[str]
) -> None:
    source = {"advbench": {"path": str(ADVBENCH)}}
    # advbench's few rows leave no query for validation
    other = changed(config, "scaling", steps=7, validations=0)
    other = changed(other, "attribution", nodes=3)
    other = changed(other, "pairs", harmful=["advbench"], sources=source)
    first, second = pipeline(config), pipeline(other)
    for stage in ("pairs", "selection", "scaling", "tuned", "evaluation"):
        assert first[stage].digest == second[stage].digest
    assert first["evaluation"] == second["evaluation"] and first["scaling"].key != second["scaling"].key

    found = list(all_nodes(trace(find_run("latest", config.runtime))))
    settings = {(node.name, name): value for node in found for name, value in node.settings.items()}
    assert (settings["scaling", "steps"], settings["attribution", "nodes"]) == (7, 3)
    assert settings["pairs", "harmful"] == ["advbench"]
    names = {node.name for node in found}
    assert "advbench/harmful" in names and "shipped/harmful_queries.jsonl" not in names
    assert len({node.key for node in found if node.name == "attribution"}) == config.attribution.shards
    assert not any(node.problem for node in found)

    made = made_from("advbench", config.runtime)
    assert [run for run, _ in made.runs] == [find_run("latest", config.runtime).run_id]
    assert second["scaling"].key in {node.key for node in made.artifacts}
    for name, runs in (("shipped", 2), ("shipped/benign_queries.jsonl", 2), ("shipped/harmful_queries.jsonl", 1)):
        assert len(made_from(name, config.runtime).runs) == runs, name


@pytest.mark.usefixtures("prefect_server")
def test_what_an_evaluation_reads_is_part_of_it_and_not_of_the_model(
    config: PipelineConfig, core_calls: Counter[str], tmp_path: Path
) -> None:
    verdicts = tmp_path / "verdicts.jsonl"
    verdicts.write_text('{"id": "base/h0", "label": "refusal"}\n')
    source = {"advbench": {"path": str(ADVBENCH)}}
    judged = {"judge": PrecomputedSettings(path=str(verdicts))}
    pipeline(changed(config, "evaluation", benchmarks=["shipped", "advbench"], sources=source, **judged))
    leaves = {node.name for node in all_nodes(trace(find_run("latest", config.runtime)))}
    assert {"advbench/harmful", "judge/precomputed", "shipped/harmful_queries.jsonl"} <= leaves
    made = made_from("advbench", config.runtime)
    assert sorted({node.name for node in made.artifacts}) == ["base", "evaluation", "triggers", "tuned"]
    assert made.runs == []
