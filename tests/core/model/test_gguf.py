"""GGUF files: what is read of them, what they become, and what is said of those that cannot be read."""

import shutil
import struct
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_gguf
import torch
from gguf import GGMLQuantizationType as Type
from gguf import GGUFReader, GGUFWriter, quants
from transformers import AutoConfig, PreTrainedModel
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from neurontune_core import artifacts
from neurontune_core.errors import InputError
from neurontune_core.model import gguf, gguf_conversion
from neurontune_core.model import load as loading
from neurontune_core.model.load import load_files
from neurontune_core.model.settings import ModelConfig
from neurontune_core.model.source import ModelReference, conversion_key, describe, skeleton

IDS = torch.tensor([[72, 105, 256, 40, 41, 42]])
GEMMA = {"tie_word_embeddings": True, "query_pre_attn_scalar": 256}  # as the converter expects


def converted(file: Path, root: Path) -> tuple[ModelReference, PreTrainedModel, Any]:
    reference = describe(ModelConfig(name=str(file)))
    return reference, *load_files(reference, str(root), "auto")


@pytest.mark.parametrize("parts", [1, 3])
@pytest.mark.parametrize(
    ("kind", "dtype", "dequantised"),
    [
        ("F32", torch.float32, ""),
        ("F16", torch.float16, ""),
        ("BF16", torch.bfloat16, ""),
        ("Q8_0", torch.float32, "Q8_0"),
    ],
)
@pytest.mark.parametrize("family", ["llama", "qwen2"])
def test_weights_are_what_was_stored(
    tmp_path: Path, family: str, kind: str, dtype: torch.dtype, dequantised: str, parts: int
) -> None:
    original = tiny_gguf.model(family, dtype)
    file = tiny_gguf.write(tmp_path / "model.gguf", original, kind, parts)
    reference, model, tokenizer = converted(file, tmp_path / "root")
    assert (reference.dequantised, model.dtype, reference.neurons_per_layer) == (dequantised, dtype, (64, 64))
    meant = original.state_dict()
    assert set(meant) == set(model.state_dict())
    for name, weight in model.state_dict().items():
        stored = meant[name].float().numpy()
        if dequantised and weight.dim() == 2:
            # of queries and keys the rows are in another order in the file: each is quantised alone
            stored = quants.dequantize(quants.quantize(stored, Type.Q8_0), Type.Q8_0)
        assert np.array_equal(weight.float().numpy(), stored), name
    text = tokenizer.apply_chat_template([{"role": "user", "content": "hehe"}], tokenize=False)
    assert text == "<|user|>hehe<|end|>" and tokenizer(text)["input_ids"] == [257, 260, 260, 256]
    assert (tokenizer.eos_token_id, len(tokenizer)) == (256, 264)


@pytest.mark.parametrize(("family", "settings"), [("qwen3", {}), ("gemma2", GEMMA), ("gemma3_text", GEMMA)])
@torch.no_grad()
def test_other_families_give_the_same_logits(tmp_path: Path, family: str, settings: dict[str, Any]) -> None:
    original = tiny_gguf.model(family, **settings)
    gguf_conversion.convert_to_folder(
        gguf.read_header(tiny_gguf.write(tmp_path / "m.gguf", original)), make(tmp_path / "folder")
    )
    model = type(original).from_pretrained(tmp_path / "folder").eval()
    assert torch.allclose(model(IDS).logits, original(IDS).logits, atol=1e-4)


def make(folder: Path) -> Path:
    folder.mkdir()
    return folder


