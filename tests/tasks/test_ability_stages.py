"""The ability stages: what their keys depend on, and that a second tuning asks the base model nothing."""

from collections import Counter

import pytest

from flows.pipeline import pipeline
from neurontune_core import artifacts
from neurontune_core.config import PipelineConfig
from neurontune_core.evaluation import ability as questions
from neurontune_core.model.settings import ModelConfig
from neurontune_core.records import Artifact
from tasks import ability
from tasks.models import describe


def test_the_key_of_the_base_answers_covers_what_they_depend_on(monkeypatch: pytest.MonkeyPatch) -> None:
    model = describe(ModelConfig(name="random:llama"))
    known = ability.base_key(model)
    for changes in ({"weights": "other"}, {"working_dtype": "float16"}, {"system_prompt": "Be brief."}):
        assert ability.base_key(model.model_copy(update=changes)) != known
    for changes in ({"dtype": "float16"}, {"skip_uncovered_layers": True}, {"name": "elsewhere"}):
        assert ability.base_key(model.model_copy(update=changes)) == known
    base, change = (Artifact(stage, "k", "", stage) for stage in ("base-ability", "scaling"))
    assert ability.ability_key(base, change, model) != ability.ability_key(
        base, Artifact("scaling", "k", "", "other"), model
    )
    monkeypatch.setattr(questions, "questions_digest", lambda: "other questions")
    assert ability.base_key(model) != known


@pytest.mark.usefixtures("prefect_server")
def test_a_second_tuning_of_a_model_reuses_what_the_base_model_chose(
    config: PipelineConfig, core_calls: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    for name in ("base_choices", "tuned_choices"):
        choose = getattr(questions, name)
        monkeypatch.setattr(
            questions, name, lambda *each, name=name, choose=choose: (asked.append(name), choose(*each))[1]
        )
    first = pipeline(config)
    other = config.selection.model_copy(update={"safety_neurons": 6})
    second = pipeline(config.model_copy(update={"selection": other}))
    assert asked == ["base_choices", "tuned_choices", "tuned_choices"]
    assert first["base-ability"] == second["base-ability"] and first["ability"] != second["ability"]
    inputs = artifacts.read_manifest(second["ability"])["inputs"]
    assert [each["stage"] for each in inputs] == ["base-ability", "scaling"]
