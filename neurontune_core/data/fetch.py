"""Get the file of a public dataset: a local copy, the hub's cache, or a download of a pinned commit."""

import os
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import HfApi, constants, get_token, hf_hub_download, try_to_load_from_cache
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from neurontune_core import artifacts
from neurontune_core.data.rows import FORMATS, check_is_itself
from neurontune_core.data.settings import SourceConfig
from neurontune_core.data.specification import Dataset, TextFile
from neurontune_core.errors import InputError

TIMEOUT_SECONDS = 10.0


@dataclass(frozen=True)
class FetchedFile:
    """A dataset's file, and where it came from in words that mean the same on every machine (commit or digest)."""

    path: Path
    origin: str


def fetch(dataset: Dataset, role_file: TextFile, source: SourceConfig, section: str = "pairs") -> FetchedFile:
    """Return the file of a dataset, downloaded from the hub unless there is a local copy or it was downloaded before.

    A local path is the file itself, or a folder with a file of the name it has on the hub or in the description.
    Without a pinned commit the hub is asked for the newest one; one short request finds out whether it can be reached,
    before the hub's own client, which retries for long. `section` is the configuration section that errors name.

    Raises:
        InputError: no such file; or no network, no access, or no such commit. The message names the remedy.
    """
    if source.path is not None:
        file = local_file(dataset, role_file, source.path, section)
        return FetchedFile(file, f"local copy, SHA-256 {artifacts.file_digest(file)[:16]}")
    if dataset.path is not None:
        file = _own_file(dataset, role_file, dataset.path, section)
        return FetchedFile(file, f"own file, SHA-256 {artifacts.file_digest(file)[:16]}")
    if not role_file.file:
        raise InputError(f'{section}: {dataset.name} names no file of {dataset.hub}; give it with file = "FILE"')
    commit = source.revision or dataset.revision
    if commit is not None:
        cached = try_to_load_from_cache(dataset.hub, role_file.file, revision=commit, repo_type="dataset")
        if isinstance(cached, str):
            return FetchedFile(Path(cached), f"{dataset.hub}@{commit}")
    copy = f"download {role_file.file} elsewhere and give it with --set {section}.sources.{dataset.name}.path=FILE"
    if constants.HF_HUB_OFFLINE:
        raise InputError(
            f"{section}: {dataset.name} at commit {commit or '(not pinned)'} is not in this machine's hub cache and "
            f"the hub is switched off (HF_HUB_OFFLINE); unset HF_HUB_OFFLINE, or {copy}"
        )
    if dataset.gated and get_token() is None:
        raise InputError(f"{section}: {dataset.name} is gated and there is no token; {_access(dataset)}, or {copy}")
    return _download(dataset, role_file, commit, copy, section)


def _download(dataset: Dataset, role_file: TextFile, commit: str | None, copy: str, section: str) -> FetchedFile:
    try:
        api = HfApi()
        found = api.dataset_info(dataset.hub, revision=commit, timeout=TIMEOUT_SECONDS).sha or commit
        api.auth_check(dataset.hub, repo_type="dataset")
        path = hf_hub_download(
            dataset.hub, role_file.file, repo_type="dataset", revision=found, etag_timeout=TIMEOUT_SECONDS
        )
    except GatedRepoError as error:
        raise InputError(
            f"{section}: {dataset.name} is gated and the token has no access to it; {_access(dataset)}, or {copy}"
        ) from error
    except LocalEntryNotFoundError as error:  # raised by the client if a connection is interrupted
        raise InputError(f"{section}: the download of {dataset.name} was interrupted; try again, or {copy}") from error
    except (RepositoryNotFoundError, RevisionNotFoundError, EntryNotFoundError) as error:
        raise InputError(
            f"{section}: the hub has no {role_file.file} in {dataset.hub} at commit {commit or 'main'}; "
            f"set {section}.sources.{dataset.name}.revision, or {copy}"
        ) from error
    except (HfHubHTTPError, HTTPError, OSError) as error:
        raise InputError(
            f"{section}: {dataset.name} needs the hub, which cannot be reached ({error}); {copy}"
        ) from error
    return FetchedFile(Path(path), f"{dataset.hub}@{found}")


def _access(dataset: Dataset) -> str:
    return (
        f"accept its terms at https://huggingface.co/datasets/{dataset.hub} and set HF_TOKEN to a token of that "
        "account (or run `hf auth login`)"
    )


def _own_file(dataset: Dataset, role_file: TextFile, path: str, section: str) -> Path:
    file = Path(path).expanduser()
    if os.path.isdir(file) and role_file.file:
        file = file / role_file.file
    if not os.path.isfile(file):  # unlike the path's own method, also for a name too long for any file
        kind = "a folder, not a file" if os.path.isdir(file) else "no such file"
        raise InputError(f"{section}: {file} is {kind}; give the path of a file with the rows of {dataset.name!r}")
    check_is_itself(file)
    return file


def local_file(dataset: Dataset, role_file: TextFile, path: str, section: str = "pairs") -> Path:
    """Return the local copy of a dataset's file that a path names: a file, or a folder.

    In a folder it is the file of the name it has on the hub, or the only data file there.

    Raises:
        InputError: there is none.
    """
    file = Path(path).expanduser()
    if os.path.isdir(file):
        data = [each for each in file.iterdir() if each.suffix.lower() in FORMATS]
        named = file / Path(role_file.file).name
        file = data[0] if len(data) == 1 and not named.exists() else named
    if not os.path.isfile(file):
        raise InputError(
            f"{section}.sources.{dataset.name}.path: no file {file}; give an existing file, or a folder with "
            f"{Path(role_file.file).name} or with one data file only"
        )
    check_is_itself(file)
    return file
