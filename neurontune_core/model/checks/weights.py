"""Check weights by the headers of their safetensors files, without reading a number of them."""

import re
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from transformers import PreTrainedModel

from neurontune_core.errors import InputError
from neurontune_core.model.checks.files import check_readable, read_object, reason, shown
from neurontune_core.model.checks.loaded import check_fit
from neurontune_core.model.dequantise import dequantising

_ADAPTER = "adapter_config.json"
_SINGLE, _INDEX = "model.safetensors", "model.safetensors.index.json"
_FORMATS = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
_FLAGS = {"BOOL": torch.bool, "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8}
_STORED = _FORMATS | _FLAGS | {"U8": torch.uint8}
_NARROW = {"F8_E4M3": torch.float8_e4m3fn, "F8_E8M0": torch.float8_e8m0fnu}
_PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".h5", ".msgpack", ".onnx")

Headers = dict[str, torch.Tensor]


def check_files(folder: Path) -> list[Path]:
    """Return the safetensors files a model folder is loaded from.

    Raises:
        InputError: there is none, or files of several models, or a file is missing, unreadable or not safetensors.
    """
    found = sorted(folder.glob("*.safetensors"))
    if not found and not (folder / _INDEX).exists():
        raise InputError(_without_weights(folder))
    single, index = folder / _SINGLE, folder / _INDEX
    if single in found and index.exists():
        raise InputError(f"{_INDEX}: stands next to {_SINGLE}, so the folder has two models; remove one of them")
    if single not in found and not index.exists():
        raise InputError(
            f"{shown(found[0].name, 80)}: is not {_SINGLE}, and no {_INDEX} names it; "
            f"save the model there with save_pretrained"
        )
    files = [single] if single in found else _shards(folder)
    stray = [file.name for file in found if file not in files and re.fullmatch(r"model[-.\d\w]*", file.stem)]
    if stray:
        raise InputError(
            f"{shown(stray[0], 80)}: does not belong to the model of {files[0].name}, so the folder has two models; "
            f"remove one of them"
        )
    return files


def check_no_adapter(folder: Path) -> None:
    """Check that a folder has no adapter, such as of LoRA, which has only few weights of a model.

    Raises:
        InputError: it has one; the message names the model that it adapts, and how to merge it.
    """
    if not (folder / _ADAPTER).exists():
        return
    own = [file for file in folder.glob("*.safetensors") if not file.name.startswith("adapter_")]
    base = shown(read_object(folder / _ADAPTER).get("base_model_name_or_path") or "", 60)
    rest = "next to a whole model" if own else f"without the model it adapts{base and f' ({base})'}"
    raise InputError(
        f"{_ADAPTER}: the folder has an adapter {rest}; merge it into its model (`merge_and_unload` of peft), save "
        f"model and tokenizer in a new folder, and give that"
    )


def read_headers(files: list[Path], stored: str = "") -> Headers:
    """Return every weight of safetensors files by name, as a tensor of its shape and format without numbers.

    Raises:
        InputError: a file is cut off, is not a safetensors file, or has quantised weights that are not those of the
            format `stored`.
    """
    headers: Headers = {}
    for file in files:
        check_readable(file)
        try:
            with safe_open(file, framework="pt") as opened:
                for name in opened.keys():  # noqa: SIM118  # it is no dictionary
                    part = opened.get_slice(name)
                    headers[name] = _empty(file, name, part.get_dtype(), part.get_shape(), stored)
        except (SafetensorError, OSError, ValueError, MemoryError) as error:
            size = file.stat().st_size
            raise InputError(
                f"{file.name}: is cut off, or is not a safetensors file ({size} bytes: {reason(error)}); download it "
                f"again"
            ) from error
    if not headers:
        raise InputError(f"{files[0].name}: holds no weights; save the model again")
    return headers


