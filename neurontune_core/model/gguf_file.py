"""One GGUF file: its header read without a weight, and written again.

`gguf.GGUFReader` makes objects of every word of the vocabulary, which takes 15 seconds for one of 150,000 words; here
the words are skipped.
"""

import mmap
import os
import struct
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

from neurontune_core.errors import InputError

VOCABULARY = tuple(f"tokenizer.ggml.{name}" for name in ("tokens", "merges", "scores", "token_type"))
_MAGIC, _VERSIONS, _POINTER = b"GGUF", (2, 3), b"version https://git-lfs"
_STRING, _ARRAY, _UINT32 = 8, 9, 4
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}


@dataclass(frozen=True)
class StoredTensor:
    """A tensor in a file: dimensions in GGUF's order (fastest first), and its bytes `[start, start + size)`."""

    name: str
    dimensions: tuple[int, ...]
    kind: GGMLQuantizationType
    file: Path
    start: int
    size: int


@dataclass(frozen=True)
class GgufFile:
    """What the header of a GGUF file says.

    Attributes:
        metadata: values by key; of an array of strings only their number.
        entries: the bytes of each metadata entry as they stand in the file, by key.
        tensors: where they are.
        alignment: tensor data starts at multiples of this many bytes.
    """

    metadata: dict[str, Any]
    entries: dict[str, bytes]
    tensors: tuple[StoredTensor, ...]
    alignment: int

    @property
    def architecture(self) -> str:
        """The architecture in llama.cpp's words (`llama`, `qwen2`)."""
        return str(self.metadata["general.architecture"])


def read_file(path: Path, length: int | None = None) -> GgufFile:
    """Read the header of one file; `length` is that of the whole file where `path` holds only its beginning.

    Raises:
        InputError: it is no GGUF, is cut off, or stores a tensor in an unknown format.
    """
    if os.path.exists(path) and not os.path.isfile(path):  # a pipe would be waited for
        raise InputError(f"model.name: {path} is not a file; give a .gguf file")
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return _parsed(path, content, length or len(content))
    except (struct.error, UnicodeDecodeError, EOFError, IndexError, OverflowError) as error:
        raise InputError(f"model.name: {path} is cut off or damaged within its header; download it again") from error
    except ValueError as error:  # an empty file cannot be mapped
        raise InputError(f"model.name: {path} is not a GGUF file: {error}; give a .gguf file") from error
    except FileNotFoundError as error:
        raise InputError(f"model.name: there is no file {path}; check the path, or download it again") from error
    except OSError as error:
        raise InputError(f"model.name: {path} cannot be read ({error.strerror}); change its permissions") from error


def write_file(content: GgufFile, target: Path, weights: bool, vocabulary: bool) -> None:
    """Write one GGUF file of a model's metadata and all its tensors.

    Args:
        content: what to write.
        target: the file to write.
        weights: copy the tensors; else they appear by name only, each as the number 0.
        vocabulary: copy the vocabulary; else only its size, as `ARCHITECTURE.vocab_size`.
    """
    entries = [
        entry
        for key, entry in content.entries.items()
        if not key.startswith("split.") and (vocabulary or key not in VOCABULARY)
    ]
    size = f"{content.architecture}.vocab_size"
    if not vocabulary and size not in content.entries:
        entries.append(_text(size) + struct.pack("<II", _UINT32, content.metadata["tokenizer.ggml.tokens"]))
    table, offset = b"", 0
    for tensor in content.tensors:
        dimensions, kind = (tensor.dimensions, tensor.kind) if weights else ((1,), GGMLQuantizationType.F32)
        table += _text(tensor.name) + struct.pack(f"<I{len(dimensions)}Q", len(dimensions), *dimensions)
        table += struct.pack("<IQ", kind, offset)
        offset += _aligned(tensor.size, content.alignment) if weights else 0
    with target.open("wb") as out:
        out.write(_MAGIC + struct.pack("<IQQ", _VERSIONS[-1], len(content.tensors), len(entries)))
        out.write(b"".join(entries) + table)
        _pad(out, content.alignment)
        if not weights:
            out.write(bytes(4))
        for tensor in content.tensors if weights else ():
            with tensor.file.open("rb") as file:
                file.seek(tensor.start)
                left = tensor.size
                while left and (block := file.read(min(left, 1 << 24))):
                    left -= out.write(block)
            _pad(out, content.alignment)


