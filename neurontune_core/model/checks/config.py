"""Check config.json: values a model can be built from, of a kind that can be attributed."""

import re
from inspect import signature
from pathlib import Path
from typing import Any

import torch
from transformers import (
    CONFIG_MAPPING,
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_MASKED_LM_MAPPING,
    AutoConfig,
    AutoModelForCausalLM,
    DynamicCache,
    PretrainedConfig,
    PreTrainedModel,
)

from neurontune_core.errors import InputError
from neurontune_core.model.checks.files import is_number, read_object, reason, shown, walk
from neurontune_core.model.dequantise import DEQUANTISERS

_COUNT = re.compile(
    r"sliding_window|(num|n)_\w+|\w+_(size|dim)|max_position_embeddings|(en|de)coder_layers|d_(model|ff)"
)
_LIMITS = ((r"layers?$", 1000), (r"experts", 100_000), (r"position|n_ctx|window", 100_000_000), (r"", 10_000_000))
"""Limits above what any model has; building a larger model would take all memory and time."""
_MUST_BE_POSITIVE = (
    "num_hidden_layers", "hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads", "head_dim",
    "vocab_size", "max_position_embeddings",
)  # fmt: skip
_POSITIVE = re.compile(r".*(rope_theta|_base_freq|rotary_emb_base|rope_(parameters|scaling)\.(.+\.)?(\w+_)?factor)")
_LARGEST = ((r"factor$", 1e6), (r"", 1e15))
"""Factors and bases of rotary positions above these give no finite numbers."""
_SHARE = re.compile(r"\w*(dropout|pdrop)|partial_rotary_factor|rotary_pct")
_SMALL = re.compile(r"\w+_eps|\w+_epsilon")
_FLAGS = ("return_dict", "output_hidden_states", "output_attentions", "tie_word_embeddings", "use_cache")
_FORMATS = ("float32", "float16", "bfloat16", "float64")
_MAY_BE_INFINITE = ("time_step_limit",)
_POSITIONS_BY_DEFAULT = ("falcon",)
"""Families whose published config.json leaves the number of positions to the class."""


def check_config(folder: Path) -> PretrainedConfig:
    """Return the configuration of a model folder.

    Raises:
        InputError: config.json is not readable, has impossible values, needs its own code, or is not of a decoder.
    """
    raw = read_object(folder / "config.json")
    for field in ("dtype", "torch_dtype"):
        if isinstance(raw.get(field), list | dict):
            _check_value(field, field, raw[field])
    for path, key, value in walk(raw):
        _check_value(path, key, value)
    names = raw.get("architectures")
    if names is not None and not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        raise InputError(
            f"config.json: architectures is {shown(repr(names), 40)}; it must be a list of names: correct it"
        )
    family = _family(raw)
    for section in (raw, raw.get("text_config")):
        _check_positive(section if isinstance(section, dict) else {}, CONFIG_MAPPING[family].attribute_map)
    try:
        config: PretrainedConfig = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    except Exception as error:  # transformers raises errors of many kinds for a bad value
        raise InputError(f"config.json: {reason(error)}; correct it, or download the model again") from error
    _check_decoder(config)
    try:
        text: PretrainedConfig = config.get_text_config()
        text.to_dict()
    except Exception as error:  # errors of many kinds, as above: the section is not one
        raise InputError(f"config.json: text_config is not readable ({reason(error)}); correct it") from error
    _check_shape(text, raw)
    return config


def check_layers(config: PretrainedConfig, weights: int) -> None:
    """Check that there are enough weights for the configured number of layers: each layer has at least one.

    Raises:
        InputError: there are fewer weights than layers; building so many layers would take minutes.
    """
    layers = getattr(config.get_text_config(), "num_hidden_layers", 0)
    if layers > weights:
        raise InputError(
            f"config.json: num_hidden_layers is {layers}, but the safetensors files hold {weights} weights in all; use "
            f"the files of one model"
        )


def build_skeleton(config: PretrainedConfig) -> PreTrainedModel:
    """Return the model of a configuration without weights (on torch's meta device).

    Raises:
        InputError: the configuration names something the model's class does not have.
    """
    try:
        with torch.device("meta"):
            model: PreTrainedModel = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    except Exception as error:  # errors of many kinds, as above
        if "Padding_idx" in str(error):
            inner: Any = config.get_text_config()
            raise InputError(
                f"config.json: pad_token_id is {inner.pad_token_id}, but vocab_size is {inner.vocab_size}; correct the "
                f"one that is wrong"
            ) from error
        culprit = error.args[0] if isinstance(error, KeyError) and error.args else None
        field = next((path for path, _, value in walk(config.to_dict()) if culprit and value == culprit), "")
        text = f"{field} is {culprit!r}, which is unknown" if field else f"no model can be built ({reason(error)})"
        raise InputError(f"config.json: {shown(text)}; correct it, or download the model again") from error
    return model


