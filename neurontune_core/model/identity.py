"""The identity of a model folder: a digest of all files from which weights or tokenizer are read."""

from collections.abc import Iterator
from pathlib import Path

from neurontune_core import artifacts

SUFFIXES = (".safetensors", ".json", ".jinja", ".model", ".tiktoken", ".codes", ".vocab", ".bpe")
"""Of weights, configurations, chat templates and tokenizers."""
TEXT_FILES = ("vocab.txt", "merges.txt", "dict.txt", "added_tokens.txt")
"""The text files that tokenizers of transformers read; other text is for people."""
TEMPLATES = "additional_chat_templates"


def model_files(folder: Path) -> Iterator[Path]:
    """Yield the files of a folder that a model is read from, in order of their names."""
    for file in sorted(folder.iterdir()):
        if file.is_file() and (file.suffix.lower() in SUFFIXES or file.name in TEXT_FILES):
            yield file
    if (folder / TEMPLATES).is_dir():
        yield from sorted((folder / TEMPLATES).glob("*.jinja"))


def folder_digest(folder: Path) -> str:
    """Return one SHA-256 over names and contents of all files that a model is read from."""
    lines = (f"{file.relative_to(folder).as_posix()}\0{artifacts.file_digest(file)}\n" for file in model_files(folder))
    return artifacts.text_digest("".join(lines))
