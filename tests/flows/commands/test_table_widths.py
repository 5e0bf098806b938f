"""Tables that commands print: they fit a narrow terminal, and no name in them is cut."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from recorded_runs import record_run

from flows.commands import run
from flows.commands.compare import compare_runs, metric_in_words
from flows.commands.listings import show_coverage
from neurontune_core import artifacts, tables
from neurontune_core.config import PipelineConfig
from neurontune_core.records import Artifact


@pytest.fixture(params=[60, 80])
def printed(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Return what reads the tables printed on a terminal of this width: their lines, after a check of their widths."""
    monkeypatch.setenv("COLUMNS", str(request.param))

    def read() -> list[str]:
        lines = capsys.readouterr().out.splitlines()
        # paths and addresses are whole, so that they can be copied
        shown = [line for line in lines if not line.startswith("/") and ": /" not in line and "//" not in line]
        assert max(map(len, shown)) <= request.param and not any("\u2026" in line for line in shown)
        return shown

    return read


def first_column(lines: list[str]) -> str:
    """Return the names of the first column: parts of a name that stand below each other joined."""
    return "".join(line.strip().split(" ")[0] for line in lines)


def has_letters(lines: list[str], *texts: str) -> bool:
    """Tell whether all letters of these texts are there, however they are wrapped."""
    return not Counter("".join(texts).replace(" ", "")) - Counter("".join(lines))


def test_compare_has_metrics_in_words_and_whole_settings(config: PipelineConfig, printed: Any) -> None:
    wide = {"safety_neurons": 1234, "utility_neurons": 4321}
    record_run(config, "first")
    record_run(
        config.model_copy(update={"selection": config.selection.model_copy(update=wide)}), "second", ("h0", "h1", "b0")
    )
    compare_runs(["first", "second"], False, False, [f"runtime.root={config.runtime.root!r}"], False)
    lines = printed()
    assert "selection.safety_neurons" in first_column(lines) and "selection.utility_neurons" in first_column(lines)
    words = " ".join(" ".join(lines).split()).split(" ")
    assert {"SU-F1", "refused:", "harmless", "1234"} <= set(words)
    heading = next(line for line in lines if line.startswith(" layer") or "safety  safety" in line)
    assert heading.split()[-6:] == ["safety", "safety", "utility", "utility", "Jaccard", "Jaccard"], "no word is broken"
    assert "eval/" not in first_column(lines) and "benign" not in first_column(lines)


def test_names_of_metrics_in_words() -> None:
    assert metric_in_words("eval/su_f1") == "SU-F1" and metric_in_words("eval/kl_to_base") == "KL to base"
    assert metric_in_words("refusal_rate/benign_heldout_attack") == "refused: harmless held-out attack"
    assert metric_in_words("scaling/loss_last") == "scaling: loss last"


def test_coverage_names_every_projection(printed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    path = "model.language_model.layers.{}.feed_forward.shared_experts.down_projection"
    rows = [
        SimpleNamespace(layer=n, path=path.format(n), layout="4 experts of 48", neurons=192, problem="") for n in (0, 1)
    ]
    monkeypatch.setattr("neurontune_core.neurons.coverage", lambda model: rows)
    assert show_coverage("random:llama")
    assert has_letters(printed(), *(row.path for row in rows))


def recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let commands on a recorded run find one."""

    @contextmanager
    def found(*_: Any, **__: Any) -> Iterator[SimpleNamespace]:
        yield SimpleNamespace(run_id="id")

    monkeypatch.setattr(run, "_recorded_run", found)


def test_causal_prints_the_table_that_a_study_prints(
    printed: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(folder: Path) -> dict[str, float]:
        columns = ["intervention", "group", "neurons", "share", "refused"]
        shares = (0.0001, 0.0003, 0.001, 0.003, 0.01)
        rows = [
            (done, group, neurons, share, 0.5)
            for done in ("zero", "x 2") for group in ("harmful_plain", "harmful_heldout_attack", "benign_borderline")
            for neurons in ("safety", "opposing") for share in shares
        ]  # fmt: skip
        table = pd.DataFrame(rows, columns=columns).assign(
            low=0.1, high=0.9, random=0.4, random_low=0.2, random_high=0.7, random_p=0.0123, restored_n=0
        )
        tables.save_table(folder, "table", table)
        (folder / "page.md").write_text("| prompts | neurons | 0.01% | 0.03% | 0.10% | 0.30% | 1.00% |")
        return {}

    made = {"causal": artifacts.write(str(tmp_path), "causal", "0" * 32, fill, {})}
    monkeypatch.setattr("flows.causal.causal", lambda *_: made)
    recorded(monkeypatch)
    run.run_causal("latest", [], None, False)
    words = " ".join(printed()).split()
    assert {"harmful", "held-out", "harmless", "borderline", "refusal", "1.00%", "50%"} <= set(words)


def test_ability_prints_long_tasks_whole(printed: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = "mmlu_professional_accounting_and_more/exact_match.strict"
    facts = {"": 0.25, "_base": 0.5, "_difference": -0.25, "_difference_low": -0.6, "_difference_high": 0.1, "_n": 8.0}
    scored = {f"harness/{task}{end}": value for end, value in facts.items()}
    made = {
        "harness": artifacts.write(str(tmp_path), "harness", "0" * 32, lambda folder: scored, {}),
        "report": Artifact("report", "0" * 32, str(tmp_path), ""),
    }
    monkeypatch.setattr("flows.ability.ability", lambda *_: made)
    monkeypatch.setattr("neurontune_core.evaluation.harness.check_tasks", lambda wanted: None)
    recorded(monkeypatch)
    run.run_ability("latest", ["mmlu"], None, None, [], False)
    assert has_letters(printed(), task, "50.0%", "25.0%", "difference -25.0% (-60.0% to +10.0%), n = 8")
