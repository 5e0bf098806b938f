"""A tiny valid model folder, and a table of ways in which it is broken."""

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from neurontune_core.model import tiny

Damage = Callable[[Path], object]
GONE = "<gone>"
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:abab\nsize 4976698672\n"
CONFIG, GENERATION, INDEX = "config.json", "generation_config.json", "model.safetensors.index.json"
WEIGHTS, TOKENIZER, TOKENIZER_CONFIG = "model.safetensors", "tokenizer.json", "tokenizer_config.json"
TEMPLATE = "chat_template.jinja"
NORM, HEAD = "model.layers.0.input_layernorm.weight", "lm_head.weight"


def good(folder: Path, family: str = "llama", shards: bool = False) -> Path:
    """Save a tiny random model with its tokenizer."""
    tiny.model(family).save_pretrained(folder, **({"max_shard_size": "20KB"} if shards else {}))
    tiny.tokenizer().save_pretrained(folder)
    return folder


def write(name: str, content: str | bytes) -> Damage:
    return lambda folder: (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)


def remove(*names: str) -> Damage:
    return lambda folder: [(folder / name).unlink() for name in names]


def each(*damages: Damage) -> Damage:
    return lambda folder: [damage(folder) for damage in damages]


def fields(name: str, **values: Any) -> Damage:
    """Set fields of a JSON file; `GONE` removes one."""

    def damage(folder: Path) -> None:
        content = json.loads((folder / name).read_text()) | values
        kept = {key: value for key, value in content.items() if value != GONE}
        (folder / name).write_text(json.dumps(kept))

    return damage


def cut(name: str, keep: int) -> Damage:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:keep])


def weights(change: Callable[[dict[str, torch.Tensor]], object]) -> Damage:
    """Change the weights of the safetensors file."""

    def damage(folder: Path) -> None:
        held = load_file(folder / WEIGHTS)
        change(held)
        save_file(held, folder / WEIGHTS, metadata={"format": "pt"})

    return damage


def index(change: Callable[[dict[str, str]], object]) -> Damage:
    """Change the table of a sharded model's index."""

    def damage(folder: Path) -> None:
        content = json.loads((folder / INDEX).read_text())
        change(content["weight_map"])
        (folder / INDEX).write_text(json.dumps(content))

    return damage


def shard(damage: Callable[[Path], object]) -> Damage:
    return lambda folder: damage(sorted(folder.glob("model-*.safetensors"))[1])