def check_weights(
    folder: Path, files: list[Path], headers: Headers, skeleton: PreTrainedModel, stored: str = ""
) -> None:
    """Check that the weights in a folder's files are those of its model, as transformers would load them.

    Transformers renames, joins and dequantises the weights of some models, so it is given weights without numbers to
    load; `stored` is the format from which they are dequantised.

    Raises:
        InputError: the index names weights that do not exist, or a weight is missing, left over or of another shape.
    """
    if len(files) > 1 or files[0].name != _SINGLE:
        _check_index(folder, files)
    _check_scales(headers, files[0].name)
    kind: Any = type(skeleton)
    try:
        with dequantising(stored) as settings:
            _, info = kind.from_pretrained(
                None,
                config=skeleton.config,
                state_dict=headers,
                device_map={"": "meta"},
                output_loading_info=True,
                ignore_mismatched_sizes=True,
                **settings,
            )
    except RuntimeError as error:
        if "conversion of the weights" not in str(error):
            return  # this kind of model cannot be built without weights; loading shows errors
        what, remedy = "weights that belong together (for example those of experts)", ""
        if stored:
            what, remedy = f"weights and scales of {stored}", ", or use the unquantised model"
        raise InputError(
            f"{files[0].name}: {what} are missing or do not fit in shape; download or save the model again{remedy}"
        ) from error
    except (TypeError, ValueError, NotImplementedError):
        return
    check_fit(info, files[0].name if len(files) == 1 else _INDEX)


def _check_scales(headers: Headers, file: str) -> None:
    """Check that every weight in FP8 has its scales; without them transformers would take the numbers as they are."""
    for name, weight in headers.items():
        place = name.removesuffix(".weight")
        scales = (f"{name}_scale_inv", f"{place}.scale", f"{place}.qscale_weight")
        if weight.dtype == torch.float8_e4m3fn and not any(scale in headers for scale in scales):
            raise InputError(f"{file}: lacks {shown(scales[0], 100)!r}, the scales of a weight; download it again")


def _shards(folder: Path) -> list[Path]:
    places = read_object(folder / _INDEX).get("weight_map")
    if not isinstance(places, dict) or not places or not all(isinstance(place, str) for place in places.values()):
        raise InputError(f"{_INDEX}: weight_map must give the file of each weight; save the model again")
    files = sorted({folder / place for place in places.values()})
    for file in files:
        if file.parent != folder or file.suffix != ".safetensors":
            outside = shown(str(file.relative_to(folder) if file.is_relative_to(folder) else file), 80)
            raise InputError(
                f"{_INDEX}: names {outside!r}, which is not a safetensors file of this folder; save the model again"
            )
        if not file.is_file():
            raise InputError(f"{file.name}: is missing, though {_INDEX} names it; download it again")
    return files


def _check_index(folder: Path, files: list[Path]) -> None:
    places: dict[str, str] = read_object(folder / _INDEX)["weight_map"]
    for file in files:
        with safe_open(file, framework="pt") as opened:
            held = set(opened.keys())
        lacking = [name for name, place in places.items() if place == file.name and name not in held]
        if lacking:
            raise InputError(
                f"{file.name}: lacks {shown(lacking[0], 100)!r} ({len(lacking)} in all), which it should have by "
                f"{_INDEX}; download both again"
            )


def _empty(file: Path, name: str, kind: str, shape: list[int], stored: str) -> torch.Tensor:
    parameter = name.endswith(("weight", "qweight", "qzeros", "weight_packed", "_blocks"))
    known = _STORED | _NARROW if stored else _STORED
    if kind not in known or (kind not in _FORMATS and parameter and not stored):
        raise InputError(
            f"{file.name}: {shown(name, 100)!r} is stored as {kind}; quantised weights cannot be attributed: use the "
            f"unquantised model"
        )
    return torch.empty(shape, dtype=known[kind], device="meta")


def _without_weights(folder: Path) -> str:
    names = sorted(file.name for file in folder.iterdir())
    pickled = [name for name in names if name.endswith(_PICKLED)]
    remedy = "save the model there with save_pretrained first"
    if pickled:
        remedy = (
            f"convert {shown(pickled[0], 60)} to safetensors (load the model with transformers, and save_pretrained); "
            f"it is not read, because a pickle may run code"
        )
    elif gguf := [name for name in names if name.lower().endswith(".gguf")]:
        remedy = f"give the path of {shown(gguf[0], 60)} itself"
    elif inner := [name for name in names if any((folder / name).glob("*.safetensors"))]:
        remedy = f"give the folder {shown(inner[0], 60)} in it"
    elif cached := sorted(folder.glob("snapshots/*/*.safetensors")):
        remedy = f"give the folder {shown(cached[0].parent.relative_to(folder), 60)} in it, or the model's hub id"
    return f"no *.safetensors file in {shown(folder, 120)}; {remedy}"
