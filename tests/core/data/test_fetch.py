"""Where a dataset's file comes from, and what is said when it cannot be had."""

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from huggingface_hub.errors import GatedRepoError, HTTPError, LocalEntryNotFoundError, RevisionNotFoundError

from neurontune_core.data import fetch, specification
from neurontune_core.data.settings import SourceConfig
from neurontune_core.errors import InputError

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """A hub within reach that knows every file; its answers can be replaced by errors."""
    answers: dict[str, Any] = {"calls": [], "cached": None, "info": None, "auth": None, "download": None}

    def say(name: str, *arguments: Any) -> None:
        answers["calls"].append((name, *arguments))
        if isinstance(answers[name], Exception):
            raise answers[name]

    class Api:
        def dataset_info(self, repository: str, revision: str | None, timeout: float) -> SimpleNamespace:
            say("info", repository, revision, timeout)
            return SimpleNamespace(sha=revision or COMMIT)

        def auth_check(self, repository: str, repo_type: str) -> None:
            say("auth", repository, repo_type)

    def download(repository: str, file: str, repo_type: str, revision: str, etag_timeout: float) -> str:
        say("download", repository, file, repo_type, revision, etag_timeout)
        return str(tmp_path / Path(file).name)

    monkeypatch.setattr(fetch.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(fetch, "get_token", lambda: "token")
    monkeypatch.setattr(fetch, "HfApi", Api)
    monkeypatch.setattr(fetch, "hf_hub_download", download)
    monkeypatch.setattr(fetch, "try_to_load_from_cache", lambda *_, **__: answers["cached"])
    return answers


def get(name: str, **source: Any) -> fetch.FetchedFile:
    about = specification.dataset(name)
    found = about.harmful or about.benign
    assert found is not None
    return fetch.fetch(about, found, SourceConfig(**source))


def test_a_local_copy_needs_no_hub(tmp_path: Path, hub: dict[str, Any]) -> None:
    file = tmp_path / "xstest_prompts.csv"
    file.touch()
    nothing = "local copy, SHA-256 e3b0c44298fc1c14"
    assert get("xstest", path=str(file)) == fetch.FetchedFile(file, nothing)
    assert get("xstest", path=str(tmp_path)).path == file
    other = file.rename(tmp_path / "prompts.parquet")
    (tmp_path / "README.md").touch()
    assert get("xstest", path=str(tmp_path)).path == other, "the only data file there"
    assert hub["calls"] == []


def test_a_local_copy_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"pairs\.sources\.xstest\.path: no file .*gone\.csv; give an existing file"):
        get("xstest", path=str(tmp_path / "gone.csv"))
    with pytest.raises(InputError, match=r"no file .*xstest_prompts\.csv"):
        get("xstest", path=str(tmp_path))


def test_the_pinned_commit_is_downloaded_and_recorded(hub: dict[str, Any], tmp_path: Path) -> None:
    pinned = specification.dataset("xstest").revision
    assert get("xstest") == fetch.FetchedFile(tmp_path / "xstest_prompts.csv", f"Paul/XSTest@{pinned}")
    assert [call[0] for call in hub["calls"]] == ["info", "auth", "download"]
    assert hub["calls"][-1][4] == pinned


def test_a_given_commit_goes_before_the_pinned_one_and_none_means_the_newest(hub: dict[str, Any]) -> None:
    assert get("xstest", revision="a" * 40).origin == f"Paul/XSTest@{'a' * 40}"
    assert get("harmbench").origin == f"walledai/HarmBench@{COMMIT}"
    assert hub["calls"][-1][4] == COMMIT


def test_what_was_downloaded_before_needs_neither_hub_nor_token(
    hub: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    hub["cached"] = str(tmp_path / "cached.json")
    monkeypatch.setattr(fetch.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(fetch, "get_token", lambda: None)
    assert get("safeedit").path == tmp_path / "cached.json"
    assert hub["calls"] == []


def test_offline_names_the_setting_to_use(hub: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match=r"HF_HUB_OFFLINE.*--set pairs\.sources\.alpaca\.path=FILE"):
        get("alpaca")
    assert hub["calls"] == []


def test_a_gated_dataset_without_a_token_names_the_exact_remedy(
    hub: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "get_token", lambda: None)
    with pytest.raises(InputError) as caught:
        get("safeedit")
    assert str(caught.value) == (
        "pairs: safeedit is gated and there is no token; accept its terms at "
        "https://huggingface.co/datasets/zjunlp/SafeEdit and set HF_TOKEN to a token of that account (or run "
        "`hf auth login`), or download SafeEdit_train.json elsewhere and give it with --set "
        "pairs.sources.safeedit.path=FILE"
    )
    assert hub["calls"] == []


def response(status: int) -> Any:
    return httpx.Response(status, request=httpx.Request("GET", "https://hub.invalid"))


@pytest.mark.parametrize(
    ("where", "error", "message"),
    [
        ("info", HTTPError("name not known"), r"cannot be reached \(name not known\); download .*\.path=FILE"),
        ("info", TimeoutError("timed out"), r"cannot be reached \(timed out\); download .*\.path=FILE"),
        (
            "auth",
            GatedRepoError("no", response=response(403)),
            "gated and the token has no access to it; accept its terms",
        ),
        (
            "info",
            RevisionNotFoundError("no", response=response(404)),
            r"the hub has no .* set pairs\.sources\.advbench\.rev",
        ),
        (
            "download",
            LocalEntryNotFoundError("broken off"),
            "the download of advbench was interrupted; try again, or",
        ),
    ],
)
def test_what_the_hub_refuses_is_explained(hub: dict[str, Any], where: str, error: Exception, message: str) -> None:
    hub[where] = error
    with pytest.raises(InputError, match=message):
        get("advbench")


def test_without_a_network_the_answer_is_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(fetch.constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(fetch, "HfApi", lambda real=fetch.HfApi: real(endpoint="http://127.0.0.1:9"))
    started = time.monotonic()
    with pytest.raises(InputError, match="truthfulqa needs the hub, which cannot be reached"):
        get("truthfulqa", revision=COMMIT)
    assert time.monotonic() - started < 2 * fetch.TIMEOUT_SECONDS
