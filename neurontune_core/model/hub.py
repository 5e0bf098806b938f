"""A model of the hub: its commit, its configuration and its files, from this machine's cache where the hub is away."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

from huggingface_hub import HfApi, constants, hf_hub_download, snapshot_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HFValidationError,
    HTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.file_download import repo_folder_name
from tqdm.auto import tqdm

from neurontune_core.errors import InputError
from neurontune_core.model.identity import is_read

TIMEOUT_SECONDS = 20.0
_ACCESS = "give a local folder, or log in with an accepted token in HF_TOKEN"
_WEIGHTS, _INDEX = "model.safetensors", "model.safetensors.index.json"


def find_commit(name: str, revision: str | None) -> str:
    """Return the commit of a model: as the hub says, or where it is away or switched off, as the cache does.

    A full commit that the cache has is taken at its word.

    Raises:
        InputError: no such model or revision, no access, nothing to load it from; the message names the remedy.
    """
    if revision is not None and _is_commit(revision) and _snapshot(name, revision).is_dir():
        return revision
    if constants.HF_HUB_OFFLINE:
        return _cached_commit(name, revision, "is not a local folder and the hub is switched off")
    try:
        info = HfApi().model_info(name, revision=revision, timeout=TIMEOUT_SECONDS)
    except GatedRepoError as error:
        raise InputError(f"model.name: {name!r} is gated; accept its terms on the hub and {_ACCESS}") from error
    except RevisionNotFoundError as error:
        raise InputError(
            f"model.revision: {name!r} has no revision {revision!r}; give a commit, branch or tag of it"
        ) from error
    except (RepositoryNotFoundError, HFValidationError, LocalEntryNotFoundError) as error:
        raise InputError(f"model.name: {name!r} is neither a folder nor a model on the hub; {_ACCESS}") from error
    except (HTTPError, OSError) as error:
        reason = str(error).partition("\n")[0]
        return _cached_commit(name, revision, f"is no local folder, and the hub cannot be reached ({reason})")
    if info.sha is None:
        raise InputError(f"model.revision: the hub names no commit for {name!r}; set model.revision")
    if files := [file.rfilename for file in getattr(info, "siblings", None) or []]:
        _require_safetensors(name, files)
    return str(info.sha)


def configuration_folder(name: str, commit: str) -> Path:
    """Return a folder with the configuration of a model, downloaded alone unless it is in the cache.

    Raises:
        InputError: it can be had from neither.
    """
    folder = _snapshot(name, commit)
    if not (folder / constants.CONFIG_NAME).is_file():
        try:
            hf_hub_download(name, constants.CONFIG_NAME, revision=commit, etag_timeout=TIMEOUT_SECONDS)
        except (EntryNotFoundError, HTTPError, OSError) as error:
            raise _not_had(name, commit, f"config.json: {error}") from error
    return folder


def snapshot(name: str, commit: str) -> Path:
    """Return the folder with all that is read of a model, downloaded unless it is in the cache.

    Only safetensors, settings and tokenizer files are downloaded, with a progress bar if this is a terminal.

    Raises:
        InputError: a file can be had from neither hub nor cache.
    """
    folder = _snapshot(name, commit)
    if constants.HF_HUB_OFFLINE:
        return _cached_snapshot(name, commit, "the hub is switched off")
    try:
        files = HfApi().model_info(name, revision=commit, timeout=TIMEOUT_SECONDS).siblings or []
        wanted = [file.rfilename for file in files if _is_wanted(file.rfilename)]
        if not all((folder / file).is_file() for file in wanted):
            snapshot_download(name, revision=commit, allow_patterns=wanted, tqdm_class=_Bar)
    except (HTTPError, OSError) as error:
        return _cached_snapshot(name, commit, str(error).partition("\n")[0])
    return folder


class _Bar(tqdm):
    """A progress bar that only a terminal shows, whatever is set for the hub's own bars: weights take minutes."""

    def __init__(self, *arguments: object, **settings: object) -> None:
        settings.pop("name", None)  # of a group of the hub's own bars
        super().__init__(*arguments, **(settings | {"disable": None}))


def _is_wanted(file: str) -> bool:
    # some repositories hold their weights a second time, in the maker's own layout
    return is_read(file) and not file.startswith("consolidated")


def _is_commit(revision: str) -> bool:
    return re.fullmatch(r"[0-9a-f]{40}", revision) is not None


def _cache(name: str) -> Path:
    return Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=name, repo_type="model")


def _snapshot(name: str, commit: str) -> Path:
    return _cache(name) / "snapshots" / commit


def _cached_commit(name: str, revision: str | None, problem: str) -> str:
    """Return the commit that the cache keeps for a revision."""
    wanted = revision or constants.DEFAULT_REVISION
    note = _cache(name) / "refs" / wanted
    commit = note.read_text().strip() if note.is_file() else wanted
    if _snapshot(name, commit).is_dir():
        _require_safetensors(name, [file.name for file in _snapshot(name, commit).iterdir()], _snapshot(name, commit))
        return commit
    kept = sorted(each.name for each in _cache(name).glob("snapshots/*"))
    others = f" (which has {', '.join(kept)}: set model.revision to that)" if kept else ""
    where = "" if revision is None else f" at revision {revision}"
    raise InputError(
        f"model.name: {name!r} {problem}, and its cache {constants.HF_HUB_CACHE} has no such model{where}{others}; "
        f"run `hf download {name}` where the hub can be reached, or give a local folder"
    )


def _cached_snapshot(name: str, commit: str, problem: str) -> Path:
    folder = _snapshot(name, commit)
    if missing := _missing(folder):
        raise _not_had(name, commit, f"{problem}; the cache lacks {', '.join(missing)}")
    return folder


def _missing(folder: Path) -> list[str]:
    """Return what a model cannot be loaded without and is not in its folder."""
    wanted = [constants.CONFIG_NAME, _WEIGHTS]
    if not (folder / _WEIGHTS).is_file() and (folder / _INDEX).is_file():
        shards = json.loads((folder / _INDEX).read_text(encoding="utf-8")).get("weight_map", {})
        wanted = [constants.CONFIG_NAME, *sorted(set(shards.values()))]
    missing = [file for file in wanted if not (folder / file).is_file()]
    tokenizers = ("tokenizer", "vocab", "spiece", "sentencepiece", "tekken")
    if not any(file.name.startswith(tokenizers) or file.suffix == ".tiktoken" for file in folder.glob("*")):
        missing.append("its tokenizer")
    return missing


def _require_safetensors(name: str, files: Sequence[str], folder: Path | None = None) -> None:
    """Refuse a model that the hub holds in other formats only."""
    if any(file.endswith(".safetensors") for file in files):
        return
    if gguf := sorted(file for file in files if file.lower().endswith(".gguf")):
        remedy = (
            f"give {folder / gguf[0]}"
            if folder
            else f"run `hf download {name} {gguf[0]} --local-dir .` and give ./{gguf[0]}"
        )
        raise InputError(f"model.name: {name!r} holds GGUF files only; {remedy}")
    if folder is None:
        raise InputError(
            f"model.name: {name!r} has no safetensors; choose a revision or a copy of it that has, or save one with "
            f"save_pretrained"
        )


def _not_had(name: str, commit: str, problem: str) -> InputError:
    return InputError(
        f"model.name: {name!r} at commit {commit} cannot be loaded: {problem}; "
        f"run `hf download {name} --revision {commit}` where the hub can be reached, or give a local folder"
    )
