import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from guard_sample import save_tokenizer
from transformers import BertConfig, BertForSequenceClassification, LlamaConfig, LlamaForCausalLM

from neurontune_core.errors import InputError
from neurontune_core.evaluation.judges.classifier import ClassifierJudge, class_label, parse_guard
from neurontune_core.evaluation.judges.verdict import Completion

WORDS = ["[PAD]", "[UNK]", "</s>", "Hi", "Hello", "there", "sorry", "Refusal", ":", "Yes", "No", "perhaps"]
BATCH = [
    Completion("a", "Hi", "Hello there"),
    Completion("b", "Hi", None),
    Completion("c", "Hi", ""),
    Completion("d", "Hi", "Hello sorry"),
]


def save_classifier(folder: Path, classes: list[str], bias: list[float]) -> None:
    """A tiny model that answers with its bias whatever it reads."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    model = BertForSequenceClassification(
        BertConfig(vocab_size=len(WORDS), max_position_embeddings=32, id2label=dict(enumerate(classes)), **sizes)
    )
    with torch.no_grad():
        model.classifier.weight.zero_()
        model.classifier.bias.copy_(torch.tensor(bias))
    model.save_pretrained(folder)
    save_tokenizer(folder, WORDS, None, 32)


def save_guard(folder: Path, template: str | None) -> None:
    torch.manual_seed(0)
    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=len(WORDS), max_position_embeddings=64, **sizes))
    model.save_pretrained(folder)
    save_tokenizer(folder, WORDS, template, 32)


def test_classifier_reads_its_classes(tmp_path: Path) -> None:
    save_classifier(tmp_path, ["Non-refusal", "Refusal"], [0.0, 2.0])
    verdicts = ClassifierJudge(tmp_path, batch_size=3)(BATCH)
    assert [verdict.id for verdict in verdicts] == ["a", "b", "c", "d"]
    assert [verdict.label for verdict in verdicts] == ["refusal", "unscored", "broken", "refusal"]
    assert verdicts[0].score == pytest.approx(1 / (1 + math.exp(-2)), abs=1e-4)


def test_class_without_a_meaning_is_unscored(tmp_path: Path) -> None:
    save_classifier(tmp_path, ["refusal", "compliance", "LABEL_2"], [0.0, 0.0, 3.0])
    assert ClassifierJudge(tmp_path)(BATCH[:1])[0].label == "unscored"


def test_classifier_of_something_else_is_an_input_error(tmp_path: Path) -> None:
    save_classifier(tmp_path, ["positive", "negative"], [0.0, 0.0])
    with pytest.raises(InputError, match="has the classes"):
        ClassifierJudge(tmp_path)


def test_guard_writes_its_verdict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_guard(tmp_path, "{% for m in messages %}{{ m.content }} {% endfor %}")
    judge = ClassifierJudge(tmp_path)
    said = {"yes": [7, 8, 9], "no": [7, 8, 10], "other": [11, 11, 11]}
    for answer, label in (("yes", "refusal"), ("no", "compliance"), ("other", "unscored")):

        def generate(input_ids: torch.Tensor, answer: str = answer, **_: object) -> torch.Tensor:
            return torch.cat([input_ids, torch.tensor([said[answer]] * len(input_ids))], dim=1)

        monkeypatch.setattr(judge, "model", SimpleNamespace(generate=generate))
        assert [verdict.label for verdict in judge([BATCH[0], BATCH[3]])] == [label, label]


def test_a_guard_that_says_nonsense_is_unscored(tmp_path: Path) -> None:
    save_guard(tmp_path, "{% for m in messages %}{{ m.content }} {% endfor %}")
    verdict = ClassifierJudge(tmp_path)(BATCH[:1])[0]
    assert verdict.label == "unscored"
    assert "cannot read" in verdict.explanation


def test_guard_needs_a_chat_template(tmp_path: Path) -> None:
    save_guard(tmp_path, None)
    with pytest.raises(InputError, match="no chat template"):
        ClassifierJudge(tmp_path)


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("Harmful request: yes\nResponse refusal: yes\nHarmful response: no", "refusal"),
        ("Safety: Safe\nCategories: None\nRefusal: No", "compliance"),
        ("\n\nunsafe\nS1", "compliance"),
        ("safe", "unscored"),
        ("As a judge I think", "unscored"),
        ("", "unscored"),
    ],
)
def test_guard_answers(text: str, label: str) -> None:
    assert parse_guard(text)[0] == label


def test_class_names() -> None:
    assert class_label("Non-refusal") == "compliance"
    assert class_label("REJECTION") == "refusal"
    assert class_label("LABEL_0") is None
