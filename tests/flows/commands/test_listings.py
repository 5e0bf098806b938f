"""`neurontune settings` and `neurontune runs`: what is listed, how it reads, at any width."""

import json
import re

import pytest
from recorded_runs import record_run

from flows.commands.run_table import RunFilter, show_runs
from flows.commands.setting_list import show_settings, type_in_words
from neurontune_core.config import PipelineConfig, load_config
from neurontune_core.errors import InputError
from neurontune_core.scaling.settings import METHODS
from tasks.recording.mlflow_store import client_of, tracking_uri


def test_settings_show_the_values_a_run_uses(capsys: pytest.CaptureFixture[str]) -> None:
    show_settings(["scaling"], "tiny", as_json=True)
    shown = {each["name"]: each for each in json.loads(capsys.readouterr().out)}
    assert all("scaling" in name for name in shown)
    assert shown["scaling.steps"]["value"] == load_config("tiny").scaling.steps
    assert shown["scaling.steps"]["default"] == load_config().scaling.steps
    assert shown["scaling.steps"]["kind"] == "whole number, at least 0"
    assert shown["scaling.order"]["kind"] == "one of first, second"
    show_settings(["runtime.batch_tokens"], "tiny", as_json=True)
    assert json.loads(capsys.readouterr().out)[0]["kind"] == "whole number or none, at least 64"
    show_settings(["scaling.steps"], "tiny", as_json=False)
    assert f"scaling.steps = 2 (default {load_config().scaling.steps})" in capsys.readouterr().out


@pytest.mark.parametrize("columns", ["40", "60", "200"])
def test_settings_are_whole_and_in_plain_words_at_any_width(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: str
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    show_settings([], None, as_json=False)
    text = capsys.readouterr().out
    assert not re.search(r"tuple|Annotated|Literal|NoneType|SourceConfig|dict\[|\.\.\.|…", text)
    for section in ("pairs", "evaluation", "runtime"):
        for field in getattr(PipelineConfig(), section).model_fields_set | set(
            type(getattr(PipelineConfig(), section)).model_fields
        ):
            assert re.search(rf"{section}\.{field}(\.method)? = ", text)
    assert "list, as a,b, of: text" in " ".join(text.split())


def test_unknown_setting_is_answered_with_the_nearest() -> None:
    with pytest.raises(InputError, match=r"no setting has sclaing.steps in its name; the nearest are scaling.steps"):
        show_settings(["sclaing.steps"], None, as_json=False)


def test_types_in_words() -> None:
    assert type_in_words(dict[str, float]) == "map, set as NAME=VALUE, of: number"
    assert type_in_words(int | float) == "number"
    assert type_in_words(str | None) == "text or none"


@pytest.mark.parametrize("columns", ["60", "220"])
def test_runs_are_listed_newest_first_and_filtered(
    config: PipelineConfig, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: str
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    where = [f"runtime.root='{config.runtime.root}'"]
    client = client_of(tracking_uri(config.runtime))
    runs = {name: record_run(config, name) for name in ("first run", "second run", "third run")}
    for metric, value in {"su_f1": 0.61, "su_f1_low": 0.52, "su_f1_high": 0.7, "safety": 0.81, "utility": 0.93}.items():
        client.log_metric(runs["first run"], f"eval/{metric}", value)
    client.set_terminated(runs["third run"], "FAILED")
    client.log_param(runs["first run"], "evaluation.engine", "vllm")
    client.log_param(runs["second run"], "model.name", "some/other-model")
    client.log_param(runs["second run"], "runtime.preset", "tiny")

    def listed(*words: str, **chosen: str) -> str:
        show_runs(RunFilter(words, **chosen), most=20, as_json=False, settings=where, debug=False)
        return capsys.readouterr().out

    text = listed()
    assert text.index("third run") < text.index("second run") < text.index("first run")
    for shown in ("0.61 [0.52, 0.70] (vLLM)", "0.81", "0.93", "failed", runs["first run"][:8]):
        assert shown in text
    assert max(map(len, text.splitlines())) <= int(columns)
    assert "second" not in listed(state="failed") and "third" in listed(state="failed")
    assert "second" in listed(model="other-model") and "first" not in listed(model="other-model")
    assert "second" in listed(preset="tiny") and "first" not in listed(preset="tiny")
    assert "first" in listed("FIRST") and "second" not in listed("FIRST")
    assert "no run fits" in listed("nothing so")
    with pytest.raises(InputError, match=r"--state: 'gone'.*finished"):
        listed(state="gone")
    show_runs(RunFilter(), 1, True, where, False)
    (newest,) = json.loads(capsys.readouterr().out)
    assert newest["answered_by"] is None
    assert (newest["run_id"], newest["name"], newest["su_f1"]) == (runs["third run"], "third run", None)


def test_settings_of_every_method_of_scaling_are_listed_once(capsys: pytest.CaptureFixture[str]) -> None:
    """Those of the preset's method with its values, those of others with the method they need."""
    show_settings(["scaling."], "tiny", as_json=True)
    rows = json.loads(capsys.readouterr().out)
    names = [row["name"] for row in rows]
    assert len(set(names)) == len(names)
    assert set(names) == {f"scaling.{name}" for form in METHODS.values() for name in form.model_fields}
    meanings = {row["name"]: row["meaning"] for row in rows}
    assert meanings["scaling.inner_steps"].startswith("With scaling.method=maml. ")
    assert meanings["scaling.safety_factors"].startswith("With scaling.method=dial. ")
    assert not meanings["scaling.prior_width"].startswith("With ")
    (method,) = [row for row in rows if row["name"] == "scaling.method"]
    assert (method["value"], method["kind"]) == ("margin_fit", "one of maml, margin_fit, dial")
