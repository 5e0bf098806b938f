"""lm-evaluation-harness: what is read of its results, what is refused, and a task of one's own on a tiny model."""

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from neurontune_core.errors import InputError
from neurontune_core.evaluation import harness
from neurontune_core.evaluation.harness import HarnessTasks
from neurontune_core.evaluation.report_headline import headline_tiles
from neurontune_core.model.load import ChatModel

# as lm_eval 0.4.13 writes them, cut to what is read
BASE = {
    "results": {
        "sums": {"name": "sums", "sample_len": 4, "alias": "sums", "exact_match,strict-match": 0.5,
                 "exact_match_stderr,strict-match": 0.28, "exact_match,flexible-extract": 0.75},
        "facts": {"alias": "facts", "acc,none": 0.5, "acc_stderr,none": 0.08},
        "facts_one": {"alias": " - one", "acc,none": 0.5, "acc_stderr,none": "N/A"},
    },
    "group_subtasks": {"facts": ["facts_one"], "sums": []},
    "n-samples": {"sums": {"original": 9, "effective": 4}, "facts_one": {"original": 40, "effective": 40}},
    "samples": {
        "sums": [
            {"doc_id": row, "filter": chosen, "metrics": ["exact_match"], "exact_match": float(row < right)}
            for chosen, right in (("strict-match", 2), ("flexible-extract", 3)) for row in range(4)
        ],
        "facts_one": [
            {"doc_id": row, "filter": "none", "metrics": ["acc", "perplexity"], "acc": float(row < 20),
             "perplexity": [1.0, 2]}
            for row in range(40)
        ],
    },
}  # fmt: skip


def tuned() -> dict[str, Any]:
    """The same tasks, after a change that has lost the answers to ten of the forty rows, and gained a sum."""
    changed = json.loads(json.dumps(BASE))
    for row in changed["samples"]["facts_one"][:10]:
        row["acc"] = 0.0
    for name in ("facts", "facts_one"):
        changed["results"][name]["acc,none"] = 0.25
    changed["results"]["sums"]["exact_match,strict-match"] = 0.75
    changed["samples"]["sums"][2]["exact_match"] = 1.0
    return changed


def tables(results: dict[str, Any]) -> tuple[pd.DataFrame, pd.DataFrame]:
    return harness.result_table(results), harness.row_table(results)


def test_recorded_results_are_compared_row_by_row() -> None:
    table, facts = harness.compare_scores(["facts", "sums"], tables(BASE), tables(tuned()))
    found = table.set_index(["task", "metric"])
    assert set(found.index) == {
        ("sums", "exact_match.strict-match"), ("sums", "exact_match.flexible-extract"), ("facts", "acc"),
        ("facts_one", "acc"),
    }  # fmt: skip
    row = found.loc[("facts_one", "acc")]
    assert (row["base"], row["tuned"], row["difference"], row["n"]) == (0.5, 0.25, -0.25, 40)
    assert -0.42 < row["low"] < -0.25 < row["high"] < -0.08
    assert found.loc[("facts", "acc"), "n"] == 40 and pd.isna(found.loc[("facts", "acc"), "low"])
    same = found.loc[("sums", "exact_match.flexible-extract")]
    assert (same["low"], same["high"], same["n"]) == (0, 0, 4)
    assert not any(name.startswith("harness/facts_one") for name in facts), "of a group its own score is the headline"
    assert facts["harness/facts/acc"] == 0.25 and facts["harness/facts/acc_base"] == 0.5
    assert "harness/facts/acc_difference_low" not in facts


def test_the_scores_stand_in_the_headline_of_the_report() -> None:
    _, facts = harness.compare_scores(["facts", "sums"], tables(BASE), tables(tuned()))
    rows = {row["name"]: row for row in headline_tiles({f"harness/{name}": value for name, value in facts.items()})}
    assert (rows["facts/acc"]["base"], rows["facts/acc"]["tuned"]) == ("50.0%", "25.0%")
    assert rows["facts/acc"]["remark"] == "lm-evaluation-harness; difference -25.0%, n = 40"
    assert "(+0.0% to +0.0%)" in rows["sums/exact_match.flexible-extract"]["remark"]
    assert not list(harness.compared({"harness/facts/acc_base": 0.5})), "the base model's score alone compares nothing"


def test_a_missing_harness_is_told_with_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lm_eval.tasks", None)
    with pytest.raises(InputError, match=r"--tasks: .* is not installed; pip install 'neurontune\[harness\]'"):
        harness.check_tasks(HarnessTasks(("mmlu",)))


