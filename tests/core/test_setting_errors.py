"""Errors in settings name field, value and remedy, in one line."""

from itertools import permutations
from pathlib import Path

import pytest
from pydantic import ValidationError
from refused_settings import error_of

from neurontune_core.baselines.settings import LoraSettings
from neurontune_core.config import PipelineConfig, RuntimeConfig, check_dial, load_config
from neurontune_core.errors import InputError


@pytest.mark.parametrize(
    ("setting", "parts"),
    [
        ("scaling.stepz=1", ["scaling.stepz", "unknown field", "steps"]),
        ("scalling.steps=1", ["scalling", "unknown field", "model, pairs, attribution"]),
        ("scores.depth=1", ["scores", "unknown field", "robustness"]),
        ("pairs.sources.advbench.pth=a", ["pairs.sources.advbench.pth", "unknown field", "path, revision, limit"]),
        ("scaling.steps=many", ["scaling.steps", "must be a whole number", "'many'"]),
        ("scaling.steps=", ["scaling.steps", "must be a whole number", "''"]),
        ("scaling.steps=-1", ["scaling.steps", "must be at least 0", "-1"]),
        ("scaling.sign=both", ["scaling.sign", "'free', 'by_role' or 'against_role'", "'both'"]),
        ("pairs.harmful.x=1", ["pairs.harmful", "must be a list", "write a list as a,b"]),
        ("evaluation.benchmarks=3", ["evaluation.benchmarks.0", "must be text", "3"]),
        ("robustness.shots=1.5", ["robustness.shots.0", "must be a whole number", "1.5"]),
        ("robustness.bits=9", ["robustness.bits.0", "must be at most 8", "9"]),
        ("pairs.sources.advbench=3", ["pairs.sources.advbench", "must be a section of fields", "3"]),
        ("pairs.validation_fraction=1.5", ["pairs.validation_fraction", "less than 1", "1.5"]),
        ("scaling.utility_weight=nan", ["scaling.utility_weight", "nan"]),
        ("scaling.utility_weight=much", ["scaling.utility_weight", "must be a number (got 'much')"]),
        ("scaling.steps=2.5", ["scaling.steps", "must be a whole number (got 2.5)"]),
        ("scaling.steps=true", ["scaling.steps", "a number is needed"]),
        ("model.evaluate_full=maybe", ["model.evaluate_full", "must be true or false (got 'maybe')"]),
        ("scaling.prior_width=0", ["scaling.prior_width", "must be more than 0"]),
        ("scaling.prior_width=inf", ["scaling.prior_width", "finite number", "inf"]),
        ("model.revision=12345", ["model.revision", "must be text (got 12345)", "between quotes: '\"12345\"'"]),
    ],
)
def test_errors_name_field_value_and_remedy(setting: str, parts: list[str]) -> None:
    message = error_of(setting)
    assert message.startswith(parts[0] + ":")
    assert all(part in message for part in parts)


def test_a_field_of_two_types_gives_one_error() -> None:
    message = error_of("selection.safety_neurons=some")
    assert message.startswith("selection.safety_neurons: ") and message.count("selection") == 1
    assert error_of("selection.safety_neurons=inf").startswith("selection.safety_neurons: ")


def test_all_errors_are_reported_at_once() -> None:
    message = error_of("scaling.steps=x", "selection.method=y")
    assert "scaling.steps: " in message and "selection.method: " in message


@pytest.mark.parametrize("setting", ["scaling.steps", "scaling=3", "=3", ".steps=3", "scaling.=3", "a..b=3", ""])
def test_malformed_settings_show_the_form(setting: str) -> None:
    message = error_of(setting)
    assert repr(setting) in message and "section.field=value, e.g. scaling.steps=20" in message


def test_a_setting_below_a_plain_value_is_refused() -> None:
    assert "model.name.x" in error_of("model.name.x=1")
    assert error_of("pairs.harmful.x=1").startswith("pairs.harmful: ")


@pytest.mark.parametrize("address", ["postgresql://ada:hidden@host/db", "https://ada:hidden@host"])
def test_password_in_an_address_is_refused_and_not_repeated(address: str) -> None:
    with pytest.raises(InputError, match="put the address into MLFLOW_TRACKING_URI") as caught:
        load_config("tiny", [f"runtime.mlflow_uri={address}"])
    assert "hidden" not in str(caught.value) and "//***@host" in str(caught.value)
    assert load_config("tiny", ["runtime.mlflow_uri=sqlite:////a:b@c/mlflow.db"]).runtime.mlflow_uri is not None


