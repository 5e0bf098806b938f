"""Models of the hub: their commit, their files, and the cache where there is no network."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import torch
from huggingface_hub import HfApi, constants
from huggingface_hub import errors as hub_errors
from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError
from huggingface_hub.utils import filter_repo_objects

from neurontune_core.errors import InputError
from neurontune_core.model import hub, tiny
from neurontune_core.model.load import load
from neurontune_core.model.settings import ModelConfig
from neurontune_core.model.source import describe, skeleton

COMMIT, OTHER = "a" * 40, "b" * 40
CPU = torch.device("cpu")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The hub's cache of some/model, as a download of its branch main leaves it; the network is cut."""
    place = tmp_path / "cache" / "models--some--model"
    folder = place / "snapshots" / COMMIT
    tiny.model("llama").save_pretrained(folder)
    tiny.tokenizer().save_pretrained(folder)
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text(COMMIT)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return place


def without_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise ConnectionError("no route")

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(HfApi, "model_info", refuse)
    monkeypatch.setattr(HfApi, "list_repo_tree", refuse)


@pytest.mark.parametrize("switched_off", [True, False])
@pytest.mark.parametrize("revision", [None, "main", COMMIT])
def test_without_a_network_a_model_comes_from_the_cache(
    cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, revision: str | None, switched_off: bool
) -> None:
    if not switched_off:
        without_network(monkeypatch)
    config = ModelConfig(name="some/model", revision=revision)
    reference = describe(config)
    assert (reference.name, reference.revision, reference.weights) == ("some/model", COMMIT, COMMIT)
    assert skeleton(config).config.hidden_size == 32
    chat = load(reference, str(tmp_path / "root"), CPU)
    meant = tiny.model("llama").state_dict()
    assert all(torch.equal(weight, meant[name]) for name, weight in chat.model.state_dict().items())
    assert chat.prompt_tokens("Why?")


@pytest.mark.parametrize("switched_off", [True, False])
@pytest.mark.parametrize(("name", "revision"), [("some/model", "v1"), ("some/model", OTHER), ("other/model", None)])
def test_what_the_cache_does_not_have_is_explained(
    cache: Path, monkeypatch: pytest.MonkeyPatch, name: str, revision: str | None, switched_off: bool
) -> None:
    if not switched_off:
        without_network(monkeypatch)
    what = "the hub is switched off" if switched_off else "the hub cannot be reached"
    for use in (describe, skeleton):
        with pytest.raises(InputError, match=rf"model\.name: '{name}' is .*{what}.*give a local folder"):
            use(ModelConfig(name=name, revision=revision))


@pytest.mark.parametrize("read", [describe, skeleton])
def test_quantised_weights_are_told_before_they_are_downloaded(
    cache: Path, monkeypatch: pytest.MonkeyPatch, read: Callable[[ModelConfig], object]
) -> None:
    file = cache / "snapshots" / COMMIT / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"quantization_config": {"quant_method": "gptq"}}))
    monkeypatch.setattr(hub, "snapshot", None)
    with pytest.raises(InputError, match=r"^model\.name: 'some/model': config\.json: .*quantised \(gptq\).*int4"):
        read(ModelConfig(name="some/model"))


def test_a_branch_is_found_by_its_name(cache: Path) -> None:
    (cache / "refs" / "v1").write_text(COMMIT)
    assert describe(ModelConfig(name="some/model", revision="v1")).revision == COMMIT


def test_a_download_that_broke_off_is_explained(cache: Path) -> None:
    (cache / "snapshots" / COMMIT / "model.safetensors").rename(cache / "away")
    with pytest.raises(InputError, match=r"'some/model'.*safetensors"):
        describe(ModelConfig(name="some/model"))


def test_only_what_is_read_is_downloaded_with_a_bar(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    asked: list[Any] = []

    def download(name: str, **settings: Any) -> str:
        asked.append((name, settings))
        return str(cache / "snapshots" / COMMIT)

    answer_of_hub(monkeypatch, COMMIT)
    monkeypatch.setattr(hub, "snapshot_download", download)
    assert describe(ModelConfig(name="some/model")).revision == COMMIT
    (_, first), (name, settings) = asked
    assert first["allow_patterns"] == ["config.json"]  # which says whether the weights can be read at all
    assert (name, settings["revision"]) == ("some/model", COMMIT)
    patterns = {key: settings[key] for key in ("allow_patterns", "ignore_patterns")}
    kept = [
        file
        for file in (
            "model.safetensors", "model-00001-of-00002.safetensors", "model.safetensors.index.json", "config.json",
            "tokenizer.model", "merges.txt", "chat_template.jinja", "additional_chat_templates/rag.jinja",
            "pytorch_model.bin", "model.gguf", "README.md", "original/params.json", "onnx/model.safetensors",
            "consolidated.safetensors", "original/consolidated.00.pth",
        )
        if list(filter_repo_objects([file], **patterns))
    ]  # fmt: skip
    assert kept == [
        "model.safetensors", "model-00001-of-00002.safetensors", "model.safetensors.index.json", "config.json",
        "tokenizer.model", "merges.txt", "chat_template.jinja", "additional_chat_templates/rag.jinja",
    ]  # fmt: skip
    shown = io.StringIO()
    monkeypatch.setattr(shown, "isatty", lambda: True)
    with settings["tqdm_class"](total=3, file=shown, disable=True, name="huggingface_hub.snapshot_download") as bar:
        bar.update(2)
    assert "2/3" in shown.getvalue()


def test_a_model_of_gguf_files_only_names_the_way(cache: Path) -> None:
    folder = cache / "snapshots" / COMMIT
    (folder / "model.safetensors").rename(folder / "model-Q4_K_M.gguf")
    with pytest.raises(InputError, match=r"'some/model' has no \*\.safetensors.*hf download some/model FILE\.gguf"):
        describe(ModelConfig(name="some/model"))


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
    message = r"model\.name: 'some/model' is not a local folder, and the hub cannot be reached \(no route\)"
    with pytest.raises(InputError, match=message):
        describe(ModelConfig(name="some/model"))
