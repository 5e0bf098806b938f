"""`export`, `compare`, `neurons`, `lineage` and `sync` on recorded runs, through the command line."""

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
from recorded_runs import JUDGE, factors, record_run
from transformers import AutoModelForCausalLM

from flows.commands.summary import next_commands
from neurontune_core import artifacts
from neurontune_core.baselines.settings import SystemPromptSettings
from neurontune_core.comparison.neuron_sets import jaccard
from neurontune_core.config import PipelineConfig
from neurontune_core.evaluation import harness
from neurontune_core.export.alpha import load_alpha
from neurontune_core.model import quantised, source
from neurontune_core.records import Artifact
from tasks.recording import step_runs
from tasks.recording.mlflow_store import Tracking, client_of, tracking_uri
from tasks.recording.runs import find_run
from tasks.recording.tuned import card_of, find_tuned


def test_export_of_the_latest_run_and_of_its_factors(call, config: PipelineConfig, tmp_path: Path) -> None:
    run = record_run(config, "first")
    code, out, err = call("export", "latest", "--to", str(tmp_path / "tuned"))
    assert (code, err) == (0, "")
    assert "hooked and folded factors" in out and str(tmp_path / "tuned") in out
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "tuned").dtype.itemsize == 4
    card = (tmp_path / "tuned" / "README.md").read_text()
    for text in ("# first", "`random:llama`", "| safety plain | 0.0% [0, 49] | 25.0% [5, 70] | 4 |", f"by {JUDGE}.",
                 "--set model.name=random:llama", "--set selection.safety_neurons=5",
                 "The safety scores were computed on 7 of the model's own refusals."):  # fmt: skip
        assert text in card
    assert "Warning" not in card
    assert json.loads((tmp_path / "tuned" / "neurontune.json").read_text())["origin"]["run_id"] == run
    assert call("export", run, "--to", str(tmp_path / "alpha"), "--format", "alpha")[0] == 0
    assert load_alpha(tmp_path / "alpha", source.describe(config.model)).neurons == factors(len("first")).neurons
    code, _, err = call("export", run, "--to", str(tmp_path / "alpha"))
    assert code == 2 and "is not empty" in err
    code, _, err = call("export", run, "--to", str(tmp_path / "new"), "--format", "gguf")
    assert code == 2 and "'gguf' is unknown" in err


def test_a_run_with_a_baseline_says_so_and_has_a_lineage(call, config: PipelineConfig, tmp_path: Path) -> None:
    record_run(config.model_copy(update={"baseline": SystemPromptSettings()}), "other")
    for arguments in (("chat", "latest"), ("export", "latest", "--to", str(tmp_path / "tuned"))):
        code, _, err = call(*arguments)
        assert code == 2 and "has no scaling: it fitted the baseline system_prompt; name a run without" in err
    code, out, err = call("lineage", "latest")
    assert (code, err) == (0, "") and "baseline: another method, in place of factors" in out
    assert json.loads(call("lineage", "latest", "--json")[1])["base"]["weights"]
    assert out.partition("weights ")[2].split()[0] == source.describe(config.model).weights
    _, forward, _ = call("lineage", "--dataset", "shipped")
    assert "1 runs ended with a model made from it:" in forward and "other" in forward


def test_after_a_run_only_commands_that_work_on_it_are_named(config: PipelineConfig) -> None:
    assert list(next_commands(("pairs", "scaling"), config.runtime)) == ["chat", "export", "compare", "UIs"]
    assert list(next_commands(("pairs", "baseline"), config.runtime)) == ["compare", "UIs"]


def test_the_card_warns_where_the_model_refuses_too_little(config: PipelineConfig) -> None:
    record_run(config, "first", own_refusals=5)
    card = card_of(find_tuned("first", config.runtime))
    assert "> **Warning:** the model refuses 5 of 8 plain harmful queries" in card and "safety scores were" not in card


