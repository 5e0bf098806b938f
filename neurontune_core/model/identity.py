"""Which files of a model's folder are read: they are its identity, and what is downloaded of it."""

from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from neurontune_core import artifacts
from neurontune_core.errors import InputError

SUFFIXES = (".safetensors", ".json", ".jinja", ".model", ".txt", ".tiktoken", ".spm", ".bpe", ".codes", ".v3")
"""Endings of what `from_pretrained` reads: weights, settings, templates, vocabularies and merges."""
TEMPLATES = "additional_chat_templates"


def is_read(name: str) -> bool:
    """Return whether a model's file, by its path in the folder, is one that the model or its tokenizer reads."""
    path = PurePosixPath(name)
    place = path.parent.as_posix()
    return place in (".", TEMPLATES) and not path.name.startswith(".") and path.suffix in SUFFIXES


def folder_digest(folder: Path) -> str:
    """Return one SHA-256 of all files that a model's folder is read from, whatever the folder is called.

    Raises:
        InputError: there are no safetensors, or a file cannot be read.
    """
    names = in_order(file.relative_to(folder).as_posix() for file in _files(folder))
    if not any(name.endswith(".safetensors") for name in names):
        raise InputError(f"model.name: no *.safetensors file in {folder}; {_remedy(folder)}")
    try:
        lines = "".join(f"{name}\0{artifacts.file_digest(folder / name)}\n" for name in names)
    except OSError as error:
        raise InputError(
            f"model.name: {error.filename} is not readable ({error.strerror}); give a folder that is"
        ) from error
    return artifacts.text_digest(lines)


def in_order(names: Iterable[str]) -> list[str]:
    """Return the names of files that are read, sorted by ending as in `SUFFIXES`, then by name."""
    return sorted(filter(is_read, names), key=lambda name: (SUFFIXES.index(PurePosixPath(name).suffix), name))


def _files(folder: Path) -> list[Path]:
    return [file for place in (folder, folder / TEMPLATES) for file in place.glob("*") if file.is_file()]


def _remedy(folder: Path) -> str:
    files = sorted(file.name for file in folder.glob("*") if file.suffix.lower() == ".gguf")
    if files:
        return f"give the GGUF file itself ({folder / files[0]})"
    return "save the model there with save_pretrained first"
