"""Where a model comes from: identity, shape and remedies, without loading a weight."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import T5Config

from neurontune_core.errors import InputError
from neurontune_core.model import tiny
from neurontune_core.model.identity import folder_digest
from neurontune_core.model.settings import ModelConfig
from neurontune_core.model.source import ModelReference, describe, skeleton

DENSE = tiny.DENSE


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model folder as `save_pretrained` leaves it."""
    tiny.model("llama").save_pretrained(tmp_path / "saved")
    tiny.tokenizer().save_pretrained(tmp_path / "saved")
    return tmp_path / "saved"


def identity(**fields: Any) -> str:
    return describe(ModelConfig(**fields)).identity


@pytest.mark.parametrize("family", DENSE)
def test_neurons_are_counted_without_weights(family: str) -> None:
    config = ModelConfig(name=f"random:{family}")
    assert describe(config).neurons_per_layer == (48, 48)
    assert describe(config).neuron_total == 96
    assert {parameter.device.type for parameter in skeleton(config).parameters()} == {"meta"}


def test_experts_are_counted_without_weights() -> None:
    shared = describe(ModelConfig(name="random:deepseek_v3"))
    assert (shared.neurons_per_layer, shared.experts_per_layer) == ((48, 80), ((0, 0), (4, 16)))
    assert describe(ModelConfig(name="random:mixtral")).neuron_total == 2 * 4 * 48
    assert describe(ModelConfig(name="random:llama")).experts_per_layer == ()


def test_identity_changes_with_what_changes_a_result() -> None:
    plain = identity(name="random:llama", working_dtype="float32")
    assert plain == identity(name="random:llama", working_dtype="float32", system_prompt="")
    others = [
        identity(name="random:qwen2", working_dtype="float32"),
        identity(name="random:llama", working_dtype="bfloat16"),
        identity(name="random:llama", working_dtype="float32", dtype="float16"),
        identity(name="random:llama", working_dtype="float32", system_prompt="Be brief."),
    ]
    assert len({plain, *others}) == 5


def test_the_working_format_is_the_weights_own_unless_the_processor_is_better(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for able, expected in ((True, "bfloat16"), (False, "float32")):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda able=able: {"avx512_bf16": able})
        assert describe(ModelConfig(name="random:llama")).working_dtype == expected
        assert describe(ModelConfig(name="random:llama", dtype="float16")).working_dtype == "float16"
        assert describe(ModelConfig(name="random:llama", working_dtype="float16")).working_dtype == "float16"


def test_a_reference_survives_json() -> None:
    reference = describe(ModelConfig(name="random:llama", system_prompt="Be brief."))
    assert ModelReference.model_validate_json(reference.model_dump_json()) == reference


def test_a_folder_is_known_by_its_content(folder: Path, tmp_path: Path) -> None:
    first = describe(ModelConfig(name=str(folder)))
    assert first.neurons_per_layer == (48, 48) and first.revision is None
    moved = folder.rename(tmp_path / "moved")
    assert describe(ModelConfig(name=str(moved))).identity == first.identity

    template = moved / "chat_template.jinja"
    template.write_text(template.read_text() + " ")
    second = describe(ModelConfig(name=str(moved))).identity
    weights = moved / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert len({first.identity, second, describe(ModelConfig(name=str(moved))).identity}) == 3


@pytest.mark.parametrize(
    "name",
    [
        "merges.txt", "vocab.txt", "vocab.json", "tokenizer.model", "qwen.tiktoken", "added_tokens.json",
        "additional_chat_templates/tool_use.jinja", "generation_config.json", "model-00002-of-00002.safetensors",
    ],
)  # fmt: skip
def test_every_file_that_is_read_is_part_of_the_identity(folder: Path, name: str) -> None:
    file = folder / name
    file.parent.mkdir(exist_ok=True)
    file.write_text("{}")
    first = folder_digest(folder)
    file.write_text("{} ")
    assert folder_digest(folder) != first


def test_other_files_are_no_part_of_the_identity(folder: Path) -> None:
    first = folder_digest(folder)
    (folder / ".git").mkdir()
    for name in ("README.md", "LICENSE.txt", "pytorch_model.bin", "m.gguf", "logo.png", ".git/config.json"):
        (folder / name).write_text("other")
    assert folder_digest(folder) == first


def test_a_folder_without_weights_or_configuration_is_explained(folder: Path) -> None:
    (folder / "config.json").unlink()
    with pytest.raises(InputError, match=r"model\.name: .* has no readable config\.json"):
        describe(ModelConfig(name=str(folder)))
    (folder / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"no \*\.safetensors file in .*save_pretrained"):
        describe(ModelConfig(name=str(folder)))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("random:unheard", r"model\.name: unknown random family 'unheard'; known: llama, qwen2"),
        ("packaged:unheard", r"model\.name: unknown packaged model 'unheard'; known: smollm2-135m-instruct"),
        ("no/such-model", r"model\.name: 'no/such-model' is not a local folder and the hub is switched off"),
    ],
)
def test_unknown_names_are_explained(name: str, message: str) -> None:
    for use in (describe, skeleton):
        with pytest.raises(InputError, match=message):
            use(ModelConfig(name=name))


def test_a_model_that_is_no_causal_language_model_is_explained(tmp_path: Path) -> None:
    T5Config(d_model=16, d_ff=16, num_layers=1, num_heads=2).save_pretrained(tmp_path)
    with pytest.raises(InputError, match=r"model\.name: .* cannot be made a causal language model \(Unrecognized conf"):
        skeleton(ModelConfig(name=str(tmp_path)))
