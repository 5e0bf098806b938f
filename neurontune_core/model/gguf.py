"""Read a model from a GGUF file: its parts, its shape, and its conversion to an ordinary model folder."""

import re
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from gguf import GGUFReader, GGUFValueType, GGUFWriter
from tqdm import tqdm
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PretrainedConfig,
    modeling_gguf_pytorch_utils,
)

from neurontune_core import artifacts
from neurontune_core.errors import InputError
from neurontune_core.model.checks.loaded import check_fit

PLAIN_TYPES = ("F32", "F16", "BF16", "F64")
_PART = re.compile(r"(?P<stem>.*)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf", re.IGNORECASE)
_TOKENS = "tokenizer.ggml.tokens"


@dataclass(frozen=True)
class Header:
    """What a GGUF model says of itself: its configuration, and how many of its numbers are stored in which type."""

    config: PretrainedConfig
    numbers: dict[str, int]

    @property
    def dequantised(self) -> str:
        """The quantised types, those of most weights first, as "Q4_K and Q6_K"; "" where nothing is quantised."""
        found = [name for name, _ in Counter(self.numbers).most_common() if name not in PLAIN_TYPES]
        return " and ".join([*([", ".join(found[:-1])] if found[1:] else []), *found[-1:]])

    @property
    def dtype(self) -> torch.dtype:
        """The format the weights are converted to: bfloat16 or float16 where they are stored so, else float32."""
        wide = {name for name in self.numbers if name != "F32"}  # norms are float32 in files of every kind
        formats = {frozenset({"BF16"}): torch.bfloat16, frozenset({"F16"}): torch.float16}
        return formats.get(frozenset(wide), torch.float32)


def is_gguf(name: str) -> bool:
    """Return whether a model's name is that of a GGUF file."""
    return name.lower().endswith(".gguf")


def parts_of(file: Path) -> list[Path]:
    """Return the files of a GGUF model: the one named, or all parts of a split one, whichever of them is named.

    Raises:
        InputError: a part is missing, is no GGUF file, or is a pointer to one.
    """
    match = _PART.fullmatch(file.name)
    count = int(match["count"]) if match else 1
    parts = [file]
    if match:
        parts = [file.with_name(f"{match['stem']}-{number:05d}-of-{count:05d}.gguf") for number in range(1, count + 1)]
    for part in parts:
        if not part.is_file():
            whole = f" ({count} parts are needed, beside one another)" if match else ""
            raise InputError(f"model.name: there is no file {part}{whole}; check the path, or download it again")
        try:
            with part.open("rb") as stream:
                start = stream.read(64)
        except OSError as error:
            raise InputError(f"model.name: {part} cannot be read ({error.strerror}); change its permissions") from error
        if start.startswith(b"version https://git-lfs"):
            raise InputError(f"model.name: {part} is a Git LFS pointer, not the file itself; run `git lfs pull` there")
        if not start.startswith(b"GGUF"):
            raise InputError(f"model.name: {part} is no GGUF file (it does not start with GGUF); download it again")
    return parts


def digest(parts: Sequence[Path]) -> str:
    """Return the SHA-256 of a file, or one over those of all parts of a split model."""
    found = [artifacts.file_digest(part) for part in parts]
    return found[0] if len(found) == 1 else artifacts.text_digest("\n".join(found))


def read_header(parts: Sequence[Path]) -> Header:
    """Return what a GGUF model says of itself; reading its list of tokens takes seconds.

    Raises:
        InputError: the file is damaged, has no tokenizer, or is of an architecture that transformers cannot read.
    """
    first = parts[0]
    readers = [_open(part) for part in parts]
    if _TOKENS not in readers[0].fields:
        raise InputError(f"model.name: {first} holds no tokenizer ({_TOKENS}); use a GGUF file of a whole chat model")
    count = readers[0].fields.get("split.tensors.count")
    tensors = [tensor for reader in readers for tensor in reader.tensors]
    if not tensors or (count is not None and count.contents() != len(tensors)):
        raise InputError(f"model.name: {first} lacks weights ({len(tensors)} are there); download it again")
    numbers: Counter[str] = Counter()
    for tensor in tensors:
        numbers[tensor.tensor_type.name] += tensor.n_elements
    try:
        config = AutoConfig.from_pretrained(first.parent, gguf_file=first.name)
    except Exception as error:  # transformers raises what it happens to meet in a file it cannot use
        raise _unreadable(first, error) from error
    return Header(config, dict(numbers))


def convert(parts: Sequence[Path], header: Header, folder: Path) -> None:
    """Write a GGUF model as an ordinary model folder: safetensors, tokenizer, chat template.

    Raises:
        InputError: the file cannot be read, or lacks a weight of its architecture.
    """
    with tempfile.TemporaryDirectory(dir=folder.parent) as place:
        file = parts[0] if len(parts) == 1 else _joined(parts, Path(place) / "joined.gguf")
        # transformers draws this bar wherever it runs; it belongs in a terminal only
        vars(modeling_gguf_pytorch_utils)["tqdm"] = partial(tqdm, disable=None)
        try:
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                file.parent, gguf_file=file.name, dtype=header.dtype, output_loading_info=True
            )
            tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
        except Exception as error:  # as above
            raise _unreadable(parts[0], error) from error
    model, info = loaded
    check_fit(info, f"model.name: {parts[0]}")
    # transformers refuses to save a model it believes is quantised, although the weights are plain now
    model.hf_quantizer = None
    model.is_quantized = False
    del model.config.quantization_config
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _open(part: Path) -> GGUFReader:
    try:
        return GGUFReader(part)
    except Exception as error:  # gguf raises what it happens to meet in a damaged file
        raise InputError(f"model.name: {part} is cut off or damaged ({_reason(error)}); download it again") from error


def _unreadable(file: Path, error: Exception) -> InputError:
    return InputError(
        f"model.name: {file} cannot be read by transformers ({_reason(error)}); use a GGUF file of a decoder that it "
        "knows, or the model's own safetensors folder"
    )


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:160] if lines else type(error).__name__


def _joined(parts: Sequence[Path], target: Path) -> Path:
    """Write the parts of a split model into one file, which is what transformers reads."""
    readers = [_open(part) for part in parts]
    writer = GGUFWriter(target, str(readers[0].fields["general.architecture"].contents()))
    for field in readers[0].fields.values():
        # the writer writes the architecture and the counts itself
        if field.name == "general.architecture" or field.name.startswith(("GGUF.", "split.")):
            continue
        element = field.types[-1] if field.types[0] == GGUFValueType.ARRAY else None
        writer.add_key_value(field.name, field.contents(), field.types[0], element)
    tensors = [tensor for reader in readers for tensor in reader.tensors]
    for tensor in tensors:
        data = tensor.data
        writer.add_tensor_info(tensor.name, data.shape, data.dtype, data.nbytes, tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for tensor in tensors:
        writer.write_tensor_data(tensor.data)
    writer.close()
    return target
