"""What runs are called: two runs with different settings never go by one name."""

from pathlib import Path

import pytest

from neurontune_core.config import PipelineConfig, load_config
from neurontune_core.run_name import changes, changes_in_words, run_name


@pytest.mark.parametrize(
    ("preset", "settings", "model", "name"),
    [
        (None, [], None, "smollm2-135m-instruct · smollm2"),
        ("tiny", ["pairs.seed=7"], None, "llama · tiny · pairs.seed=7"),
        ("tiny", ["runtime.retries=0", "scaling.steps=2"], None, "llama · tiny"),
        (
            None,
            ["scaling.steps=20", "selection.safety_neurons=500", "selection.utility_neurons=500"],
            "Qwen/Qwen2.5-0.5B-Instruct",
            "Qwen2.5-0.5B-Instruct · default · k=500 · steps=20",
        ),
        ("tiny", ["selection.safety_neurons=9"], None, "llama · tiny · safety_neurons=9"),
        ("tiny", ["pairs.harmful=/data/here/mine.csv,advbench"], None, "llama · tiny · harmful=mine.csv,advbench"),
        (
            "tiny",
            ["evaluation.benchmarks=shipped,/data/mine.csv/heldout,benign:/data/fine.csv"],
            None,
            "llama · tiny · benchmarks=shipped,mine.csv/heldout,benign:fine.csv",
        ),
        (
            "tiny",
            ['evaluation.also_judges=["harmbench=/models/guard/", "keyword"]'],
            None,
            "llama · tiny · also_judges=harmbench=guard,keyword",
        ),
        ("tiny", ["scaling.method=maml"], None, "llama · tiny · scaling.method=maml"),
        (
            "tiny",
            ["scaling.method=maml", "scaling.inner_steps=3"],
            None,
            "llama · tiny · scaling.method=maml · inner_steps=3",
        ),
        ("tiny", ["baseline.method=lora"], None, "llama · tiny · baseline.method=lora"),
        ("tiny", ["pairs.sources.mine.path=x.csv"], None, "llama · tiny · mine.path=x.csv"),
        (
            "tiny",
            ["pairs.sources.mine.path=/d/x.csv", "pairs.sources.more.path=/d/y.csv"],
            None,
            "llama · tiny · mine.path=x.csv · more.path=y.csv",
        ),
        (
            "tiny",
            ["pairs.sources.mine.path=x.csv", "evaluation.sources.mine.path=y.csv"],
            None,
            "llama · tiny · pairs.sources.mine.path=x.csv · evaluation.sources.mine.path=y.csv",
        ),
        ("tiny", ["scaling.steps=20", "runtime.name=my name"], None, "my name"),
    ],
)
def test_name_is_model_preset_and_what_differs(
    preset: str | None, settings: list[str], model: str | None, name: str
) -> None:
    assert run_name(load_config(preset, settings, model)) == name


def test_without_a_preset_what_differs_from_the_defaults_is_named() -> None:
    config = PipelineConfig.model_validate({"model": {"name": "some/model"}, "scaling": {"steps": 20}})
    assert run_name(config) == "model · steps=20"


def test_many_or_long_changes_still_tell_runs_apart() -> None:
    fields = ("steps", "seed", "patience", "iterations", "harmful_batch", "harmless_batch", "opening_tokens")
    names = {
        run_name(load_config("tiny", [*(f"scaling.{field}=31" for field in fields), f"scaling.validations={last}"]))
        for last in (30, 31)
    }
    assert len(names) == 2 and all(len(name) < 160 for name in names)
    prompts = {run_name(load_config("tiny", [f"model.system_prompt={'be safe ' * 30}{end}"])) for end in "ab"}
    assert len(prompts) == 2 and all(len(name) < 100 for name in prompts)


def test_of_a_preset_of_ones_own_the_settings_given_count(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('extends = "tiny"\n[scaling]\nsteps = 3\n')
    config = load_config(str(file), ["scaling.steps=20", "runtime.retries=1"])
    assert run_name(config) == "llama · mine · steps=20"
    assert changes_in_words(changes(load_config(str(file)))) == ""