def test_password_in_the_root_is_refused_and_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that comes from the environment: it would become a setting there."""
    address = "ftp://ada:hidden@host/root"
    with pytest.raises(InputError, match=r"runtime\.root: .*as fsspec reads it"):
        load_config("tiny", [f"runtime.root={address}"])
    monkeypatch.setenv("NEURONTUNE_ROOT", address)
    with pytest.raises(InputError, match=r"runtime\.root: .*as fsspec reads it") as caught:
        load_config("tiny")
    assert "hidden" not in str(caught.value)
    with pytest.raises(ValidationError) as raw:
        RuntimeConfig()
    assert "hidden" not in str(raw.value)


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("scaling.steps=true", ["scaling.steps: a number is needed, not true or false (got True)"]),
        ("selection.safety_neurons=false", ["selection.safety_neurons: a number is needed"]),
        ("runtime.timeouts.pairs=true", ["runtime.timeouts: a number is needed", "'pairs': True"]),
        ("pairs.sources.advbench.limit=true", ["pairs.sources.advbench.limit: a number is needed"]),
        ("causal.counts=[true]", ["causal.counts"]),
        (
            "scaling.steps=1000000000",
            ["scaling.steps: more than any run needs; give at most 10000000 (got 1000000000)"],
        ),
        ("scaling.steps='1000000000'", ["scaling.steps: more than any run needs"]),
        ("scaling.prior_width=1e9", ["scaling.prior_width: more than any run needs"]),
        ("selection.utility_neurons=1e300", ["selection.utility_neurons: more than any run needs"]),
        ("pairs.seed=100000000000000000000", ["pairs.seed: more than any run needs; give at most 4294967295"]),
        ("attribution.shards=1000000", ["attribution.shards: must be at most 10000"]),
        ("runtime.workers=1000000000", ["runtime.workers"]),
        ("runtime.root=", ["runtime.root: String should have at least 1 character"]),
        ('runtime.root="a\\u0000b"', ["runtime.root: a text with a NUL character names nothing"]),
        ("runtime.experiment=''", ["runtime.experiment"]),
        ("pairs.sources.advbench.path=''", ["pairs.sources.advbench.path"]),
        (f"scaling.steps={'9' * 6000}", ["scaling.steps: ", "999..."]),
        (f"scaling.steps={'[' * 3000}", ["scaling.steps: "]),
        ("scaling.steps=5\nseed=3", ["scaling.steps: ", r"5\nseed=3"]),
        (f"scaling.steps={'x' * 9000}", ["scaling.steps: ", "xxx..."]),
        ("\x1b[31m.x=1", ["'\\x1b[31m': unknown field"]),
        (f"{'x' * 9000}=1", ["--set: 'xxx"]),
    ],
)
def test_absurd_values_are_told_in_one_short_line(setting: str, words: list[str]) -> None:
    message = error_of(setting)
    assert all(word in message for word in words) and message.isprintable()
    assert len(message) < 400


def test_a_whole_section_of_nonsense_gives_a_short_line(tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text("[evaluation]\n" + "".join(f"a{number} = 1\n" for number in range(999)))
    assert error_of(preset=str(file)).endswith("; and 994 more")


@pytest.mark.parametrize("method", ["none", "system_prompt", "steering"])
def test_a_setting_of_another_baseline_is_an_error(method: str) -> None:
    for settings in permutations([f"baseline.method={method}", "baseline.learning_rate=0.1"]):
        assert error_of(*settings).startswith("baseline.learning_rate: unknown field; the fields there are ")
    changed = load_config("tiny", ["baseline.learning_rate=0.1", "baseline.method=lora"])
    assert changed.baseline == LoraSettings(learning_rate=0.1)
    assert PipelineConfig.model_validate_json(changed.model_dump_json()) == changed


def test_an_unknown_baseline_is_explained_with_those_there_are() -> None:
    message = error_of("baseline.method=dpo2")
    assert message.startswith(
        "baseline.method: unknown method; choose one of none, system_prompt, steering, alphasteer, lora"
    )
    assert message.endswith("(got 'dpo2')")


@pytest.mark.parametrize("judge", ["rules", "keyword"])
def test_a_path_of_a_judge_that_reads_nothing_is_an_error_that_names_those_that_do(judge: str) -> None:
    for name in ("evaluation.judge", "evaluation.judge.method"):
        for settings in permutations([f"{name}={judge}", "evaluation.judge.path=here"]):
            message = error_of(*settings)
            assert message.startswith(
                "evaluation.judge.path: unknown field; the fields there are method; it belongs to "
            )
            assert "classifier, precomputed, llama-guard-3" in message


def test_a_judge_that_does_not_exist_or_lacks_what_it_reads_is_told() -> None:
    for setting in ("evaluation.judge=oracle", "evaluation.judge.method=oracle"):
        message = error_of(setting)
        assert message.startswith("evaluation.judge.method: unknown method; choose one of rules, keyword, classifier")
        assert message.endswith("(got 'oracle')")
    for judge in ("classifier", "precomputed"):
        message = error_of(f"evaluation.judge={judge}")
        assert message.startswith("evaluation.judge.path: this judge reads a model folder or a verdict file; give its")


@pytest.mark.parametrize(
    "address", ["", "nope", "tcp://nope", "tcp://:8786", "host:port", "tcp://ho st:1", "x:1234567"]
)
def test_the_address_of_a_dask_scheduler_has_host_and_port(address: str) -> None:
    message = error_of(f"runtime.dask_address='{address}'")
    assert message.startswith("runtime.dask_address: not the address of a Dask scheduler")


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:8786", "host:8786", "tls://[::1]:8786", "tcp://dask.example:1/"])
def test_addresses_of_dask_schedulers_are_taken(address: str) -> None:
    assert load_config("tiny", [f"runtime.dask_address='{address}'"]).runtime.dask_address == address


@pytest.mark.parametrize("field", ["model.name", "runtime.root", "runtime.experiment", "runtime.device"])
def test_a_text_of_blanks_is_no_value(field: str) -> None:
    assert error_of(f"{field}='  \t'").startswith(f"{field}: ")


def test_the_dial_is_refused_for_neurons_that_it_would_scale_the_wrong_way() -> None:
    """Damping neurons that carry answers, or amplifying those that work against refusal, is no dial."""
    dial, right = "scaling.method=dial", "selection.utility_set=opposes_refusal"
    for wrong, told in (
        ([], "selection.utility_set: is carries_answers, .*set it to opposes_refusal"),
        ([right, "selection.safety_set=opposes_refusal"], "selection.safety_set: .*set it to carries_refusal"),
    ):
        with pytest.raises(InputError, match=told):
            check_dial(load_config("tiny", [dial, *wrong]))
    check_dial(load_config("tiny", [dial, right]))
    check_dial(load_config("tiny", [dial, "selection.utility_neurons=0"]))
    check_dial(load_config("tiny", [dial, "baseline.method=system_prompt"]))
