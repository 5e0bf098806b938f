"""Models on the Hugging Face hub: which commit is meant, and a folder with its files."""

from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, constants, hf_hub_download, snapshot_download, try_to_load_from_cache
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    HTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from tqdm.auto import tqdm

from neurontune_core.errors import InputError
from neurontune_core.model.identity import SUFFIXES, TEMPLATES, TEXT_FILES
from neurontune_core.model.settings import ModelConfig

FILES = [*(f"*{suffix}" for suffix in SUFFIXES), *TEXT_FILES, f"{TEMPLATES}/*.jinja"]
"""The downloaded files: those from which a model is read; the weights only as safetensors."""
NOT_IN_SUBFOLDERS = ["*/*.safetensors", "*/*.json", "*/*.model", "consolidated*.safetensors"]
"""Other copies of the weights, which transformers does not read."""
REMEDY = "give a local folder, or log in with an accepted token in HF_TOKEN"


def commit_of(config: ModelConfig) -> str:
    """Return the commit of a hub model, from the hub or, if it cannot be reached, from the hub's cache.

    Raises:
        InputError: the model or its revision is unknown, or the account has no access to it.
    """
    cached = cached_commit(config)
    if cached is not None and (constants.HF_HUB_OFFLINE or cached == config.revision):
        return cached
    if constants.HF_HUB_OFFLINE:
        raise InputError(
            f"model.name: {config.name!r} is not a local folder and the hub is switched off (HF_HUB_OFFLINE), and "
            f"revision {config.revision or 'main'} of it was never downloaded; {REMEDY}"
        )
    try:
        commit = HfApi().model_info(config.name, revision=config.revision, timeout=20).sha
    except GatedRepoError as error:
        raise InputError(f"model.name: {config.name!r} is gated; accept its terms on the hub and {REMEDY}") from error
    except RevisionNotFoundError as error:
        raise InputError(
            f"model.revision: {config.name!r} has no revision {config.revision!r}; give a commit of it"
        ) from error
    except (RepositoryNotFoundError, HFValidationError, LocalEntryNotFoundError) as error:
        raise InputError(f"model.name: {config.name!r} is neither a folder nor a model on the hub; {REMEDY}") from error
    except (HTTPError, OSError) as error:
        if cached is not None:
            return cached
        raise InputError(
            f"model.name: {config.name!r} is not a local folder, and the hub cannot be reached ({error}); give a local "
            f"folder, or try again later"
        ) from error
    if commit is None:
        raise InputError(f"model.revision: the hub names no commit for {config.name!r}; set model.revision")
    return commit


def cached_commit(config: ModelConfig) -> str | None:
    """Return the commit that the hub's cache has of a model: that of its revision, which may be a branch or a tag."""
    try:
        file = try_to_load_from_cache(config.name, "config.json", revision=config.revision or "main")
    except HFValidationError:
        return None
    return Path(file).parent.name if isinstance(file, str) else None


def configuration_folder(name: str, commit: str) -> Path:
    """Return a folder with only the model's config.json, downloaded if it is missing.

    Raises:
        InputError: the download failed.
    """
    return _download(name, commit, ["config.json"], [])


def snapshot(name: str, commit: str) -> Path:
    """Return the folder with the model's files at a commit, downloaded if they are missing.

    An interrupted download continues where it stopped. A terminal shows a progress bar.

    Raises:
        InputError: the download failed, or the model has no safetensors there.
    """
    folder = _download(name, commit, FILES, NOT_IN_SUBFOLDERS)
    if not any(folder.glob("*.safetensors")):
        raise InputError(
            f"model.name: {name!r} has no *.safetensors at commit {commit}; choose a repository with safetensors; if "
            f"this one has GGUF files, run `hf download {name} FILE.gguf --local-dir .` and give the path of the file"
        )
    return folder


def model_card(name: str, commit: str) -> str:
    """Return the text of a model's card on the hub; "" if there is none, or if the hub cannot be reached."""
    try:
        return Path(hf_hub_download(name, "README.md", revision=commit)).read_text(encoding="utf-8", errors="replace")
    except (HfHubHTTPError, HTTPError, OSError, HFValidationError):
        return ""


class _Bar(tqdm):
    """A progress bar in a terminal, even if the hub's own bars are switched off, because weights take minutes."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        settings.pop("name", None)  # by which the hub's own bars are switched off
        super().__init__(*arguments, **(settings | {"disable": None}))


def _download(name: str, commit: str, files: list[str], left_out: list[str]) -> Path:
    wanted: dict[str, Any] = {"revision": commit, "allow_patterns": files, "ignore_patterns": left_out}
    try:
        try:
            return Path(snapshot_download(name, tqdm_class=_Bar, **wanted))
        except (RepositoryNotFoundError, RevisionNotFoundError):
            raise
        except (HTTPError, OSError):  # for example a proxy that does not answer: use the cache
            if cached_commit(ModelConfig(name=name, revision=commit)) is None:
                raise
            return Path(snapshot_download(name, local_files_only=True, **wanted))
    except LocalEntryNotFoundError as error:
        raise InputError(
            f"model.name: {name!r} at commit {commit} is not downloaded, and the hub is switched off or cannot be "
            f"reached; unset HF_HUB_OFFLINE, and try again when the hub can be reached"
        ) from error
    except GatedRepoError as error:
        raise InputError(f"model.name: {name!r} is gated; accept its terms on the hub and {REMEDY}") from error
    except (HfHubHTTPError, HTTPError, OSError) as error:
        raise InputError(f"model.name: the download of {name!r} failed ({error}); try again") from error