def test_a_file_is_converted_once_wherever_it_is_and_whatever_it_is_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = tiny_gguf.write(tmp_path / "one.gguf", tiny_gguf.model("llama"))
    other = Path(shutil.copy(one, make(tmp_path / "elsewhere") / "other.GGUF"))
    reference, model, _ = converted(one, tmp_path / "root")
    monkeypatch.setattr(loading, "convert_to_folder", None)  # a second conversion would call it
    hashed, hash_of = Counter[str](), artifacts._stored_digest

    def counted(filesystem: Any, path: str) -> str:
        hashed[path] += 1
        return hash_of(filesystem, path)

    monkeypatch.setattr(artifacts, "_stored_digest", counted)
    again, same, _ = converted(other, tmp_path / "root")
    assert hashed and set(hashed.values()) == {1}, "the weights are hashed once a load"
    assert (again.identity, again.name) == (reference.identity, str(other))
    assert torch.equal(model(IDS).logits, same(IDS).logits)
    assert artifacts.find(str(tmp_path / "root"), "model", conversion_key(reference.weights)) is not None


def test_the_copy_of_a_file_that_its_conversion_needs_is_known(tmp_path: Path) -> None:
    file = tiny_gguf.write(tmp_path / "one.gguf", tiny_gguf.model("llama"))
    found = loading.conversion(describe(ModelConfig(name=str(file))), str(tmp_path / "root"))
    assert found and found.temporary_bytes == file.stat().st_size and found.stored_bytes > 0


def test_a_split_model_is_named_by_any_part(tmp_path: Path) -> None:
    first = tiny_gguf.write(tmp_path / "m.gguf", tiny_gguf.model("llama"), parts=3)
    parts = sorted(tmp_path.glob("m-*.gguf"))
    assert parts[0] == first and len(parts) == 3
    assert len({describe(ModelConfig(name=str(part))).identity for part in parts}) == 1
    parts[1].rename(tmp_path / "away")
    for part in (parts[0], parts[2]):
        with pytest.raises(InputError, match=r"m-00002-of-00003\.gguf of the split file is missing .*all 3 parts"):
            describe(ModelConfig(name=str(part)))
    shutil.copy(parts[2], parts[1])
    with pytest.raises(InputError, match=r"m-00002-of-00003\.gguf says it is part 3 of 3; keep all parts"):
        describe(ModelConfig(name=str(first)))
    with pytest.raises(InputError, match=r"renamed\.gguf says it is part 3 of 3"):
        describe(ModelConfig(name=str(shutil.copy(parts[2], tmp_path / "renamed.gguf"))))