@torch.no_grad()
def check_run(skeleton: PreTrainedModel) -> None:
    """Check without weights that the model can be run on five tokens, and that two rows can then go on from its cache.

    Settings that do not fit together fail here, and models for which answers cannot be generated in batches. The
    model's number format is changed.

    Raises:
        InputError: it cannot.
    """
    own_positions = any(name.endswith("embed_positions") for name, _ in skeleton.named_modules())
    if own_positions and "position_ids" not in signature(skeleton.base_model.forward).parameters:
        raise InputError(
            f"config.json: {type(skeleton).__name__} counts positions by itself, so answers cannot be generated in "
            f"batches, where shorter prompts are padded; choose another decoder"
        )
    skeleton.to(torch.bfloat16)  # type: ignore[arg-type]  # the one format in which torch knows the shape of experts' outputs
    ids = torch.zeros(2, 5, dtype=torch.long, device="meta")
    try:
        cache = DynamicCache(config=skeleton.config)
        read = skeleton.eval().base_model(input_ids=ids[:1], past_key_values=cache, use_cache=True)
    except (RuntimeError, NotImplementedError):
        return  # this kind of model cannot be run without weights; loading shows errors
    except Exception as error:  # errors of many kinds, as above
        if re.search("cache of its own.*past_key_values", str(error)):  # transformers' words
            raise _own_cache(skeleton, "") from error
        raise InputError(f"config.json: the model cannot be run ({reason(error)}); correct it") from error
    try:
        cache.reorder_cache(torch.zeros(2, dtype=torch.long))  # type: ignore[arg-type]
        more = skeleton.base_model(
            input_ids=ids[:, :3],
            attention_mask=ids.new_ones(2, 8),
            position_ids=ids[:, :3],
            past_key_values=cache,
            use_cache=True,
        )
        cache.reorder_cache(torch.tensor([1]))  # type: ignore[arg-type]
        last = skeleton.base_model(
            input_ids=ids[:1, :1],
            attention_mask=ids.new_ones(1, 9),
            position_ids=ids[:1, :1],
            past_key_values=cache,
            use_cache=True,
        )
    except Exception as error:  # errors of many kinds, as above
        if "meta" in str(error):  # this kind of model cannot be run without weights
            return
        raise _own_cache(skeleton, f" ({reason(error)})") from error
    lengths = [found.last_hidden_state.shape[1] for found in (read, more, last)]
    if lengths != [5, 3, 1]:
        raise _own_cache(skeleton, f" (from 5, 3 and 1 tokens it makes states of {lengths} positions)")


def _own_cache(skeleton: PreTrainedModel, why: str) -> InputError:
    return InputError(
        f"config.json: {type(skeleton).__name__} needs a cache of its own kind{why}, with which answers cannot be "
        f"generated; choose another decoder"
    )


def check_method(folder: Path) -> str:
    """Return the format from which a folder's weights are dequantised (one of `DEQUANTISERS`), "" for ordinary weights.

    It is read from config.json, if there is one; the weight files need not exist yet.

    Raises:
        InputError: config.json is not readable, or names another quantised format.
    """
    if not (folder / "config.json").is_file():
        return ""
    raw = read_object(folder / "config.json")
    for section, prefix in ((raw, ""), (raw.get("text_config"), "text_config.")):
        if not isinstance(section, dict):
            continue
        for field in ("quantization_config", "compression_config", "quantization"):
            found = section.get(field)
            if not found and found != {}:
                continue
            settings = found if isinstance(found, dict) else {}
            bits = "bitsandbytes" if settings.get("load_in_4bit") or settings.get("load_in_8bit") else "unnamed"
            method = settings.get("quant_method") or ("mlx" if field == "quantization" else bits)
            if field == "quantization_config" and not prefix and method in DEQUANTISERS:
                return str(method)
            raise InputError(
                f"config.json: {prefix}{field} says that the weights are quantised ({shown(method, 40)}), so the "
                f"folder has no unrounded weights to which factors could be applied; use the unquantised model, if "
                f"memory is short with model.quantization=int4"
            )
    return ""


def _check_value(path: str, key: str, value: Any) -> None:
    where = f"config.json: {shown(path, 80)} is {shown(repr(value), 40)}"
    if isinstance(value, float) and not is_number(value) and key not in _MAY_BE_INFINITE:
        raise InputError(f"{where}, which is not a finite number; correct it, or download the model again")
    if _COUNT.fullmatch(key) and is_number(value):
        limit = next(limit for pattern, limit in _LIMITS if re.search(pattern, key))
        if value > limit:
            raise InputError(f"{where}, more than any model has ({limit}); correct it")
    small = _SMALL.fullmatch(key) and value is not None
    if (small and not is_number(value)) or (
        (small or _SHARE.fullmatch(key)) and is_number(value) and not 0 <= value <= 1
    ):
        raise InputError(f"{where}; it must be a number from 0 to 1: correct it")
    if value is not None and _POSITIVE.fullmatch(path):
        largest = next(largest for pattern, largest in _LARGEST if re.search(pattern, path))
        if not (is_number(value) and 0 < value <= largest):
            raise InputError(f"{where}; it must be a number above 0 and at most {largest:g}: correct it")
    if path in _FLAGS and not isinstance(value, bool | None):
        raise InputError(f"{where}; it must be true or false: correct it")
    if path == "return_dict" and value is not True:
        raise InputError(f"{where}; the model is only used with true: leave it out")
    if path in ("dtype", "torch_dtype") and value is not None and value not in _FORMATS:
        raise InputError(f"{where}; it must be one of {', '.join(_FORMATS)}: correct it")


