"""The robustness study as a flow: an attack a part, on the base model once and on every method."""

from collections import Counter
from typing import Any

import pandas as pd
import pytest
from pipeline_runs import page_of

from flows.robustness import robustness_study
from flows.shards import ShardError
from flows.study import study
from neurontune_core import artifacts, tables
from neurontune_core.baselines.fit import FittedBaseline
from neurontune_core.baselines.system_prompt import SystemPrompt
from neurontune_core.config import PipelineConfig
from neurontune_core.errors import InputError
from neurontune_core.model import quantised
from neurontune_core.robustness.attacks import ATTACKS, UNCHANGED
from neurontune_core.robustness.measure import COLUMNS
from tasks import robustness as tasks

pytestmark = pytest.mark.usefixtures("prefect_server")


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch, core_calls: Counter[str]) -> list[tuple[str, bool]]:
    """Replace prompts and answers by fakes; return every attack that was measured, and whether on the base model."""
    found: list[tuple[str, bool]] = []

    def measure(study: Any, attack: str, track: Any) -> pd.DataFrame:
        base = study.change is UNCHANGED
        found.append((attack, base))
        rows = [
            (attack, "", 0.0, sample, f"p{number}", "q", "compliance", number < (6 if base else 2), "a")
            for number in range(8) for sample in (1, 2)
        ]  # fmt: skip
        return pd.DataFrame(rows, columns=list(COLUMNS))

    monkeypatch.setattr(tasks.attacks, "attackable_prompts", lambda *_: [])
    monkeypatch.setattr(tasks.measure, "measure_attack", measure)
    return found


def test_a_rounded_model_is_told_before_anything_is_computed(
    config: PipelineConfig,
    measured: list[tuple[str, bool]],
    core_calls: Counter[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its weights cannot be rounded once more, nor factors folded into them."""
    monkeypatch.setattr(quantised, "find_spec", lambda name: name)
    rounded = config.model.model_copy(update={"quantization": "int8"})
    with pytest.raises(InputError, match=r"^model\.quantization: 'int8' leaves .*model\.evaluate_full=true"):
        robustness_study(config.model_copy(update={"model": rounded}))
    assert not measured and not core_calls


def test_methods_are_attacked_side_by_side_and_the_base_model_once(
    config: PipelineConfig, measured: list[tuple[str, bool]]
) -> None:
    common = (
        f"runtime.root='{config.runtime.root}'", "model.name=random:llama", "runtime.device=cpu",
        "runtime.batch_tokens=3072",
    )  # fmt: skip
    variants = {"NeuronTune": (), "system prompt": ("baseline.method=system_prompt",)}
    folder = artifacts.open_folder(study("robustness", "tiny", common, variants))
    on_base, on_change = (Counter(attack for attack, base in measured if base is wanted) for wanted in (True, False))
    assert on_base == Counter({attack: 1 for attack in ATTACKS if attack != "averaged"})
    assert on_change == Counter({attack: 1 if attack == "averaged" else 2 for attack in ATTACKS})
    table = tables.load_table(folder, "table")
    assert set(table["variant"]) == {"base model", "NeuronTune", "system prompt"}
    plain = table[table["attack"] == "no attack"].set_index("variant")["asr"]
    assert plain.to_dict() == {"base model": 0.75, "NeuronTune": 0.25, "system prompt": 0.25}
    page = page_of(folder)
    assert "| no attack: the request alone |  | 75% [41, 93] | 25% [7, 59] | 25% [7, 59] | 8 |" in page
    assert "![Attacks with knowledge of the model](plot.svg)" in page
    count = len(measured)
    study("robustness", "tiny", (*common, "robustness.bits=[8]"), variants)
    assert Counter(measured[count:]) == Counter({("quantised", True): 1, ("quantised", False): 2})


def test_step_sizes_are_searched_only_if_trials_are_asked_for(
    config: PipelineConfig, measured: list[tuple[str, bool]], monkeypatch: pytest.MonkeyPatch
) -> None:
    common = (f"runtime.root='{config.runtime.root}'", "model.name=random:llama", "runtime.device=cpu")
    variants = {"NeuronTune": (), "LoRA": ("baseline.method=lora",)}
    asked: list[int] = []

    def fit_baseline(pairs: Any, neurons: Any, config: Any, *_: Any) -> FittedBaseline:
        asked.append(config.trials)
        found = [{"trial": 0.0, "learning_rate": 0.02, "validation_score": 0.5}] if config.trials else []
        return FittedBaseline(SystemPrompt("x"), {"parameters": 7.0}, found)

    monkeypatch.setattr("tasks.baseline.fit.fit_baseline", fit_baseline)
    pages = {}
    for trials in (None, 3):
        folder = artifacts.open_folder(study("robustness", "tiny", common, variants, trials=trials))
        pages[trials] = page_of(folder)
        assert (folder / "trials.parquet").exists() is (trials is not None)
    assert asked == [0, 3], "without --trials, LoRA keeps its step size"
    assert "| LoRA | 1 | learning rate 0.02 | 0.500 |" in pages[3] and "--trials 3" in pages[3]
    assert "Budget and search" not in pages[None]


def test_a_failed_attack_is_told_and_the_others_are_kept(
    config: PipelineConfig, measured: list[tuple[str, bool]], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = tasks.measure.measure_attack

    def failing(study: Any, attack: str, track: Any) -> pd.DataFrame:
        if attack == "many-shot" and study.change is not UNCHANGED:
            raise ValueError("no luck")
        return whole(study, attack, track)

    with monkeypatch.context() as patch:
        patch.setattr(tasks.measure, "measure_attack", failing)
        with pytest.raises(ShardError, match=r"1 of 8 parts failed \(ValueError: no luck\)"):
            robustness_study(config)
    count = len(measured)
    made = robustness_study(config)
    assert measured[count:] == [("many-shot", False)]
    facts = artifacts.read_manifest(made["robustness"])["facts"]
    assert (facts["asr_base"], facts["asr"]) == (0.75, 0.25)