def _parsed(path: Path, content: mmap.mmap, length: int) -> GgufFile:
    if content[: len(_POINTER)] == _POINTER:
        raise InputError(f"model.name: {path} is a Git LFS pointer, not the file itself; run `git lfs pull` there")
    if content[:4] != _MAGIC:
        raise ValueError(f"it starts with {content[:4]!r}, not with {_MAGIC!r}")
    version, tensor_count, entry_count = struct.unpack_from("<IQQ", content, 4)
    if version not in _VERSIONS:
        raise ValueError(f"it has version {version}, not 2 or 3 in little-endian order")
    position = 24
    metadata: dict[str, Any] = {}
    entries: dict[str, bytes] = {}
    for _ in range(entry_count):
        start = position
        key, position = _read_text(content, position)
        (kind,) = struct.unpack_from("<I", content, position)
        metadata[key], position = _read_value(content, position + 4, kind)
        entries[key] = content[start:position]
    alignment = int(metadata.get("general.alignment", 32)) or 32
    table, position = _read_table(path, content, position, tensor_count)
    data = _aligned(position, alignment)
    tensors = tuple(
        StoredTensor(name, dimensions, kind, path, data + offset, size)
        for name, dimensions, kind, offset, size in table
    )
    end = max((tensor.start + tensor.size for tensor in tensors), default=0)
    if end > length:
        raise InputError(
            f"model.name: {path} is cut off: by its header it has {end} bytes, in fact {length}; download it again"
        )
    return GgufFile(metadata, entries, tensors, alignment)


def _read_table(
    path: Path, content: mmap.mmap, position: int, count: int
) -> tuple[list[tuple[str, tuple[int, ...], GGMLQuantizationType, int, int]], int]:
    """Return name, dimensions, kind, offset and size in bytes of each tensor, and where the table ends."""
    table = []
    for _ in range(count):
        name, position = _read_text(content, position)
        (rank,) = struct.unpack_from("<I", content, position)
        if rank > 8:
            raise EOFError
        dimensions = struct.unpack_from(f"<{rank}Q", content, position + 4)
        number, offset = struct.unpack_from("<IQ", content, position + 4 + 8 * rank)
        position += 16 + 8 * rank
        try:
            kind = GGMLQuantizationType(number)
        except ValueError as error:
            raise InputError(
                f"model.name: {path} stores {name} in format {number}, which the gguf package does not know; update "
                f"this package, or use a file in another format"
            ) from error
        block, size = GGML_QUANT_SIZES[kind]
        table.append((name, dimensions, kind, offset, prod(dimensions) // block * size))
    return table, position


def _read_value(content: mmap.mmap, position: int, kind: int) -> tuple[Any, int]:
    """Return a metadata value, of an array of strings their number, and where it ends."""
    if kind == _STRING:
        return _read_text(content, position)
    if kind == _ARRAY:
        element, count = struct.unpack_from("<IQ", content, position)
        position += 12
        if element == _STRING:
            for _ in range(count):
                position += 8 + struct.unpack_from("<Q", content, position)[0]
            return count, position
        if element in _SCALARS and count <= len(content):
            form = f"<{count}{_SCALARS[element]}"
            return list(struct.unpack_from(form, content, position)), position + struct.calcsize(form)
        raise EOFError
    if kind not in _SCALARS:
        raise EOFError
    form = f"<{_SCALARS[kind]}"
    return struct.unpack_from(form, content, position)[0], position + struct.calcsize(form)


def _read_text(content: mmap.mmap, position: int) -> tuple[str, int]:
    (length,) = struct.unpack_from("<Q", content, position)
    start, end = position + 8, position + 8 + length
    if end > len(content):
        raise EOFError
    return content[start:end].decode(), end


def _text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def _aligned(position: int, alignment: int) -> int:
    return -(-position // alignment) * alignment


def _pad(out: BinaryIO, alignment: int) -> None:
    out.write(bytes(-out.tell() % alignment))