def test_paths_may_be_relative_or_begin_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tiny_gguf.write(tmp_path / "m.gguf", tiny_gguf.model("llama"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for name in ("~/m.gguf", "m.gguf", "./m.gguf", str(file)):
        assert describe(ModelConfig(name=name)).name == str(file)


def test_files_beside_a_model_are_not_its_tokenizer(tmp_path: Path) -> None:
    file = tiny_gguf.write(tmp_path / "m.gguf", tiny_gguf.model("qwen2"))
    (tmp_path / "chat_template.jinja").write_text("another")
    (tmp_path / "tokenizer_config.json").write_text('{"eos_token": "another"}')
    _, _, tokenizer = converted(file, tmp_path / "root")
    assert tokenizer.chat_template == tiny_gguf.TEMPLATE and tokenizer.eos_token == "<|end|>"


def test_a_header_is_what_the_gguf_package_reads(tmp_path: Path) -> None:
    file = tiny_gguf.write(tmp_path / "m.gguf", tiny_gguf.model("llama"), "Q8_0", metadata={"a.number": 1.5, "b": "é"})
    header, reader = gguf.read_header(file), GGUFReader(file)
    ours = [(t.name, t.dimensions, t.kind, t.start, t.size) for t in header.tensors]
    theirs = [(t.name, tuple(t.shape.tolist()), t.tensor_type, t.data_offset, t.n_bytes) for t in reader.tensors]
    assert ours == theirs
    assert set(header.metadata) == {key for key in reader.fields if not key.startswith("GGUF.")}
    assert (header.metadata["a.number"], header.metadata["b"]) == (1.5, "é")
    assert header.metadata["tokenizer.ggml.tokens"] == 264


def test_biases_that_a_family_may_have_are_kept(tmp_path: Path) -> None:
    original = tiny_gguf.model("qwen3", attention_bias=True)
    file = tiny_gguf.write(tmp_path / "m.gguf", original)
    assert gguf_conversion.gguf_configuration(gguf.read_header(file)).attention_bias
    gguf_conversion.convert_to_folder(gguf.read_header(file), make(tmp_path / "folder"))
    model = type(original).from_pretrained(tmp_path / "folder").eval()
    assert torch.allclose(model(IDS).logits, original(IDS).logits, atol=1e-4)


def rotary(factor: float, original: int = 8192) -> Any:
    """The factors that llama.cpp's converter writes for a model whose positions are extended as in Llama 3."""
    shape = AutoConfig.for_model("llama", hidden_size=128, num_attention_heads=2, head_dim=64)
    extended = {"factor": factor, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
    shape.rope_parameters = {
        "rope_type": "llama3", "rope_theta": 10000.0, "original_max_position_embeddings": original, **extended
    }  # fmt: skip
    scaled, _ = ROPE_INIT_FUNCTIONS["llama3"](shape, torch.device("cpu"))
    return (1 / 10000.0 ** (torch.arange(0, 64, 2).float() / 64) / scaled).numpy().astype(np.float32)


def test_extended_positions_are_understood_or_refused(tmp_path: Path) -> None:
    original = tiny_gguf.model("llama", hidden_size=128, num_attention_heads=2, num_key_value_heads=2, head_dim=64)

    def positions(name: str, **written: Any) -> dict[str, Any]:
        header = gguf.read_header(tiny_gguf.write(tmp_path / f"{name}.gguf", original, **written))
        return dict(gguf_conversion.gguf_configuration(header).rope_parameters)

    assert positions("plain")["rope_type"] == "default"
    assert positions("ones", tensors={"rope_freqs.weight": np.ones(32, np.float32)})["rope_type"] == "default"
    found = positions("llama3", tensors={"rope_freqs.weight": rotary(32.0)})
    assert (found["rope_type"], found["original_max_position_embeddings"]) == ("llama3", 8192)
    assert found["factor"] == pytest.approx(32.0)
    linear = {"llama.rope.scaling.type": "linear", "llama.rope.scaling.factor": 4.0}
    assert positions("linear", metadata=linear)["factor"] == 4.0
    with pytest.raises(InputError, match=r"own\.gguf extends its positions by its own factors \(rope_freqs"):
        positions("own", tensors={"rope_freqs.weight": rotary(32.0, original=1024)})
    with pytest.raises(InputError, match=r"long\.gguf extends its positions by 'longrope'"):
        positions("long", metadata={"llama.rope.scaling.type": "longrope"})


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ({"tokenizer": False}, "has no tokenizer"),
        ({"tensors": {"token_embd.weight": None}}, r"has no token embedding \(token_embd\.weight\)"),
        ({"metadata": {"general.type": "mmproj"}}, "is the projector of a multimodal model"),
        ({"metadata": {"general.type": "adapter"}}, "holds a model's adapter, not a model"),
    ],
)
def test_files_without_a_chat_model_are_explained(tmp_path: Path, written: dict[str, Any], message: str) -> None:
    file = tiny_gguf.write(tmp_path / "m.gguf", tiny_gguf.model("llama"), **written)
    for use in (describe, skeleton):
        with pytest.raises(InputError, match=rf"model\.name: .*m\.gguf {message}"):
            use(ModelConfig(name=str(file)))


def other_architecture(path: Path, name: str) -> Path:
    writer = GGUFWriter(path, name)
    writer.add_block_count(2)
    tiny_gguf.add_tokenizer(writer)
    writer.add_tensor("token_embd.weight", np.zeros((264, 32), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("bert", r"has architecture 'bert', which transformers cannot read"),
        ("no-such", r"has architecture 'no-such', which transformers cannot read"),
        ("clip", "is the projector of a multimodal model"),
        ("t5encoder", "cannot be made a causal language model|has architecture 't5encoder'"),
    ],
)
def test_architectures_that_are_no_decoder_are_explained(tmp_path: Path, name: str, message: str) -> None:
    file = other_architecture(tmp_path / "m.gguf", name)
    with pytest.raises(InputError, match=message):
        describe(ModelConfig(name=str(file)))


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"blk.1.ffn_up.weight": None}, r"m\.gguf: lacks 'model\.layers\.1\.mlp\.up_proj\.weight'"),
        ({"blk.1.ffn_up.weight": np.zeros((32, 32), np.float32)}, r"m\.gguf"),
        ({"blk.0.surprise.weight": np.zeros((32, 32), np.float32)}, r"m\.gguf holds blk\.0\.surprise\.weight"),
    ],
)
def test_weights_that_do_not_fit_are_explained(tmp_path: Path, tensors: dict[str, Any], message: str) -> None:
    file = tiny_gguf.write(tmp_path / "m.gguf", tiny_gguf.model("qwen2"), tensors=tensors)
    with pytest.raises(InputError, match=message):
        converted(file, tmp_path / "root")
    assert not list((tmp_path / "root" / "model").glob("*"))