def test_a_base_model_that_has_changed_is_refused(call, config: PipelineConfig, monkeypatch, tmp_path: Path) -> None:
    record_run(config, "first")
    changed = source.describe(config.model).model_copy(update={"weights": "other"})
    monkeypatch.setattr("tasks.recording.tuned.describe", lambda _: changed)
    code, _, err = call("export", "first", "--to", str(tmp_path / "tuned"))
    assert code == 2 and "is no longer the model run first was made with" in err
    assert not (tmp_path / "tuned").exists()


def test_compare_shows_settings_metrics_neurons_and_answers(call, config: PipelineConfig) -> None:
    other = config.model_copy(update={"scaling": config.scaling.model_copy(update={"steps": 7})})
    record_run(config, "first", refused=("h0",))
    record_run(other, "second", refused=("h0", "h1", "h2", "b0"), judge="keyword 1")
    code, out, _ = call("compare", "first", "second")
    assert code == 0
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert "scaling.steps 40 7" in lines
    assert any(line.startswith("safety 0.250 0.750 +0.500 [") for line in lines)
    assert "2 harmful: answered -> refused" in lines and "1 harmless: answered -> refused" in lines
    both = jaccard(*(factors(len(name)).neurons.all for name in ("first", "second")))
    assert f"Jaccard index of all selected neurons: {both:.3f}" in lines
    assert "the verdicts are by different judges" in out
    assert "prompt b0" in out and "prompt h1" not in out
    assert "prompt h1" in call("compare", "first", "second", "--harmful", "--full")[1]
    assert "runs?viewStateShareKey=headline" in out
    assert call("compare", "first")[0] == 2


def test_compare_tells_of_answers_that_were_generated_differently(call, config: PipelineConfig) -> None:
    def variant(section: str, **values: object) -> PipelineConfig:
        return config.model_copy(update={section: getattr(config, section).model_copy(update=values)})

    record_run(config, "usual")
    record_run(variant("evaluation", engine="vllm"), "fast")
    record_run(variant("model", quantization="int8"), "rounded")
    record_run(variant("model", quantization="int8", evaluate_full=True), "full")
    told = "the answers were generated differently, which may cause the differences: "
    assert told + "transformers and vLLM" in call("compare", "usual", "fast")[1]
    assert told + "vLLM and transformers, int8" in call("compare", "fast", "rounded")[1]
    assert "generated differently" not in call("compare", "usual", "full")[1]


