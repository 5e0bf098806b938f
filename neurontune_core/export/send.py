"""An exported folder sent on: to a model hub, or through llama.cpp's converter to a GGUF file."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from huggingface_hub import HfApi, get_token
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, HTTPError
from huggingface_hub.utils import validate_repo_id

from neurontune_core.errors import InputError, NeuronTuneError

CONVERTER = "convert_hf_to_gguf.py"


class SendError(NeuronTuneError):
    """The folder is written, but the hub or the converter did not accept it; the message says why."""


def check_repository(repository: str) -> None:
    """Check that a folder can be pushed to a repository of the hub, before the folder is written.

    Raises:
        InputError: the name is not valid, there is no token, or the hub rejects the token or cannot be reached.
    """
    try:
        validate_repo_id(repository)
    except HFValidationError as error:
        raise InputError(f"--push: {repository!r} is not the name of a repository; give OWNER/NAME") from error
    if repository.count("/") != 1:
        raise InputError(f"--push: {repository!r} is not the name of a repository; give OWNER/NAME")
    if not get_token():
        raise InputError("--push: there is no token; run `hf auth login`, or set HF_TOKEN to a token that may write")
    try:
        HfApi().whoami()
    except (HfHubHTTPError, HTTPError, OSError) as error:
        raise InputError(
            f"--push: the hub does not accept the token, or cannot be reached ({error}); check the token and the "
            f"network"
        ) from error


def push(folder: Path, repository: str) -> str:
    """Upload a folder to a repository, made private if it is new, and return the address of the commit.

    Raises:
        SendError: the hub refused.
    """
    api = HfApi()
    try:
        api.create_repo(repository, private=True, exist_ok=True)
        return str(api.upload_folder(repo_id=repository, folder_path=folder, commit_message="Tuned by NeuronTune"))
    except (HfHubHTTPError, HTTPError, OSError) as error:
        raise SendError(
            f"--push: {repository} was not written: {error}; the exported folder {folder} is kept"
        ) from error


def find_converter(file: Path) -> Path:
    """Return llama.cpp's converter, from the folder LLAMA_CPP or the PATH; check that the file can be written.

    Raises:
        InputError: it is not installed, or the file exists, does not end in .gguf, or its folder does not exist.
    """
    if file.suffix != ".gguf" or file.exists() or not file.absolute().parent.is_dir():
        raise InputError(f"--gguf: {file} must be a new file that ends in .gguf, in an existing folder")
    beside = Path(os.environ.get("LLAMA_CPP", "")) / CONVERTER if "LLAMA_CPP" in os.environ else None
    found = beside if beside is not None and beside.is_file() else shutil.which(CONVERTER)
    if found is None:
        raise InputError(
            f"--gguf: {CONVERTER} is not on the PATH; set LLAMA_CPP to a checkout of llama.cpp, which contains it"
        )
    return Path(found)


def convert_to_gguf(folder: Path, file: Path, converter: Path) -> None:
    """Write an exported folder as a GGUF file in its own number format.

    Raises:
        SendError: the converter failed.
    """
    command = [sys.executable, str(converter), str(folder), "--outfile", str(file), "--outtype", "auto"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode or not file.is_file():
        said = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["it said nothing"]
        raise SendError(f"--gguf: {converter.name} failed: {said[0]}; the exported folder {folder} is kept")
