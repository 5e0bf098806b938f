"""A GGUF model in one file or several: its header, and the number formats of its weights."""

import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path

from neurontune_core import artifacts
from neurontune_core.errors import InputError
from neurontune_core.model.gguf_file import GgufFile, read_file

_PLAIN = ("F32", "F16", "BF16", "F64")
_PART = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf", re.IGNORECASE)


@dataclass(frozen=True)
class Header(GgufFile):
    """The header of a GGUF model, of all its files together; metadata are those of the first.

    Attributes:
        files: the file, or the parts of a split one in order.
    """

    files: tuple[Path, ...]

    @property
    def dtype(self) -> str:
        """The number format its weights have in safetensors: bfloat16 or float16 kept as such, float32 otherwise.

        A file of half-precision weights keeps its norms in float32. Quantised weights are dequantised to float32, in
        which the values of every block format are exact or nearly so.
        """
        kinds = {tensor.kind.name for tensor in self.tensors} - {"F32"}
        return {frozenset({"BF16"}): "bfloat16", frozenset({"F16"}): "float16"}.get(frozenset(kinds), "float32")

    @property
    def dequantised(self) -> str:
        """The quantised formats, those of most weights first (`Q4_K and Q6_K`); "" if nothing is quantised."""
        sizes = Counter[str]()
        for tensor in self.tensors:
            sizes[tensor.kind.name] += prod(tensor.dimensions)
        names = [name for name, _ in sizes.most_common() if name not in _PLAIN]
        return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))

    def digest(self) -> str:
        """Return the SHA-256 of the file, or of the digests of all parts, wherever they are."""
        digests = [artifacts.file_digest(file) for file in self.files]
        return digests[0] if len(digests) == 1 else artifacts.text_digest("".join(f"{one}\n" for one in digests))


def is_gguf(name: str) -> bool:
    """Return whether a model's name is that of a GGUF file."""
    return name.lower().endswith(".gguf") and not os.path.isdir(name)


def read_header(path: Path, length: int | None = None) -> Header:
    """Read the header of a GGUF model from its file, or from any part of a split one.

    Args:
        path: the file.
        length: bytes of the whole file, where `path` holds only the beginning of it.

    Raises:
        InputError: a part is missing, or a file is not GGUF, is cut off, or has something else than a chat model.
    """
    files = _files(path)
    first, *others = [read_file(file, length) for file in files]
    for number, part in enumerate((first, *others)):
        place = (part.metadata.get("split.no", 0), part.metadata.get("split.count", 1))
        if place != (number, len(files)):
            raise InputError(
                f"model.name: {files[number]} says it is part {place[0] + 1} of {place[1]}; "
                f"keep all parts in one folder under their own names (NAME-00001-of-0000N.gguf)"
            )
    tensors = tuple(tensor for part in (first, *others) for tensor in part.tensors)
    header = Header(first.metadata, first.entries, tensors, first.alignment, tuple(files))
    _require_chat_model(header)
    return header


def _files(path: Path) -> list[Path]:
    """Return the file, or all parts of the split file that it is one of."""
    named = _PART.fullmatch(path.name)
    count = int(named["count"]) if named else 1
    if named is None or count == 1:
        return [path]
    end = path.suffix
    parts = [path.with_name(f"{named['stem']}-{number:05}-of-{count:05}{end}") for number in range(1, count + 1)]
    if missing := [part.name for part in parts if not part.is_file()]:
        raise InputError(
            f"model.name: {', '.join(missing)} of the split file is missing in {path.parent}; put all {count} parts "
            f"there"
        )
    return parts


def _require_chat_model(header: Header) -> None:
    for problem in _problems(header):
        raise InputError(f"model.name: {header.files[0]} {problem}")


def _problems(header: Header) -> Iterator[str]:
    """Yield the reasons why a file is not a chat model with a tokenizer."""
    kind, words = str(header.metadata.get("general.type", "model")), header.metadata.get("tokenizer.ggml.tokens")
    if "general.architecture" not in header.metadata:
        yield "has no general.architecture, so it is not a model; give the file of the model"
    elif header.architecture == "clip" or kind == "mmproj":
        yield "is the projector of a multimodal model; give the file of its language model"
    elif kind != "model":
        yield f"holds a model's {kind}, not a model; give the model's own file"
    elif not any(tensor.name == "token_embd.weight" for tensor in header.tensors):
        yield "has no token embedding (token_embd.weight), so it is not a language model; give the file of one"
    elif not isinstance(words, int) or words == 0 or header.metadata.get("tokenizer.ggml.model") == "none":
        yield "has no tokenizer (tokenizer.ggml.tokens); convert the model again with its vocabulary"
    elif len({tensor.name for tensor in header.tensors}) != header.metadata.get(
        "split.tensors.count", len(header.tensors)
    ):
        yield "has fewer or more tensors than its header says; download all its parts again"