def huge_header(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes(struct.pack("<Q", 2**40) + b"{}")


def nested(folder: Path) -> None:
    (folder / "final").mkdir()
    (folder / WEIGHTS).rename(folder / "final" / WEIGHTS)


def in_a_snapshot(folder: Path) -> None:
    """Put the files where a hub's cache has them."""
    inner = folder / "snapshots" / "0f3c"
    inner.mkdir(parents=True)
    for file in [file for file in folder.iterdir() if file.is_file()]:
        file.rename(inner / file.name)


def adapter(folder: Path) -> None:
    """Leave what peft saves: the adapter's weights and settings, and the tokenizer, but no configuration of a model."""
    (folder / WEIGHTS).rename(folder / "adapter_model.safetensors")
    (folder / CONFIG).unlink()
    (folder / "adapter_config.json").write_text(
        json.dumps({"peft_type": "LORA", "base_model_name_or_path": "org/base"})
    )


def every_id_one_higher(folder: Path) -> None:
    """Move the ids of a tokenizer up, as one of another model would have them."""
    content = json.loads((folder / TOKENIZER).read_text())
    for token in content["added_tokens"]:
        token["id"] += 100
    vocabulary = content["model"]["vocab"]
    content["model"]["vocab"] = vocabulary | {f"filler{number}": 256 + number for number in range(100)}
    (folder / TOKENIZER).write_text(json.dumps(content))


def in_tokenizer(**values: Any) -> Damage:
    """Set fields of the model in tokenizer.json."""

    def damage(folder: Path) -> None:
        fields(TOKENIZER, model=json.loads((folder / TOKENIZER).read_text())["model"] | values)(folder)

    return damage


def of_kind(name: str, make: Callable[[Path], object]) -> Damage:
    """Put something else in the place of a file: a folder, a pipe, a link to itself."""
    return each(remove(name), lambda folder: make(folder / name))


WHOLE: dict[str, tuple[Damage, str]] = {
    "empty folder": (lambda folder: [file.unlink() for file in folder.iterdir()], "folder is empty"),
    "weights gone": (remove(WEIGHTS), "no \\*.safetensors file"),
    "weights in a folder inside": (nested, "give the folder final in it"),
    "pickled weights": (each(remove(WEIGHTS), write("pytorch_model.bin", b"PK")), "convert pytorch_model.bin"),
    "GGUF file in a folder": (each(remove(WEIGHTS), write("a.Q4.gguf", b"GGUF")), "give the path of a.Q4.gguf"),
    "cache of a hub": (in_a_snapshot, "give the folder snapshots/0f3c in it, or the model's hub id"),
    "adapter alone": (each(remove(WEIGHTS), write("adapter_config.json", "{}")), "adapter_config.json: .* merge"),
    "adapter as peft saves it": (adapter, r"adapter_config.json: .* the model it adapts \(org/base\); merge it"),
    "adapter as a pickle": (
        each(adapter, remove("adapter_model.safetensors"), write("adapter_model.bin", b"PK")), "_config.json: .* merge",
    ),
    "adapter next to a model": (write("adapter_config.json", "{}"), "adapter_config.json: .* next to a whole model"),
    "weights of another name": (lambda f: (f / WEIGHTS).rename(f / "mine.safetensors"), "mine.safetensors: is not"),
    "two models": (write("model-00001-of-00002.safetensors", b"x"), "model-00001-of-00002.safetensors: .* two models"),
    "index next to a single file": (write(INDEX, "{}"), f"{INDEX}: stands next to {WEIGHTS}"),
    "weights empty": (write(WEIGHTS, b""), f"{WEIGHTS}: is empty"),
    "weights a folder": (each(remove(WEIGHTS), lambda f: (f / WEIGHTS).mkdir()), f"{WEIGHTS}: is a folder"),
    "weights a Git LFS pointer": (write(WEIGHTS, POINTER), f"{WEIGHTS}: is a Git LFS pointer; .*git lfs pull"),
    "weights a web page": (write(WEIGHTS, "\n<!DOCTYPE html><html>"), f"{WEIGHTS}: is an HTML page"),
    "weights a pickle": (write(WEIGHTS, b"\x80\x04]"), f"{WEIGHTS}: is a pickle"),
    "weights a zip archive": (write(WEIGHTS, b"PK\x03\x04xx"), f"{WEIGHTS}: is a zip archive"),
    "weights of chance": (write(WEIGHTS, bytes(range(1, 120))), f"{WEIGHTS}: is cut off, or is not a safetensors"),
    "header too large": (huge_header, f"{WEIGHTS}: is cut off, or is not a safetensors"),
    "weights cut off": (cut(WEIGHTS, 30_000), f"{WEIGHTS}: is cut off"),
    "header cut off": (cut(WEIGHTS, 300), f"{WEIGHTS}: is cut off"),
    "no weights in the file": (weights(dict.clear), f"{WEIGHTS}: holds no weights"),
    "weight missing": (weights(lambda held: held.pop(NORM)), f"{WEIGHTS}: lacks '{NORM}'"),
    "head missing": (weights(lambda held: held.pop(HEAD)), f"{WEIGHTS}: lacks '{HEAD}'"),
    "many weights missing": (
        weights(lambda held: [held.pop(name) for name in list(held) if "mlp" in name]),
        "and 4 more weights",
    ),
    "weight of another shape": (
        weights(lambda held: held.update({NORM: torch.ones(16)})), f"'{NORM}' has the shape \\[16\\].*\\[32\\]",
    ),
    "weight too many": (weights(lambda held: held.update(extra=torch.ones(1))), "holds 'extra'"),
    "quantised weights": (
        weights(lambda held: held.update({NORM: torch.ones(32, dtype=torch.int8)})), "stored as I8; quantised",
    ),
    "eight-bit floating point": (
        weights(lambda held: held.update({NORM: torch.ones(32).to(torch.float8_e4m3fn)})), "stored as F8_E4M3",
    ),
    **{
        f"quantised by {method}": (
            fields(CONFIG, quantization_config=settings),
            f"{CONFIG}: quantization_config says .*quantised \\({method}\\)",
        )
        for method, settings in (
            ("awq", {"quant_method": "awq", "bits": 4}), ("gptq", {"quant_method": "gptq", "bits": 4}),
            ("bitsandbytes", {"load_in_4bit": True}), ("compressed-tensors", {"quant_method": "compressed-tensors"}),
            ("unnamed", {"bits": 4}),
        )
    },
    "quantised by mlx": (fields(CONFIG, quantization={"bits": 4}), f"{CONFIG}: quantization says .*mlx"),
    "config gone": (remove(CONFIG), "no readable config.json"),
    "config no JSON": (write(CONFIG, "{model_type: llama"), f"{CONFIG}: is not readable JSON"),
    "config cut off": (cut(CONFIG, 100), f"{CONFIG}: is not readable JSON"),
    "config a list": (write(CONFIG, "[1, 2]"), f"{CONFIG}: holds \\[1, 2\\], not a JSON object"),
    "config of bytes": (write(CONFIG, b"{\"a\": \"\xff\xfe\"}"), f"{CONFIG}: is not UTF-8 text"),
    "config nested without end": (write(CONFIG, "[" * 100_000), f"{CONFIG}: is not readable JSON"),
    "config a Git LFS pointer": (write(CONFIG, POINTER), f"{CONFIG}: is a Git LFS pointer"),
    **{
        f"{name} {kind}": (of_kind(name, make), f"{name}: is|no readable {name}")
        for name in (CONFIG, WEIGHTS, TOKENIZER, TEMPLATE)
        for kind, make in (
            ("a folder", Path.mkdir), ("a pipe", os.mkfifo), ("a link to itself", lambda path: path.symlink_to(path)),
        )
    },
    "config with two values for a key": (write(CONFIG, '{"a": 1, "a": 2}'), f"{CONFIG}: .*'a' occurs twice"),
    "config without family": (fields(CONFIG, model_type=GONE), f"{CONFIG}: model_type is missing"),
    "unknown family": (fields(CONFIG, model_type="llamma"), f"{CONFIG}: model_type 'llamma' is unknown"),
    "family a number": (fields(CONFIG, model_type=3), f"{CONFIG}: model_type 3 is unknown"),
    "code of its own": (
        fields(CONFIG, model_type="mine", auto_map={"AutoConfig": "configuration.Mine"}), "auto_map.*never run",
    ),
    "encoder": (fields(CONFIG, model_type="bert"), f"{CONFIG}: model_type 'bert' is an encoder"),
    "encoder with decoder": (fields(CONFIG, model_type="t5"), f"{CONFIG}: .* cannot be made a causal"),
    "translator": (fields(CONFIG, model_type="bart", is_encoder_decoder=True), "'bart' is an encoder with a decoder"),
    "sees images": (fields(CONFIG, model_type="llava"), f"{CONFIG}: .* cannot be made a causal"),
    **{
        f"{field} {value!r}": (fields(CONFIG, **{field: value}), f"{CONFIG}: .*{field}")
        for field, value in (
            ("num_hidden_layers", 10**9), ("num_hidden_layers", 0), ("num_hidden_layers", -2),
            ("num_hidden_layers", True), ("num_hidden_layers", "two"), ("num_hidden_layers", 2.0),
            ("hidden_size", 10**9), ("hidden_size", 0), ("hidden_size", True), ("hidden_size", None),
            ("intermediate_size", 10**12), ("intermediate_size", -48), ("intermediate_size", "48"),
            ("num_attention_heads", 0), ("num_attention_heads", 10**9), ("num_key_value_heads", 3),
            ("num_key_value_heads", 0), ("head_dim", 0), ("head_dim", 7), ("vocab_size", 0), ("vocab_size", -1),
            ("vocab_size", 10**10), ("max_position_embeddings", None), ("max_position_embeddings", 0),
            ("max_position_embeddings", 10**15), ("max_position_embeddings", GONE), ("rms_norm_eps", "small"),
            ("rms_norm_eps", -1.0), ("rms_norm_eps", float("inf")), ("hidden_act", "sillu"), ("hidden_act", 3),
            ("tie_word_embeddings", "yes"), ("attention_dropout", 5.0), ("sliding_window", -1), ("sliding_window", [1]),
            ("text_config", 3), ("rope_parameters", "x"), ("rope_theta", float("nan")),
            ("rope_theta", -1.0), ("rope_scaling", {"type": "linear", "factor": "two"}),
        )
    },
    "heads that do not divide the width": (fields(CONFIG, num_attention_heads=5), f"{CONFIG}: .* heads \\(5\\)"),
    **{
        f"{field} {value!r}": (fields(CONFIG, **{field: value}), f"{CONFIG}: .*{field}")
        for field, value in (
            ("dtype", 3), ("dtype", "int8"), ("dtype", "torch.float32"), ("dtype", {}), ("torch_dtype", "nonsense"),
            ("return_dict", False), ("return_dict", "x"), ("output_hidden_states", "x"), ("sliding_window", True),
            ("sliding_window", 10**20), ("pad_token_id", 264), ("pad_token_id", 10**9), ("rms_norm_eps", 1e9),
            ("num_hidden_layers", 999), ("max_position_embeddings", 3),
            ("rope_parameters", {"rope_type": "dynamic", "factor": 1e300, "rope_theta": 1e4}),
            ("layer_types", ["full_attention"]), ("architectures", "Llama"), ("architectures", [3]),
            ("eos_token_id", 10**30), ("eos_token_id", -5), ("eos_token_id", []), ("partial_rotary_factor", 7),
            ("rope_parameters", {"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 7}),
            ("rope_parameters", {
                "rope_type": "longrope", "factor": 8.0, "rope_theta": 1e4, "short_factor": [1.0], "long_factor": [1.0],
            }),
        )
    },
    "sliding layers without a window": (
        fields(CONFIG, layer_types=["sliding_attention", "full_attention"]), f"{CONFIG}: .*run .*'sliding_window'",
    ),
    "a settings file of gigabytes": (lambda f: os.truncate(f / CONFIG, 2**31), f"{CONFIG}: has 2,147,483,648 bytes"),
    "weights of a terabyte of nothing": (lambda f: os.truncate(f / WEIGHTS, 2**40), f"{WEIGHTS}: is cut off"),
    "unknown rope": (fields(CONFIG, rope_parameters={"rope_type": "spiral", "rope_theta": 1e4}), "is 'spiral', which"),
    "number format unknown": (fields(CONFIG, dtype="float99"), f"{CONFIG}: .*float99"),
    "fewer layers than the weights": (fields(CONFIG, num_hidden_layers=1), "holds 'model.layers.1"),
    "more layers than the weights": (fields(CONFIG, num_hidden_layers=3), "lacks 'model.layers.2"),
    "wider than the weights": (fields(CONFIG, intermediate_size=64), "has the shape .* but config.json asks for"),
    "generation no JSON": (write(GENERATION, "{eos"), f"{GENERATION}: is not readable JSON"),
    "generation empty": (write(GENERATION, ""), f"{GENERATION}: is empty"),
    "generation a list": (write(GENERATION, "[]"), f"{GENERATION}: holds"),
    **{
        f"generation {field} {value!r}": (fields(GENERATION, **{field: value}), f"{GENERATION}: .*{field}")
        for field, value in (
            ("eos_token_id", "<|end|>"), ("eos_token_id", 10**6), ("eos_token_id", -1), ("eos_token_id", [256, "x"]),
            ("eos_token_id", True), ("temperature", "hot"), ("temperature", -1.0), ("temperature", float("nan")),
            ("top_p", 7.0), ("top_k", "x"), ("repetition_penalty", 0.0), ("max_new_tokens", -1), ("num_beams", 0),
            ("max_length", True), ("min_length", "x"), ("min_new_tokens", -1), ("no_repeat_ngram_size", True),
            ("max_new_tokens", 10**30), ("do_sample", "x"), ("do_sample", 3), ("use_cache", "x"),
            ("suppress_tokens", ["x"]), ("suppress_tokens", [10**9]), ("forced_eos_token_id", 10**9),
            ("guidance_scale", "x"), ("epsilon_cutoff", 2), ("diversity_penalty", -1), ("max_time", "x"),
            ("eos_token_id", []), ("stop_strings", 3), ("stop_strings", [3]), ("bad_words_ids", [3]),
            ("sequence_bias", "x"), ("num_beams", 10**9), ("num_return_sequences", 10**9), ("dola_layers", "x"),
            ("prompt_lookup_num_tokens", "x"), ("constraints", [3]), ("exponential_decay_length_penalty", 3),
            ("assistant_early_exit", 0),
        )
    },
    "no tokenizer": (remove(TOKENIZER, TOKENIZER_CONFIG), f"{TOKENIZER}: is missing"),
    "no vocabulary": (remove(TOKENIZER), f"{TOKENIZER}: is missing"),
    "vocabulary cut off": (cut(TOKENIZER, 500), f"{TOKENIZER}: is not readable JSON"),
    "vocabulary a pointer": (write(TOKENIZER, POINTER), f"{TOKENIZER}: is a Git LFS pointer"),
    "vocabulary without anything": (write(TOKENIZER, "{}"), f"{TOKENIZER}: the tokenizer cannot be read"),
    "vocabulary of an unknown kind": (fields(TOKENIZER, model={"type": "Mine"}), f"{TOKENIZER}: the tokenizer cannot"),
    "added token with a bad id": (fields(TOKENIZER, added_tokens=[{"id": "x"}]), f"{TOKENIZER}: the tokenizer cannot"),
    "empty vocabulary": (
        each(remove(TOKENIZER), fields(TOKENIZER_CONFIG, tokenizer_class="GPT2Tokenizer"), write("vocab.json", "{}"),
             write("merges.txt", "#version: 0.2\n")), "vocab.json: has no token for the words of",
    ),
    "tokenizer settings no JSON": (write(TOKENIZER_CONFIG, "{"), f"{TOKENIZER_CONFIG}: is not readable JSON"),
    "tokenizer settings a list": (write(TOKENIZER_CONFIG, "[]"), f"{TOKENIZER_CONFIG}: holds"),
    "special tokens no JSON": (write("special_tokens_map.json", "{"), "special_tokens_map.json: is not readable JSON"),
    "tokenizer code of its own": (
        fields(TOKENIZER_CONFIG, tokenizer_class="MineTokenizer", auto_map={"AutoTokenizer": ["mine.Mine", None]}),
        f"{TOKENIZER_CONFIG}: .*never run",
    ),
    "longest text shorter than a prompt": (fields(TOKENIZER_CONFIG, model_max_length=3), "model_max_length is 3, but"),
    "one id for many words": (
        lambda f: in_tokenizer(vocab=dict.fromkeys(json.loads((f / TOKENIZER).read_text())["model"]["vocab"], 0))(f),
        f"{TOKENIZER}: encodes and decodes",
    ),
    "no decoder": (fields(TOKENIZER, decoder=None), f"{TOKENIZER}: encodes and decodes"),
    "letters that get lost": (
        fields(TOKENIZER, normalizer={"type": "Replace", "pattern": {"Regex": "[aeiou]"}, "content": ""}),
        f"{TOKENIZER}: encodes and decodes",
    ),
    "longest text a word": (fields(TOKENIZER_CONFIG, model_max_length="many"), "model_max_length is .many."),
    "eos_token a number": (fields(TOKENIZER_CONFIG, eos_token=3), f"{TOKENIZER_CONFIG}: eos_token is 3; it must be"),
    **{
        f"tokenizer {field} {value!r}": (fields(TOKENIZER_CONFIG, **{field: value}), f"{TOKENIZER_CONFIG}: {field} is ")
        for field, value in (
            ("eos_token", []), ("eos_token", {"content": 3}), ("eos_token", "</nonsense>"), ("pad_token", True),
            ("bos_token", {}), ("model_max_length", 0), ("model_max_length", True), ("model_max_length", [1]),
            ("padding_side", "middle"), ("truncation_side", 3), ("added_tokens_decoder", []),
            ("added_tokens_decoder", {"x": {}}), ("added_tokens_decoder", {"5": {"content": 3}}),
            ("added_tokens_decoder", {"99999999999": {"content": "x"}}), ("additional_special_tokens", 3),
            ("additional_special_tokens", [3]), ("tokenizer_class", 3), ("tokenizer_class", []),
            ("add_bos_token", "x"), ("split_special_tokens", "x"), ("model_input_names", "x"),
            ("chat_template", [{"name": "x"}]), ("chat_template", [3]),
        )
    },
    "vocabulary with a dropout": (
        lambda f: fields(TOKENIZER, model=json.loads((f / TOKENIZER).read_text())["model"] | {"dropout": 0.5})(f),
        f"{TOKENIZER}: has a dropout",
    ),
    "no end of a turn": (
        each(fields(TOKENIZER_CONFIG, eos_token=GONE, pad_token=GONE), fields(GENERATION, eos_token_id=GONE)),
        f"{TOKENIZER_CONFIG}: has no eos_token",
    ),
    "more ids than rows": (every_id_one_higher, f"{TOKENIZER}: .* has the id 35\\d, .*264 rows"),
    "template does not compile": (write(TEMPLATE, "{% for m in %}"), "chat_template: line 1: "),
    "template does not lex": (write(TEMPLATE, "a\n{{ 'open }}"), "chat_template: line 2: "),
    "template of bytes": (write(TEMPLATE, b"\xff\xfe\x00"), f"{TEMPLATE}: is not UTF-8 text"),
    "template empty": (write(TEMPLATE, ""), f"{TEMPLATE}: is empty"),
    "template refuses": (write(TEMPLATE, "{{ raise_exception('no users') }}"), "chat_template: fails .*no users"),
    "template with an unknown name": (write(TEMPLATE, "{{ tools.first.name }}"), "chat_template: fails"),
    "template that divides by zero": (write(TEMPLATE, "{{ 1 / 0 }}"), "chat_template: "),
    "template of a list of parts": (
        write(TEMPLATE, "{% for m in messages %}{% for p in m.content %}{{ p.text }}{% endfor %}{% endfor %}"),
        "chat_template: its text does not contain the prompt",
    ),
    "template leaves the prompt out": (write(TEMPLATE, "<|user|>Hello<|assistant|>"), "not contain the prompt"),
    "template keeps the system alone": (
        write(TEMPLATE, "{% for m in messages if m.role == 'system' %}{{ m.content }}{% endfor %}"), "not contain",
    ),
    "template asks for a class": (write(TEMPLATE, "{{ messages.__class__ }}"), "unsafe attribute '__class__'"),
    "template asks for a class by a filter": (
        write(TEMPLATE, "{{ messages|attr('__class__') }}"), "unsafe attribute '__class__'",
    ),
    "template asks for a class by an item": (
        write(TEMPLATE, "{{ ''['__class__']['__mro__'] }}"), "unsafe attribute '__class__'",
    ),
    "template asks for a class in pieces": (
        write(TEMPLATE, "{{ ''['__cla' ~ 'ss__'].mro() }}{{ messages[0].content }}"), "chat_template: .*unsafe",
    ),
    "template changes the messages": (write(TEMPLATE, "{{ messages.append(1) }}"), "chat_template: .*unsafe"),
    "template without end": (
        write(TEMPLATE, "{% for i in range(9999) %}{% for j in range(9999) %}{% endfor %}{% endfor %}"), "does not end",
    ),
    "template with a wide range": (write(TEMPLATE, "{% for i in range(999999) %}{% endfor %}"), "chat_template: fails"),
    "template with a huge number": (write(TEMPLATE, "{{ 'x' * 99999999999 }}"), "a power, which no prompt needs"),
    "template with a huge power": (write(TEMPLATE, "{{ 9 ** 9 ** 9 }}"), "a power, which no prompt needs"),
    **{
        f"template that takes all memory by {kind}": (write(TEMPLATE, text), "uses all memory")
        for kind, text in {
            "width": "{{ '%2000000000d' % 5 }}{{ messages[0].content }}",
            "a format": "{{ '{:2000000000}'.format(5) }}{{ messages[0].content }}",
            "repetition": "{{ ('x' * 1000000) * 1000000 }}{{ messages[0].content }}",
            "doubling": "{% set n = namespace(a='x') %}{% for i in range(40) %}{% set n.a = n.a ~ n.a %}{% endfor %}",
        }.items()
    },
    "template that draws at random": (write(TEMPLATE, "{{ range(9) | random }}{{ messages[0].content }}"), "at random"),
    "template with the time of day": (
        write(TEMPLATE, "{{ strftime_now('%H:%M') }}{{ messages[0].content }}"), "chat_template: .*differently",
    ),
    "template writes without measure": (
        write(TEMPLATE, "{{ messages[0].content * 100000 }}"), "writes \\d+ characters",
    ),
    "template a number": (
        each(remove(TEMPLATE), fields(TOKENIZER_CONFIG, chat_template=5)), "chat_template: is 5, not text",
    ),
    "templates without a default": (
        each(remove(TEMPLATE), fields(TOKENIZER_CONFIG, chat_template=[
            {"name": "rag", "template": "x"}, {"name": "tool_use", "template": "y"},
        ])), "chat_template: there are several \\(rag, tool_use\\)",
    ),
}  # fmt: skip
"""Damage to a whole folder with one weight file, and what the message says."""

SHARDED: dict[str, tuple[Damage, str]] = {
    "shard missing": (shard(Path.unlink), "model-00002-of-\\d+.safetensors: is missing, though .*index.json names it"),
    "shard cut off": (
        shard(lambda file: file.write_bytes(file.read_bytes()[:-8])), "model-00002-of-\\d+.safetensors: is cut off",
    ),
    "shard empty": (shard(lambda file: file.write_bytes(b"")), "model-00002-of-\\d+.safetensors: is empty"),
    "shard a pointer": (shard(lambda file: file.write_text(POINTER)), "model-00002-of-\\d+.safetensors: is a Git LFS"),
    "index gone": (remove(INDEX), "model-00001-of-\\d+.safetensors: is not"),
    "index no JSON": (write(INDEX, "{"), f"{INDEX}: is not readable JSON"),
    "index without table": (write(INDEX, "{}"), f"{INDEX}: weight_map must give"),
    "index with numbers": (index(lambda places: places.update({NORM: 3})), f"{INDEX}: weight_map must give"),
    "index out of the folder": (
        index(lambda places: places.update({NORM: "../other.safetensors"})), f"{INDEX}: names '../other.safetensors'",
    ),
    "index naming what a shard lacks": (
        index(lambda places: places.update(extra=places[NORM])), "model-\\d+-of-\\d+.safetensors: lacks 'extra'",
    ),
    "index of another model": (
        index(lambda places: [places.pop(name) for name, place in list(places.items()) if "00002" in place]),
        "model-00002-of-\\d+.safetensors: does not belong",
    ),
}  # fmt: skip
"""Damage to a folder whose weights are in several files."""
