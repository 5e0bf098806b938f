"""A GGUF file, whole or in parts, is the model it was written from."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType as Type
from gguf import GGUFWriter, quants

from neurontune_core.config import ModelConfig
from neurontune_core.errors import InputError
from neurontune_core.model import gguf, load
from neurontune_core.model.source import conversion_key, describe

CPU = torch.device("cpu")
HIDDEN, NEURONS, LAYERS, HEADS = 32, 64, 2, 4
TOKENS = [*(chr(code) for code in range(33, 127)), "ab", *(f"<{n}>" for n in range(2))]
Written = Callable[..., Path]


def weights(kind: Type) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    shapes = {"token_embd.weight": (len(TOKENS), HIDDEN), "output.weight": (len(TOKENS), HIDDEN)}
    for layer in range(LAYERS):
        block = f"blk.{layer}."
        shapes |= {f"{block}attn_{name}.weight": (HIDDEN, HIDDEN) for name in ("q", "k", "v", "output")}
        shapes |= {f"{block}ffn_{name}.weight": (NEURONS, HIDDEN) for name in ("gate", "up")}
        shapes |= {f"{block}ffn_down.weight": (HIDDEN, NEURONS)}
        shapes |= {f"{block}{name}.weight": (HIDDEN,) for name in ("attn_norm", "ffn_norm")}
    shapes |= {"output_norm.weight": (HIDDEN,)}
    return {name: generator.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def write(
    folder: Path, name: str = "model.gguf", kind: Type = Type.F32, parts: int = 1, architecture: str = "llama",
    tokenizer: bool = True, leave_out: str = "",
) -> Path:  # fmt: skip
    writer = GGUFWriter(folder / name, architecture, split_max_tensors=9 if parts > 1 else 0)
    writer.add_name("tiny")
    writer.add_context_length(128)
    writer.add_embedding_length(HIDDEN)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(NEURONS)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(TOKENS))
    if tokenizer:
        writer.add_tokenizer_model("gpt2")
        writer.add_token_list(TOKENS)
        writer.add_token_types([1] * (len(TOKENS) - 2) + [3, 3])
        writer.add_token_merges(["a b"])
        writer.add_eos_token_id(len(TOKENS) - 1)
        writer.add_chat_template("{% for m in messages %}{{ m['content'] }}<0>{% endfor %}")
    for tensor, values in weights(kind).items():
        if tensor == leave_out:
            continue
        plain = kind == Type.F32 or values.ndim == 1
        stored = values if plain else quants.quantize(values, kind)
        writer.add_tensor(tensor, stored, raw_dtype=None if plain else kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return sorted(folder.glob(f"{Path(name).stem}*.gguf"))[0]


@pytest.mark.parametrize(
    ("kind", "dtype", "dequantised"),
    [
        (Type.F32, torch.float32, ""),
        (Type.F16, torch.float16, ""),
        (Type.BF16, torch.bfloat16, ""),
        (Type.Q8_0, torch.float32, "Q8_0"),
    ],
)
def test_weights_are_those_of_the_file(tmp_path: Path, kind: Type, dtype: torch.dtype, dequantised: str) -> None:
    file = write(tmp_path, kind=kind)
    root = str(tmp_path / "root")
    reference = describe(ModelConfig(name=str(file)))
    assert reference.neurons_per_layer == (NEURONS,) * LAYERS and reference.dequantised == dequantised
    model, tokenizer = load.load_files(reference, root, "auto")
    assert model.dtype == dtype
    stored = weights(kind)["blk.1.ffn_down.weight"]
    expected = stored if kind == Type.F32 else quants.dequantize(quants.quantize(stored, kind), kind)
    found = model.get_parameter("model.layers.1.mlp.down_proj.weight").detach().float().numpy()
    np.testing.assert_array_equal(found, expected)
    assert tokenizer.chat_template is not None and tokenizer.eos_token_id == len(TOKENS) - 1
    # from now on the header is read from the conversion
    assert describe(ModelConfig(name=str(file)), root) == reference


def test_a_split_file_is_the_whole_one(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "many").mkdir()
    whole, part = write(tmp_path / "one"), write(tmp_path / "many", parts=3)
    parts = gguf.parts_of(part)
    assert len(parts) == 3 and gguf.parts_of(parts[2]) == parts
    models = [
        load.load_files(describe(ModelConfig(name=str(file))), str(tmp_path / "root"), "auto")[0]
        for file in (whole, parts[1])
    ]
    for one, other in zip(models[0].state_dict().values(), models[1].state_dict().values(), strict=True):
        assert torch.equal(one, other)
    parts[1].unlink()
    with pytest.raises(InputError, match=r"there is no file .*00002-of-00003\.gguf \(3 parts are needed"):
        describe(ModelConfig(name=str(parts[0])))


def test_a_copy_elsewhere_is_the_same_model(tmp_path: Path) -> None:
    file = write(tmp_path)
    copy = tmp_path / "other.gguf"
    copy.write_bytes(file.read_bytes())
    assert describe(ModelConfig(name=str(file))).identity == describe(ModelConfig(name=str(copy))).identity
    assert conversion_key("a") != conversion_key("b")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda folder: write(folder, architecture="clip"), "cannot be read by transformers"),
        (lambda folder: write(folder, tokenizer=False), "holds no tokenizer"),
        (lambda folder: cut(write(folder), 0.6), "cut off or damaged"),
        (lambda folder: cut(write(folder), 0.001), "cut off or damaged"),
        (lambda folder: text(folder, "version https://git-lfs.github.com/spec/v1\n"), "Git LFS pointer"),
        (lambda folder: text(folder, "<html>"), "is no GGUF file"),
        (lambda folder: text(folder, ""), "is no GGUF file"),
        (lambda folder: folder / "missing.gguf", "there is no file"),
    ],
)
def test_a_file_that_cannot_be_used_is_told_in_one_line(
    tmp_path: Path, damage: Callable[[Path], Path], words: str
) -> None:
    file = damage(tmp_path)
    with pytest.raises(InputError) as caught:
        describe(ModelConfig(name=str(file)))
    message = str(caught.value)
    assert message.startswith(f"model.name: {'there is no file ' if 'missing' in file.name else ''}{file}")
    assert words in message and "\n" not in message


def test_a_missing_weight_is_named(tmp_path: Path) -> None:
    reference = describe(ModelConfig(name=str(write(tmp_path, leave_out="blk.1.ffn_up.weight"))))
    with pytest.raises(InputError, match=r"model\.gguf: lacks .*layers\.1\.mlp\.up_proj\.weight"):
        load.load_files(reference, str(tmp_path / "root"), "auto")


def cut(file: Path, share: float) -> Path:
    content = file.read_bytes()
    file.write_bytes(content[: int(share * len(content))])
    return file


def text(folder: Path, content: str) -> Path:
    file = folder / "model.gguf"
    file.write_text(content)
    return file
