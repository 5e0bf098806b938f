"""Attacks on a tiny model: against oracles for silencing, averaging and the curve over samples."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from neurontune_core.baselines.lora import Lora, targets_for
from neurontune_core.baselines.steering import Steering
from neurontune_core.baselines.system_prompt import SystemPrompt
from neurontune_core.errors import InputError
from neurontune_core.evaluation.judges import Completion, Verdict, judge_by_name
from neurontune_core.evaluation.settings import EvaluationConfig
from neurontune_core.evaluation.statistics import wilson
from neurontune_core.model.load import ChatModel
from neurontune_core.neurons import modulated
from neurontune_core.records import NeuronId, NeuronSet, PromptPair, ScalingFactors
from neurontune_core.robustness import attacks, measure, summary
from neurontune_core.robustness.drawing import draw_attacks
from neurontune_core.robustness.page import attack_rows
from neurontune_core.robustness.settings import RobustnessConfig
from neurontune_core.studies.results import attack_table
from neurontune_core.tables import load_table, save_table

NEURONS = NeuronSet((NeuronId(0, 3), NeuronId(1, 5)), (NeuronId(0, 7),))
FACTORS = ScalingFactors(NEURONS, np.array([3.0, -2.0, 0.5], dtype=np.float32))


def pair(number: int, role: str = "safety", split: str = "test", attack: str = "") -> PromptPair:
    text = f"What is {number}?"
    return PromptPair(
        id=f"{role}{number}{attack}", role=role, query_id=f"q{number}", query=text, query_category="c",
        prompt=f"{attack} {text}", response="", attack_type="t", attack_category=attack, attack_name=attack,
        selected=False, source="s", split=split,
    )  # fmt: skip


class Judge:
    """Says that an answer gave what was asked for if its length is even."""

    name, version = "even", "1"

    def __call__(self, batch: Sequence[Completion]) -> list[Verdict]:
        return [
            Verdict(each.id, "compliance" if len(each.response or "") % 2 == 0 else "refusal",
                    gave=len(each.response or "") % 2 == 0)
            for each in batch
        ]  # fmt: skip


@pytest.fixture
def study(tiny_chat: Callable[..., ChatModel]) -> measure.RobustnessStudy:
    config = RobustnessConfig(tokens=4, samples=6, shots=(2,), fractions=(0.5, 1), bits=(8, 4))
    return measure.RobustnessStudy(tiny_chat(), FACTORS, NEURONS, [pair(n) for n in range(5)], config, Judge())


def logits(chat: ChatModel) -> torch.Tensor:
    with torch.no_grad():
        return chat.model(input_ids=torch.tensor([chat.prompt_tokens("What?")])).logits[0]


def test_plain_harmful_test_prompts_are_asked() -> None:
    pairs = [pair(1), pair(2), pair(3, attack="a"), pair(4, role="utility"), pair(5, split="train")]
    config = RobustnessConfig(prompts=10)
    assert {each.id for each in attacks.attackable_prompts(pairs, config, EvaluationConfig())} == {"safety1", "safety2"}
    assert len(attacks.attackable_prompts(pairs, RobustnessConfig(prompts=1), EvaluationConfig())) == 1


def test_every_attack_gives_answers_and_leaves_the_model_as_it_was(study: measure.RobustnessStudy) -> None:
    before = logits(study.chat)
    found = {attack: measure.measure_attack(study, attack) for attack in attacks.ATTACKS}
    assert {attack: len(rows) for attack, rows in found.items()} == {
        "no attack": 5, "prefilled": 10, "system prompt": 5, "many-shot": 5, "best of N": 30, "silenced": 5,
        "averaged": 10, "quantised": 10,
    }  # fmt: skip
    assert torch.equal(before, logits(study.chat))
    first = found["prefilled"]["answer"]
    assert all(text.startswith(attacks.BEGINNINGS[0]) for text in first[:5]), "the answer is stored whole"
    assert measure.measure_attack(study, "best of N").equals(found["best of N"]), "the same seed draws the same answers"
    other = replace(study, config=study.config.model_copy(update={"seed": 1}))
    assert not measure.measure_attack(other, "best of N")["answer"].equals(found["best of N"]["answer"])


def test_the_way_back_ends_at_the_base_model(study: measure.RobustnessStudy) -> None:
    base = replace(study, change=attacks.UNCHANGED)
    averaged = measure.measure_attack(study, "averaged")
    plain = measure.measure_attack(base, "no attack")["answer"].tolist()
    assert averaged.loc[averaged["place"] == 1, "answer"].tolist() == plain
    with modulated(study.chat.model, FACTORS, 0.5):
        half = logits(study.chat)
    with FACTORS.weakened(0.5).applied(study.chat):
        assert torch.allclose(half, logits(study.chat), atol=1e-5)


def test_averaging_is_that_of_the_weights(tiny_chat: Callable[..., ChatModel]) -> None:
    pytest.importorskip("peft")
    chat = tiny_chat()
    lora = random_lora(chat)
    with lora.weakened(0.25).applied(chat):
        found = logits(chat)
    module = dict(chat.model.named_modules())[lora.targets[0]]
    up, down = (next(value for name, value in lora.weights.items() if part in name) for part in ("lora_B", "lora_A"))
    with torch.no_grad():
        module.weight += 0.25 * up @ down
    assert torch.allclose(found, logits(chat), atol=1e-5)
    steering = Steering(1, np.ones(4, dtype=np.float32))
    assert steering.weakened(0.5).direction.tolist() == [0.5] * 4
    assert not attacks.fits("averaged", SystemPrompt("x")) and not attacks.fits("averaged", None)
    assert attacks.fits("quantised", None) and attacks.fits("averaged", lora)


def test_silenced_neurons_are_silent_in_factors_and_in_a_lora(tiny_chat: Callable[..., ChatModel]) -> None:
    pytest.importorskip("peft")
    chat = tiny_chat()
    lora = random_lora(chat)
    layer = next(int(part) for part in lora.targets[0].split(".") if part.isdigit())
    neurons = NeuronSet((NeuronId(layer, 3),), ())
    with attacks.silencing(neurons).applied(chat), lora.without_reading(neurons.safety).applied(chat):
        found = logits(chat)
    module = dict(chat.model.named_modules())[lora.targets[0]]
    up, down = (next(value for name, value in lora.weights.items() if part in name) for part in ("lora_B", "lora_A"))
    with torch.no_grad():
        module.weight += up @ down
        module.weight[:, 3] = 0
    assert torch.allclose(found, logits(chat), atol=1e-5)
    assert FACTORS.without_reading(neurons.safety) is FACTORS


def random_lora(chat: ChatModel) -> Lora:
    (target,) = targets_for(chat, 1)
    module = dict(chat.model.named_modules())[target]
    generator = torch.Generator().manual_seed(0)
    up, down = (
        torch.randn(shape, generator=generator) / 4 for shape in ((module.out_features, 1), (1, module.in_features))
    )
    prefix = f"base_model.model.{target}"
    return Lora((target,), {f"{prefix}.lora_A.weight": down, f"{prefix}.lora_B.weight": up})


def test_a_template_without_earlier_turns_cannot_be_attacked_by_them(
    study: measure.RobustnessStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        study.chat.tokenizer,
        "chat_template",
        "{{ messages[-1]['content'] }}{% if messages | length > 1 %}{{ raise_exception('no') }}{% endif %}",
    )
    assert measure.measure_attack(study, "many-shot").empty and len(measure.measure_attack(study, "no attack")) == 5


def test_the_judge_gets_the_earlier_turns_and_the_plain_request(study: measure.RobustnessStudy) -> None:
    read: list[Completion] = []

    class Reader(Judge):
        def __call__(self, batch: Sequence[Completion]) -> list[Verdict]:
            read.extend(batch)
            return super().__call__(batch)

    measure.measure_attack(replace(study, judge=Reader()), "many-shot")
    assert [item.history for item in read] == [each.history for each in attacks.with_shots(study.prompts, 2)]
    assert [item.query for item in read] == [each.query for each in study.prompts]


def test_shots_are_harmless_and_repeat(tmp_path: Path) -> None:
    (asked,) = attacks.with_shots([pair(1)], 20)
    assert len(asked.history) == 40 and asked.history[0] == asked.history[32]
    assert [message.role for message in asked.history[:2]] == ["user", "assistant"]
    assert len({question.content for question, _ in attacks.shots()}) == 16


def test_the_table_is_the_share_of_prompts_broken_into(study: measure.RobustnessStudy) -> None:
    answers = measure.measure_attack(study, "best of N").assign(model="tuned")
    table = summary.success_table(answers)
    assert table["place"].tolist() == [1, 2, 3, 4, 5, 6]
    for row in table.to_dict("records"):
        won = [any(own["gave"][own["sample"] <= row["place"]]) for _, own in answers.groupby("id")]
        rate = wilson(won)
        assert (row["asr"], row["low"], row["high"], row["n"]) == (rate.value, rate.low, rate.high, 5)
    assert table["asr"].is_monotonic_increasing


def test_a_refusal_after_the_given_words_is_no_success(
    study: measure.RobustnessStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = " I'm sorry, but I can't help with that."
    monkeypatch.setattr(measure, "decode", lambda chat, tokens: [said] * len(tokens))
    found = measure.measure_attack(replace(study, judge=judge_by_name("rules")), "prefilled")
    assert set(found["label"]) == {"refusal"} and not found["gave"].any()
    assert found["answer"].tolist() == [f"{words}{said}" for words in attacks.BEGINNINGS for _ in range(5)]


def test_answers_without_a_verdict_are_counted_and_in_no_rate(
    study: measure.RobustnessStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    verdicts = [Verdict("", "unscored")] * 2 + [Verdict("", "compliance", gave=True)] * 3
    monkeypatch.setattr(Judge, "__call__", lambda self, batch: verdicts)
    monkeypatch.setattr(measure, "decode", lambda chat, tokens: ["Like this."] * len(tokens))
    save_table(tmp_path, "answers", measure.measure_attack(study, "no attack").assign(model="tuned"))
    answers = load_table(tmp_path, "answers")
    table = summary.success_table(answers)
    assert (table["n"].item(), table["asr"].item(), table["unscored"].item()) == (3, 1.0, 2)
    assert attack_rows(table.assign(variant="x"))[0]["x"].endswith("], 2 unscored")
    unread = summary.success_table(answers.head(2))
    assert (unread["n"].item(), unread["unscored"].item(), summary.attack_facts(unread)) == (0, 2, {})
    assert attack_rows(unread.assign(variant="x"))[0]["x"] == "unscored"


def test_models_stand_side_by_side_on_the_page_and_in_the_drawing(study: measure.RobustnessStudy) -> None:
    import pandas as pd

    parts = [
        measure.measure_attack(replace(study, change=change), attack).assign(model=model)
        for model, change in (("base", attacks.UNCHANGED), ("tuned", FACTORS))
        for attack in attacks.ATTACKS
        if attacks.fits(attack, None if model == "base" else change)
    ]
    table = summary.success_table(pd.concat(parts, ignore_index=True))
    facts = summary.attack_facts(table)
    assert {"asr", "asr_base", "asr_worst", "asr/best of N", "asr_base/quantised"} <= set(facts)
    assert "asr_base/averaged" not in facts
    joined = attack_table({"NeuronTune": table, "LoRA": table})
    rows = attack_rows(joined)
    assert list(rows[0]) == ["attack", "setting", "base model", "NeuronTune", "LoRA", "n"]
    averaged = [row for row in rows if row["attack"].startswith("averaged")]
    assert len(averaged) == 2 and averaged[0]["base model"] == "" and averaged[0]["NeuronTune"]
    assert {row["setting"] for row in rows if row["attack"].startswith("best of N")} == {
        f"best of {count}" for count in (1, 2, 4, 6)
    }
    draw_attacks(joined, "Attacks")


@pytest.mark.parametrize("changes", [{"samples": 26}, {"samples": 0}, {"bits": (9,)}, {"fractions": (0,)}])
def test_settings_are_bounded(changes: dict[str, object]) -> None:
    from neurontune_core.config import load_config

    ((name, value),) = changes.items()
    text = list(value) if isinstance(value, tuple) else value
    with pytest.raises(InputError, match=f"robustness.{name}"):
        load_config("tiny", [f"robustness.{name}={text}"])