def damage(content: bytes) -> dict[str, tuple[bytes, str]]:
    version = content[:4] + struct.pack(">I", 3) + content[8:]
    return {
        "empty": (b"", "is not a GGUF file"),
        "text": (b"# A model\n" * 9, "is not a GGUF file: it starts with b'# A '"),
        "pointer": (b"version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer.*git lfs pull"),
        "big-endian": (version, "has version 50331648, not 2 or 3"),
        "short": (content[:-100], r"is cut off: by its header it has \d+ bytes"),
        "header": (content[:700], "is cut off or damaged within its header"),
        "start": (content[:10], "is cut off or damaged within its header"),
        "count": (content[:8] + b"\xff" * 8 + content[16:], "is cut off or damaged|is not a GGUF file|formats?"),
    }


@pytest.mark.parametrize("kind", list(damage(b"")))
def test_damaged_files_are_explained(tmp_path: Path, kind: str) -> None:
    file = tiny_gguf.write(tmp_path / "m.gguf", tiny_gguf.model("llama"))
    content, message = damage(file.read_bytes())[kind]
    file.write_bytes(content)
    with pytest.raises(InputError, match=rf"^model\.name: .*m\.gguf.*{message}") as caught:
        describe(ModelConfig(name=str(file)))
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_explained(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^model\.name: '.*gone\.gguf' does not exist; give a folder, a GGUF file"):
        describe(ModelConfig(name=str(tmp_path / "gone.gguf")))


def test_a_file_that_changes_under_a_run_is_refused(tmp_path: Path) -> None:
    file = tiny_gguf.write(tmp_path / "m.gguf", tiny_gguf.model("llama"))
    reference = describe(ModelConfig(name=str(file)))
    tiny_gguf.write(file, tiny_gguf.model("qwen2"))
    with pytest.raises(InputError, match=r"m\.gguf has changed since the run checked it"):
        load_files(reference, str(tmp_path / "root"), "auto")


def test_formats_are_named_by_how_many_weights_they_hold(tmp_path: Path) -> None:
    header = gguf.read_header(tiny_gguf.write(tmp_path / "m.gguf", tiny_gguf.model("llama"), "Q8_0"))
    kinds = [type(header.tensors[0].kind)[name] for name in ("Q4_K", "Q6_K", "Q8_0", "F32")]

    def named(*sizes: int) -> str:
        tensors = [replace(header.tensors[0], kind=k, dimensions=(n,)) for k, n in zip(kinds, sizes, strict=False) if n]
        return replace(header, tensors=tuple(tensors)).dequantised

    assert named(2, 1, 0, 5) == "Q4_K and Q6_K"
    assert named(1, 2, 3) == "Q8_0, Q6_K and Q4_K"
    assert named(0, 0, 1) == "Q8_0" and named(0, 0, 0, 1) == ""