def _check_positive(section: dict[str, Any], aliases: dict[str, str]) -> None:
    for name in _MUST_BE_POSITIVE:
        field = aliases.get(name, name)
        value = section.get(field)
        if isinstance(value, bool) or (is_number(value) and value < 1):
            raise InputError(f"config.json: {field} is {value!r}; it must be a whole number, 1 or more: correct it")
    window = section.get("sliding_window")
    least = 0 if section.get("use_sliding_window") is False else 1
    if window is not None and (type(window) is not int or window < least):
        raise InputError(
            f"config.json: sliding_window is {shown(repr(window), 40)}; it must be a whole number, 1 or more, or null"
        )


def _family(raw: dict[str, Any]) -> str:
    family = raw.get("model_type")
    if isinstance(family, str) and family in CONFIG_MAPPING:
        return family
    if family is None and "auto_map" not in raw:
        raise InputError("config.json: model_type is missing; use the config.json that save_pretrained writes")
    if "auto_map" in raw:
        raise InputError(
            f"config.json: model_type {shown(repr(family), 60)} needs code of its own (auto_map), which is never run; "
            f"choose a model that transformers has"
        )
    raise InputError(
        f"config.json: model_type {shown(repr(family), 60)} is unknown to transformers; choose a model that "
        f"transformers has, or a newer transformers"
    )


def _check_decoder(config: PretrainedConfig) -> None:
    kind = type(config)
    if kind not in MODEL_FOR_CAUSAL_LM_MAPPING:
        problem = "cannot be made a causal language model"
    elif config.is_encoder_decoder:
        problem = "is an encoder with a decoder"
    elif kind in MODEL_FOR_MASKED_LM_MAPPING and getattr(config, "is_decoder", None) is False:
        problem = "is an encoder"
    else:
        return
    raise InputError(f"config.json: model_type {config.model_type!r} {problem}; choose a text decoder")


def _check_shape(config: PretrainedConfig, raw: dict[str, Any]) -> None:
    names = {name: config.attribute_map.get(name, name) for name in _MUST_BE_POSITIVE}
    values = config.to_dict()
    sizes = {name: values.get(names[name]) for name in _MUST_BE_POSITIVE}
    heads, pairs, width = (sizes[name] for name in ("num_attention_heads", "num_key_value_heads", "hidden_size"))
    if isinstance(heads, int) and isinstance(pairs, int) and heads % pairs:
        raise InputError(
            f"config.json: {names['num_key_value_heads']} is {pairs}, which does not divide "
            f"{names['num_attention_heads']} ({heads}); correct it"
        )
    if isinstance(heads, int) and isinstance(width, int) and sizes["head_dim"] is None and width % heads:
        raise InputError(
            f"config.json: {names['num_attention_heads']} is {heads}, which does not divide {names['hidden_size']} "
            f"({width}); correct it"
        )
    if isinstance(heads, int) and isinstance(width, int):
        _check_factors(raw, config, int(sizes["head_dim"] or width // heads))
    field = names["max_position_embeddings"]
    named = {field, "max_position_embeddings"} & set(raw)
    nested = any(isinstance(raw.get(part), dict) for part in config.sub_configs) or "text_config" in raw
    if sizes["max_position_embeddings"] is not None and not (
        named or nested or config.model_type in _POSITIONS_BY_DEFAULT
    ):
        raise InputError(f"config.json: {field} is missing; add how many positions the model was trained for")


def _check_factors(raw: dict[str, Any], config: PretrainedConfig, head_dim: int) -> None:
    """Check that longrope has one factor for each pair of rotary dimensions; a list of one would be broadcast."""
    for section in ("rope_parameters", "rope_scaling"):
        for place, rope in _ropes(section, raw.get(section)):
            share = rope.get("partial_rotary_factor") or getattr(config, "partial_rotary_factor", None) or 1.0
            wanted = int(head_dim * share) // 2
            for name in ("short_factor", "long_factor"):
                given = rope.get(name)
                if given is not None and not (isinstance(given, list) and len(given) == wanted):
                    what = f"has {len(given)} factors" if isinstance(given, list) else f"is {shown(repr(given), 40)}"
                    raise InputError(f"config.json: {place}.{name} {what}; it must be a list of {wanted}: correct it")


def _ropes(place: str, value: Any) -> list[tuple[str, dict[str, Any]]]:
    """Return the rotary settings and where they stand: one set for all layers, or one for each kind of layer."""
    if not isinstance(value, dict):
        return []
    return [(place, value), *((f"{place}.{key}", part) for key, part in value.items() if isinstance(part, dict))]