@pytest.fixture
def known_tasks(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Tasks by name, of a stand-in for the harness."""
    known: dict[str, Any] = {name: SimpleNamespace(yaml_path=None, cfg=None) for name in ("mmlu", "gsm8k", "hellaswag")}
    module: Any = ModuleType("lm_eval.tasks")
    module.TaskManager = lambda include_path: SimpleNamespace(task_index=known, all_tasks=sorted(known))
    monkeypatch.setitem(sys.modules, "lm_eval", ModuleType("lm_eval"))
    monkeypatch.setitem(sys.modules, "lm_eval.tasks", module)
    return known


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (HarnessTasks(("gsmk8",)), "--tasks: unknown task 'gsmk8'; the nearest are gsm8k, "),
        (HarnessTasks(("mmlu", "nonsense")), "--tasks: unknown task 'nonsense'"),
        (HarnessTasks(()), "--tasks: no task is named"),
        (HarnessTasks(("mmlu", "mmlu")), "--tasks: one is named twice"),
        (HarnessTasks(("mmlu",), "/no/such/folder"), "--task-folder: '/no/such/folder' is not a folder"),
        (HarnessTasks(("mmlu",), limit=0), "--limit: 0 rows"),
    ],
)
def test_what_cannot_be_asked_is_told_before_a_model_loads(
    asked: HarnessTasks, told: str, known_tasks: dict[str, Any]
) -> None:
    with pytest.raises(InputError) as caught:
        harness.check_tasks(asked)
    assert str(caught.value).startswith(told) and "\n" not in str(caught.value)


def test_the_files_of_a_task_are_found_and_enter_its_digest(
    known_tasks: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, data = tmp_path / "own", tmp_path / "rows.jsonl"
    folder.mkdir()
    (folder / "own.yaml").write_text("task: own\n")
    config = {"dataset_kwargs": {"data_files": {"test": [str(data)], "train": "hf://some/where.jsonl"}}}
    known_tasks["own"] = SimpleNamespace(yaml_path=folder / "own.yaml", cfg=config)
    asked = HarnessTasks(("own",), str(folder))
    with pytest.raises(InputError, match=r"--task-folder: .*rows.jsonl of task own does not exist"):
        harness.check_tasks(asked)
    monkeypatch.setattr(harness.metadata, "version", lambda name: "1")
    data.write_text("{}\n")
    harness.check_tasks(asked)
    found = [harness.task_digests(asked)]
    data.write_text("{ }\n")
    found.append(harness.task_digests(asked))
    (folder / "own.yaml").write_text("task: own\ndoc_to_text: new\n")
    found.append(harness.task_digests(asked))
    monkeypatch.setattr(harness.metadata, "version", lambda name: "2")
    found.append(harness.task_digests(asked))
    assert len(set(map(tuple, found))) == 4


KINDS = {
    "counting": "output_type: multiple_choice\ndoc_to_choice: choices\ndoc_to_target: answer\n"
    "metric_list: [{metric: acc}]\n",
    "writing": "output_type: generate_until\ndoc_to_target: '{{choices[0]}}'\ngeneration_kwargs: {max_gen_toks: 2}\n"
    "metric_list: [{metric: exact_match}]\n",
    "surprise": "output_type: loglikelihood_rolling\ndoc_to_target: '{{question}}'\n"
    "metric_list: [{metric: word_perplexity}]\n",
}
"""Tasks of each kind of request, by name."""


def write_tasks(folder: Path) -> None:
    folder.mkdir()
    rows = [
        {"question": f"What comes after {number}?", "choices": [str(number + 1), "stone", "blue"], "answer": 0}
        for number in range(5)
    ]
    (folder / "rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    for name, kind in KINDS.items():
        asked = "" if name == "surprise" else "{{question}}"
        (folder / f"{name}.yaml").write_text(
            f"task: {name}\n"
            "dataset_path: json\n"
            f"dataset_kwargs: {{data_files: {{test: {folder / 'rows.jsonl'}}}}}\n"
            "test_split: test\n"
            f"doc_to_text: '{asked}'\n{kind}"
        )


@pytest.mark.slow
def test_a_task_of_ones_own_is_asked_of_a_tiny_model(
    tiny_chat: Callable[..., ChatModel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("lm_eval")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    write_tasks(tmp_path / "own")
    asked = HarnessTasks(("counting",), str(tmp_path / "own"), limit=4)
    harness.check_tasks(asked)
    chat = tiny_chat()
    side = chat.tokenizer.padding_side
    scores, rows = harness.model_scores(replace(chat, batch_tokens=1024), asked)
    assert scores[["task", "metric", "n"]].to_numpy().tolist() == [["counting", "acc", 4]]
    assert scores["value"].iloc[0] == rows["value"].mean() and len(rows) == 4
    again = harness.model_scores(replace(chat, batch_tokens=4096), asked)
    assert again[1].equals(rows) and chat.tokenizer.padding_side == side
    with pytest.raises(InputError, match="unknown task 'countin'; the nearest are counting"):
        harness.check_tasks(HarnessTasks(("countin",), str(tmp_path / "own")))


@pytest.mark.slow
def test_every_kind_of_request_is_tracked_and_no_other_output_is_seen(
    tiny_chat: Callable[..., ChatModel],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("lm_eval")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)  # no git repository
    monkeypatch.setattr(harness, "MOST_PARTS", 2)
    write_tasks(tmp_path / "own")
    seen: list[tuple[str, int]] = []

    def track(items: Iterable[Any], description: str, total: int) -> Iterator[Any]:
        for item in items:
            seen.append((description, total))
            yield item

    asked = HarnessTasks(tuple(KINDS), str(tmp_path / "own"))
    chat = replace(tiny_chat(), batch_tokens=1)
    capfd.readouterr()
    scores, _ = harness.model_scores(chat, asked, track)
    shown = capfd.readouterr()
    assert set(seen) == {("scoring options", 2), ("generating", 1), ("scoring texts", 1)} and len(seen) == 4
    assert set(scores["task"]) == set(KINDS) and scores["value"].notna().all()
    assert not shown.out and "%|" not in shown.err and "git" not in shown.err and "pretrained" not in shown.err
