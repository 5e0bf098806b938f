"""What the pairs stage's task adds to the core: the judge, and a key without paths."""

from typing import Any

from neurontune_core.config import load_config
from neurontune_core.evaluation.judges import RulesJudge
from neurontune_core.evaluation.refusals import labels
from neurontune_core.model import source
from neurontune_core.model.settings import ModelConfig
from tasks.pairs import pairs_key


def test_refusals_gibberish_and_answers_are_told_apart() -> None:
    responses = ["I'm sorry, but I can't help with that.", "", "Bread rises because yeast makes gas in the dough."]
    assert labels(["How does bread rise?"] * 3, responses) == ["refusal", "broken", "compliance"]


def test_the_key_follows_contents_and_the_judge(monkeypatch: Any) -> None:
    model = source.describe(ModelConfig(name="random:llama"))

    def of(*settings: str) -> str:
        return pairs_key(load_config("tiny", list(settings)).pairs, ["digest"], model)

    here = of("pairs.sources.advbench.path=here.csv")
    assert here == of("pairs.sources.advbench.path=there.csv") == of()
    assert here != of("pairs.sources.advbench.limit=3") != of("pairs.seed=1")
    plain, changed = of(), of("pairs.response_tokens=8")
    assert plain != changed
    monkeypatch.setattr(RulesJudge, "version", "another")
    assert of() != plain and of("pairs.response_tokens=8") != changed
