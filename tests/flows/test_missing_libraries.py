"""Optional libraries are asked for where they will be used, and before anything is computed."""

from collections import Counter
from typing import Any

import pytest
from pipeline_runs import changed

from flows import inputs
from flows.evaluate import evaluate
from flows.first_stages import pairs_only, scaling_only
from flows.inputs import check_inputs
from flows.pipeline import pipeline
from flows.study import study
from neurontune_core import search
from neurontune_core.baselines import fit
from neurontune_core.baselines.fit import FittedBaseline
from neurontune_core.baselines.settings import LoraSettings
from neurontune_core.baselines.system_prompt import SystemPrompt
from neurontune_core.config import PipelineConfig
from neurontune_core.errors import InputError
from neurontune_core.evaluation import vllm_engine
from neurontune_core.evaluation.settings import KeywordSettings
from neurontune_core.model import quantised
from neurontune_core.records import Artifact
from tasks.recording.runs import RecordedRun

pytestmark = pytest.mark.usefixtures("prefect_server", "untracked")
MISSING = r"^evaluation\.engine: 'vllm' is not installed"


@pytest.fixture
def answered(
    config: PipelineConfig, core_calls: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> tuple[PipelineConfig, dict[str, Artifact]]:
    """A run whose answers vLLM generated; the library is gone afterwards."""
    monkeypatch.setattr(vllm_engine, "find_spec", lambda name: object())
    by_vllm = changed(config, "evaluation", engine="vllm")
    made = pipeline(by_vllm)
    monkeypatch.setattr(vllm_engine, "find_spec", lambda name: None)
    return by_vllm, made


def test_stored_answers_are_judged_without_the_engine(
    answered: tuple[PipelineConfig, dict[str, Artifact]],
    core_calls: Counter[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config, made = answered
    rejudged = pipeline(changed(config, "evaluation", judge=KeywordSettings()))
    assert rejudged["tuned"] == made["tuned"] and rejudged["evaluation"].key != made["evaluation"].key
    assert (core_calls["base"], core_calls["tuned"], core_calls["evaluation"]) == (1, 1, 2)
    found = RecordedRun("abc", "llama", "FINISHED", config, dict(made))
    monkeypatch.setattr("flows.evaluate.find_run", lambda *_, **__: found)
    assert evaluate("abc") == made["evaluation"]
    before = Counter(core_calls)
    with pytest.raises(InputError, match=MISSING):
        evaluate("abc", force=True)
    longer = changed(config, "evaluation", max_new_tokens=7)
    other = changed(config, "scaling", seed=5)
    for needs, refresh in ((longer, ()), (other, ()), (config, ("tuned",)), (config, ("attribution",))):
        with pytest.raises(InputError, match=MISSING):
            pipeline(needs, refresh)
    assert core_calls == before


def test_stages_without_answers_need_no_engine(
    config: PipelineConfig, core_calls: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vllm_engine, "find_spec", lambda name: None)
    by_vllm = changed(config, "evaluation", engine="vllm")
    pairs_only(by_vllm)
    scaling_only(by_vllm)
    before = Counter(core_calls)
    with pytest.raises(InputError, match=MISSING):
        pipeline(by_vllm)
    assert core_calls == before and not core_calls["base"]


@pytest.mark.parametrize(
    ("name", "settings", "told"),
    [
        ("own", ("evaluation.engine=vllm",), MISSING),
        ("robustness", ("model.quantization=int8",), r"^model\.quantization: 'int8' leaves no weights"),
    ],
)
def test_what_one_variant_lacks_is_told_before_any_is_run(
    config: PipelineConfig,
    core_calls: Counter[str],
    monkeypatch: pytest.MonkeyPatch,
    name: Any,
    settings: tuple[str, ...],
    told: str,
) -> None:
    monkeypatch.setattr(vllm_engine, "find_spec", lambda name: None)
    monkeypatch.setattr(quantised, "find_spec", lambda name: object())
    common = (f"runtime.root='{config.runtime.root}'", "model.name=random:llama", "runtime.device=cpu",
              "selection.safety_neurons=5", "selection.utility_neurons=4")  # fmt: skip
    with pytest.raises(InputError, match=told):
        study(name, "tiny", common, {"one": (), "two": settings})
    assert not core_calls


def test_rounding_is_asked_for_unless_the_rounded_model_has_done_its_part(
    config: PipelineConfig, core_calls: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rounded = changed(config, "model", quantization="int8", evaluate_full=True)
    monkeypatch.setattr(quantised, "find_spec", lambda name: None)
    for asked in (check_inputs, pipeline):
        with pytest.raises(InputError, match=r"^model\.quantization: 'int8' needs torchao"):
            asked(rounded)  # type: ignore[operator]
    assert not core_calls
    with monkeypatch.context() as patched:
        patched.setattr(inputs, "check_library", lambda _: None)
        made = pipeline(rounded)
    assert pipeline(changed(rounded, "evaluation", judge=KeywordSettings()))["tuned"] == made["tuned"]


def test_a_stored_fit_needs_no_package_of_its_training(
    config: PipelineConfig, core_calls: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = {"peft", "optuna"}
    for module in (fit, search):
        monkeypatch.setattr(module, "find_spec", lambda name: name if name in installed else None)
    fits = [FittedBaseline(SystemPrompt("x"), {"parameters": 7.0})]
    monkeypatch.setattr("tasks.baseline.fit.fit_baseline", lambda *_: fits.pop())
    lora = config.model_copy(update={"baseline": LoraSettings(trials=2)})
    made = pipeline(lora)
    installed.remove("optuna")
    longer = pipeline(changed(lora, "evaluation", max_new_tokens=7))
    assert longer["baseline"] == made["baseline"] and core_calls["tuned"] == 2, "peft alone lets the model answer"
    before = Counter(core_calls)
    with pytest.raises(InputError, match=r"baseline\.trials: 2 trials need Optuna"):
        pipeline(lora, ("baseline",))
    installed.clear()
    assert pipeline(lora) == made and scaling_only(lora)["baseline"] == made["baseline"]
    other, judged = changed(lora, "pairs", seed=3), changed(lora, "evaluation", judge=KeywordSettings())
    check_inputs(other)
    for needs, refresh in ((lora, ("baseline",)), (lora, ("tuned",)), (lora, ("triggers",)), (other, ()), (judged, ())):
        with pytest.raises(InputError, match=r"baseline\.method: lora needs peft"):
            pipeline(needs, refresh)
    assert core_calls == before
