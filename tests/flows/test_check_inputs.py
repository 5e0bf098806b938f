"""Bad input is found before anything is computed; data are read and prepared only once for a command or a study."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pipeline_runs import changed

from flows import inputs
from flows.first_stages import pairs_only
from flows.inputs import check_inputs
from flows.pipeline import pipeline
from flows.study import study
from neurontune_core.baselines.settings import SystemPromptSettings
from neurontune_core.config import PipelineConfig, load_config
from neurontune_core.data.settings import SourceConfig
from neurontune_core.errors import InputError
from neurontune_core.evaluation.settings import PrecomputedSettings
from neurontune_core.pairs import build, load, prepare
from neurontune_core.scaling.settings import DialSettings

FEW = ("pairs.sources.shipped.limit=24", "pairs.ranking_queries=1", "pairs.selected_queries=4", "pairs.responses=2",
       "pairs.wrapped_queries=6", "pairs.wrapped_test_queries=2", "pairs.response_tokens=2")  # fmt: skip


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch, untracked: None) -> Counter[str]:
    """How often files are read, data prepared, and near copies searched for."""
    prepare._groups.cache_clear()
    found: Counter[str] = Counter()

    def counted(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **named: Any) -> Any:
            found[name] += 1
            return function(*args, **named)

        return call

    monkeypatch.setattr(load, "read_data", counted("read", load.read_data))
    monkeypatch.setattr(prepare, "near_copy_groups", counted("grouped", prepare.near_copy_groups))
    for module in (build, inputs):
        monkeypatch.setattr(module, "prepare", counted("prepared", module.prepare))
    return found


def test_the_same_data_are_read_once_and_other_data_anew(tmp_path: Path, calls: Counter[str]) -> None:
    root = f"runtime.root={tmp_path}"
    one, longer, split, limited = (
        load_config("tiny", [root, s])
        for s in ("scaling.steps=1", "scaling.steps=2", "pairs.seed=7", "pairs.sources.shipped.limit=90")
    )
    with inputs.data_read_once():
        found = [inputs.check_inputs(config) for config in (one, longer, one)]
        assert calls == {"read": 1, "prepared": 1, "grouped": 1}
        assert len({id(each.prepared.unquote()) for each in found}) == 1
        inputs.check_inputs(split)
        assert calls["read"] == 1 and calls["prepared"] == 2, "other splits of the same files"
        assert inputs.check_inputs(limited).datasets == found[0].datasets
        assert calls["read"] == 2
    for number in (3, 4):
        inputs.check_inputs(one)
        assert calls["read"] == number, "a file may have changed between two runs"


@pytest.mark.usefixtures("prefect_server")
def test_a_run_prepares_its_data_once(config: PipelineConfig, calls: Counter[str]) -> None:
    small = load_config("tiny", [f"runtime.root={config.runtime.root}", "runtime.device=cpu", *FEW])
    with inputs.data_read_once():
        inputs.check_inputs(small)
        made = pairs_only(small)
    assert calls == {"read": 1, "prepared": 1, "grouped": 1}
    assert pairs_only(small) == made
    assert calls["prepared"] == 2, "a run from the UI, without a command before it"


@pytest.mark.usefixtures("prefect_server", "core_calls")
def test_the_variants_of_a_study_read_their_data_once(config: PipelineConfig, calls: Counter[str]) -> None:
    common = (f"runtime.root='{config.runtime.root}'", "runtime.device=cpu", "selection.safety_neurons=5",
              "selection.utility_neurons=4")  # fmt: skip
    variants = {"one": ("pairs.seed=1",), "two": ("pairs.seed=2",), "longer": ("pairs.seed=1", "scaling.steps=3")}
    study("own", "tiny", common, variants)
    assert calls["read"] == 1 and calls["prepared"] == 2


@pytest.mark.usefixtures("prefect_server", "untracked")
def test_bad_input_is_found_before_anything_is_computed(config: PipelineConfig, core_calls: Counter[str]) -> None:
    with pytest.raises(InputError, match="safety_neurons"):
        pipeline(changed(config, "selection", safety_neurons=10**6))
    with pytest.raises(InputError, match="nonsense"):
        pipeline(changed(config, "model", name="random:nonsense"))
    with pytest.raises(InputError, match=r"evaluation\.sources\.alpaca\.path: no file"):
        pipeline(changed(config, "evaluation", benchmarks=("alpaca",), sources={"alpaca": SourceConfig(path="gone")}))
    with pytest.raises(InputError, match=r"evaluation\.judge\.path"):
        pipeline(changed(config, "evaluation", judge=PrecomputedSettings(path="gone.jsonl")))
    with pytest.raises(InputError, match="device"):
        pipeline(changed(config, "runtime", device="gramophone"))
    with pytest.raises(InputError, match=r"runtime\.name: 'latest' stands for the newest run"):
        pipeline(changed(config, "runtime", name="latest"))
    with pytest.raises(InputError, match=r"runtime\.name: '-x' would be read as an option"):  # typed in Prefect's form
        pipeline.with_options(flow_run_name="-x")(config)
    with pytest.raises(InputError, match=r"selection\.utility_set: .* scaling\.method=dial"):
        pipeline(config.model_copy(update={"scaling": DialSettings()}))
    few = changed(config, "pairs", sources={"shipped": SourceConfig(limit=24)}, validation_fraction=0.01)
    with pytest.raises(InputError, match="the validation split has 0 harmful queries, and two are needed"):
        pipeline(few)
    assert not core_calls
    unlearned = few.model_copy(update={"baseline": SystemPromptSettings()})
    for needs_none in (changed(few, "scaling", validations=0), unlearned):
        pipeline(needs_none)
    assert core_calls["evaluation"]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("latest", "stands for the newest run"),
        ("-7", "would be read as an option"),
        ("--web", "would be read as an option"),
        ("two\nlines", "cannot be shown"),
        ("red \x1b[31m", "cannot be shown"),
        ("a\tb", "cannot be shown"),
        ("hidden \u202e order", "cannot be shown"),
        (" x", "begins or ends with a space"),
        ("x ", "begins or ends with a space"),
    ],
)
def test_names_that_no_command_could_find_or_show_are_refused(config: PipelineConfig, name: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason) as refused:
        check_inputs(changed(config, "runtime", name=name))
    assert str(refused.value).startswith(f"runtime.name: {name!r} ")


@pytest.mark.parametrize("name", ["My run", "steps=20 · k=500", "é漢字 'q' <b> [x] |", "a-b", "latest 2", "7"])
def test_other_names_are_taken(config: PipelineConfig, name: str) -> None:
    check_inputs(changed(config, "runtime", name=name))