def test_a_run_on_rounded_weights_is_shown_and_talked_to_without_the_library_that_rounds(
    call, config: PipelineConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The card and the chat are of the unrounded model, which the run evaluated."""
    monkeypatch.setattr(quantised, "find_spec", lambda name: None)
    model = config.model.model_copy(update={"quantization": "int8", "evaluate_full": True})
    record_run(config.model_copy(update={"model": model}), "rounded")
    assert "rounded to 8-bit integers" in card_of(find_tuned("rounded", config.runtime))
    code, _, err = call("chat", "rounded", lines="/quit\n")
    assert code == 0 and "torchao" not in err


def test_compare_of_runs_without_a_common_prompt_or_base(call, config: PipelineConfig) -> None:
    """Another seed, another model: what can be said is said, and what it is worth."""
    record_run(config, "first", refused=("h0",))
    other = config.model_copy(update={"model": config.model.model_copy(update={"name": "random:qwen3"})})
    record_run(other, "other", refused=("h0", "h1", "h2"), seed="another ")
    code, out, _ = call("compare", "first", "other")
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert code == 0
    assert "safety 0.250 0.750 +0.500" in lines and "refused: harmful 0.250 0.750 +0.500" in lines
    assert any(line.startswith("no prompt is in both evaluations") for line in lines)
    assert any(line.startswith("the base models differ") for line in lines)
    alike = call("compare", "first", "first")[1]
    assert "no prompt" not in alike and "base models" not in alike


def test_neurons_shows_cards_with_factors_and_hides_harmful_prompts(call, config: PipelineConfig) -> None:
    record_run(config, "first", seed="\x1b[2Ja\rlong\n" + "very " * 40)
    code, out, err = call("neurons", "first", "--top", "3")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    scaling = factors(len("first"))
    for neurons, alpha in ((scaling.neurons.safety, scaling.alpha[:4]), (scaling.neurons.utility, scaling.alpha[4:])):
        for place, neuron in enumerate(neurons):
            score = f"score {1 / (place + 1):.3g} [0, 2]  factor {alpha[place]:.3f}"
            assert (f"layer {neuron.layer}  neuron {neuron.index}  {score}" in lines) is (place < 3)
    assert sum(line.startswith("  promotes    '") for line in lines) == 6
    assert "\x1b" not in out and "\r" not in out and "[2Ja long very very" in out
    prompts = [line for line in lines if "very very" in line or "(harmful)" in line]
    assert len(prompts) == 18 and all(len(line) < 140 for line in prompts)
    hidden = sum("(harmful)" in line for line in prompts)
    assert lines[-1] == f"{hidden} harmful prompts are not shown; --harmful shows them" and hidden > 0
    shown = call("neurons", "first", "--top", "3", "--harmful")[1]
    assert "(harmful)" not in shown and "are not shown" not in shown


def test_neurons_are_computed_once_and_those_of_the_run_need_no_model(
    call, config: PipelineConfig, monkeypatch
) -> None:
    run = record_run(config, "first")
    assert call("neurons", run, "--top", "2")[0] == 0
    (kept,) = (Path(config.runtime.root) / "cards").iterdir()
    written = kept.stat().st_mtime_ns
    first = call("neurons", run, "--top", "2")[1]
    assert kept.stat().st_mtime_ns == written
    found = find_run(run, config.runtime)
    cards = Artifact("cards", kept.name, str(kept), "")
    recorded = dataclasses.replace(found, stages=found.stages | {"cards": cards})
    monkeypatch.setattr("tasks.recording.runs.find_run", lambda *_, **__: recorded)
    monkeypatch.setattr("tasks.cards.load", None)
    assert call("neurons", run, "--top", "2")[1] == first
    one = call("neurons", run, "--top", "1")[1]
    assert one.count("  neuron ") == 2 and set(one.splitlines()[:6]) <= set(first.splitlines())


def test_neurons_of_a_baseline_have_no_factors(call, config: PipelineConfig, monkeypatch) -> None:
    run = record_run(config, "first")
    found = find_run(run, config.runtime)
    stages = {name: artifact for name, artifact in found.stages.items() if name in ("pairs", "selection")}
    monkeypatch.setattr("tasks.recording.runs.find_run", lambda *_, **__: dataclasses.replace(found, stages=stages))
    code, out, _ = call("neurons", run)
    assert code == 0 and out.count("\n  promotes") == 8 and "factor" not in out


def test_neurons_says_what_is_wrong_in_one_line(call, config: PipelineConfig, monkeypatch) -> None:
    record_run(config, "old", ranked=False)
    changed = source.describe(config.model).model_copy(update={"weights": "other"})
    for arguments, words in (
        (("old",), "does not rank its neurons; run the pipeline again"),
        (("nobody",), "no run has the name or id 'nobody'"),
        (("old", "--top", "0"), "--top: 0 is below 1; ask for one neuron or more"),
        (("old", "--top", "-3"), "--top: -3 is below 1; ask for one neuron or more"),
    ):
        code, out, err = call("neurons", *arguments)
        assert (code, out, err.count("\n")) == (2, "", 1) and words in err
    record_run(config, "first")
    monkeypatch.setattr("tasks.recording.tuned.describe", lambda _: changed)
    code, _, err = call("neurons", "first")
    assert code == 2 and "is no longer the model run first was made with" in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("chat", "nothing", "--strength", "2"), "strength: '2' is not a number from 0"),
        (("shard", "first", "0"), "shard: 0 does not exist; choose one of 1 to 3, the shards of first"),
        (("shard", "first", "4"), "shard: 4 does not exist"),
        (("ability", "first", "--tasks", "mmlu"), "has no evaluation"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_a_bad_value_is_told_before_a_model_or_a_server_starts(
    call, config: PipelineConfig, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], words: str
) -> None:
    record_run(config, "first", evaluated=False)
    monkeypatch.setattr(harness, "check_tasks", lambda asked: None)
    monkeypatch.setattr("flows.commands.run.embedded", None)
    code, out, err = call(*arguments)
    assert (code, out) == (2, "") and words in err


def test_lineage_back_to_the_data_and_forward_to_the_models(call, config: PipelineConfig) -> None:
    first, second = record_run(config, "first"), record_run(config, "second", evaluated=False)
    code, out, _ = call("lineage", "first", "--json")
    assert code == 0
    found = json.loads(out)
    assert found["run_id"] == first and found["base"]["weights"] == "random-llama-1"
    (evaluation,) = found["made"]
    pairs, scaling = evaluation["inputs"]
    assert [scaling["name"], *(node["name"] for node in scaling["inputs"])] == ["scaling", "pairs", "selection"]
    assert scaling["settings"]["steps"] == config.scaling.steps and scaling["versions"]["neurontune"]
    (scores,) = scaling["inputs"][1]["inputs"]
    assert scores["name"] == "scores" and scores["inputs"] == [pairs]
    assert [node["name"] for node in pairs["inputs"]] == ["shipped/harmful_queries.jsonl"]
    code, out, _ = call("lineage", "first")
    for text in (
        "selection: the selected neurons",
        "data shipped/harmful_queries.jsonl  " + "0" * 64,
        f"steps={config.scaling.steps}",
        "(as above)",
    ):
        assert text in out
    for name in ("shipped", "shipped/harmful_queries.jsonl", "000000"):
        code, out, _ = call("lineage", "--dataset", name, "--json")
        assert code == 0 and [run["run_id"] for run in json.loads(out)["runs"]] == [first, second]
        assert len(json.loads(out)["artifacts"]) == 9
    assert "first  " + first in call("lineage", "--dataset", "shipped")[1]
    for arguments in (("--dataset", "advbench"), (), ("first", "--dataset", "shipped")):
        assert call("lineage", *arguments)[0] == 2


def test_lineage_says_what_is_gone_or_was_made_again(call, config: PipelineConfig) -> None:
    run = find_run(record_run(config, "first"), config.runtime)
    folder = Path(run.artifact("pairs").uri.removeprefix("file://"))
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["digest"] = "1" * 64
    manifest.pop("checksum")
    manifest["checksum"] = artifacts._checksum(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert "has been made again since, with digest 1111" in " ".join(call("lineage", "first")[1].split())
    shutil.rmtree(folder)
    assert "manifest.json is missing" in " ".join(call("lineage", "first")[1].split())


def test_sync_sends_what_was_kept(call, config: PipelineConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    run = record_run(config, "first")
    uri, root = tracking_uri(config.runtime), config.runtime.root
    record = Tracking(uri=uri, root=root, experiment="neurontune", run_id=run)
    with monkeypatch.context() as away:
        away.setattr(step_runs, "client_of", lambda _: 1 / 0)
        step_runs.record_parameters(record, run, {"scaling": {"steps": 3}})
    code, _, err = call("sync", "--set", "runtime.mlflow_uri=sqlite:////elsewhere.db")
    assert code == 2 and f"belong to {uri}; run `neurontune sync --set runtime.mlflow_uri={uri}`" in err
    assert call("sync")[1] == "1 records sent, 0 refused for good, 0 still kept\n"
    assert client_of(uri).get_run(run).data.params == {"scaling.steps": "3"}
