"""The exported folder: the tuned model in plain transformers, and everything else the base model's."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from neurontune_core import neurons
from neurontune_core.errors import InputError, NumericalError
from neurontune_core.export import folder as exporting
from neurontune_core.export.folder import write_folder
from neurontune_core.model import source, tiny
from neurontune_core.model.settings import ModelConfig

PLAIN = """
import sys
for name in ("neurontune_core", "tasks", "flows", "prefect", "mlflow"):
    sys.modules[name] = None  # any import of it fails
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
folder = sys.argv[1]
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForCausalLM.from_pretrained(folder)
ids = tokenizer.apply_chat_template([{"role": "user", "content": "Hello there"}], add_generation_prompt=True,
                                    return_tensors="pt", return_dict=True)
print(tokenizer.decode(ids["input_ids"][0]))
with torch.no_grad():
    torch.save(model(**ids).logits, sys.argv[2])
"""


@pytest.mark.parametrize("family", ["llama", "gpt2", "phi3", "gpt_neox", "opt", "gemma2", *tiny.EXPERTS])
def test_written_model_is_the_hooked_one(family, base_folder, factors, tmp_path):
    base = base_folder(family)
    (tmp_path / "readable").touch()
    target = tmp_path / "made" / "tuned"
    check = write_folder(target, factors, base, str(tmp_path / "root"), {"run": "r"}, card="# A model\n")
    assert check.folded < 1e-5 and check.written < 1e-5 and check.float32 < 1e-4
    assert check.effect > 1e-2
    assert (target / "README.md").read_text() == "# A model\n"
    assert json.loads((target / "neurontune.json").read_text())["origin"] == {"run": "r"}
    assert {path.stat().st_mode & 0o444 for path in target.iterdir()} == {
        (tmp_path / "readable").stat().st_mode & 0o444
    }
    assert not list(target.glob("*.bin")) and [path.name for path in target.parent.iterdir()] == ["tuned"]
    ids = torch.arange(22).view(2, 11)
    plain = AutoModelForCausalLM.from_pretrained(base.name)
    tuned = AutoModelForCausalLM.from_pretrained(target)
    with torch.no_grad(), neurons.scaled(plain, factors.neurons, torch.from_numpy(factors.alpha)):
        torch.testing.assert_close(tuned(input_ids=ids).logits, plain(input_ids=ids).logits, rtol=0, atol=1e-4)


@pytest.mark.slow
def test_plain_transformers_loads_it_without_this_project(base_folder, factors, tmp_path):
    base = base_folder("llama")
    write_folder(tmp_path / "tuned", factors, base, str(tmp_path / "root"), {})
    command = [sys.executable, "-c", PLAIN, str(tmp_path / "tuned"), str(tmp_path / "logits.pt")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "<|user|>Hello there<|end|><|assistant|>\n"
    model, tokenizer = AutoModelForCausalLM.from_pretrained(base.name), AutoTokenizer.from_pretrained(base.name)
    ids = torch.tensor([tokenizer(done.stdout.strip())["input_ids"]])
    with torch.no_grad(), neurons.scaled(model, factors.neurons, torch.from_numpy(factors.alpha)):
        expected = model(input_ids=ids).logits
    logits = torch.load(tmp_path / "logits.pt", weights_only=True)
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-4)


def test_number_format_tied_weights_and_generation_settings_are_kept(base_folder, factors, tmp_path):
    # a temperature without sampling: transformers itself would refuse to save it
    base = base_folder("llama", torch.bfloat16, tied=True, temperature=0.6, top_p=0.9, eos_token_id=[256, 258])
    check = write_folder(tmp_path / "tuned", factors, base, str(tmp_path / "root"), {})
    assert check.dtype == "bfloat16" and check.folded < 1e-5 < check.written < 0.1
    weights, before = (
        load_file(tmp_path / "tuned" / "model.safetensors"),
        load_file(Path(base.name) / "model.safetensors"),
    )
    assert set(weights) == set(before) and "lm_head.weight" not in weights
    changed = {name for name in weights if not torch.equal(weights[name], before[name])}
    assert changed == {f"model.layers.{layer}.mlp.down_proj.weight" for layer in (0, 1)}
    assert {tensor.dtype for tensor in weights.values()} == {torch.bfloat16}
    found, wanted = (json.loads((Path(place) / "config.json").read_text()) for place in (tmp_path / "tuned", base.name))
    assert found == wanted
    settings = GenerationConfig.from_pretrained(tmp_path / "tuned")
    assert (settings.temperature, settings.top_p, settings.eos_token_id) == (0.6, 0.9, [256, 258])
    template = AutoTokenizer.from_pretrained(base.name).chat_template
    assert AutoTokenizer.from_pretrained(tmp_path / "tuned").chat_template == template


def test_several_chat_templates_are_kept_where_anybody_can_read_them(base_folder, factors, tmp_path):
    base = base_folder("llama")
    tokenizer = AutoTokenizer.from_pretrained(base.name)
    tokenizer.chat_template = {"default": tokenizer.chat_template, "tools": "{{ messages[0].content }}"}
    tokenizer.save_pretrained(base.name)
    write_folder(tmp_path / "tuned", factors, base, str(tmp_path / "root"), {})
    assert AutoTokenizer.from_pretrained(tmp_path / "tuned").chat_template == tokenizer.chat_template
    (tmp_path / "new").mkdir()
    for path in (tmp_path / "tuned").rglob("*"):
        if path.is_dir():
            assert path.stat().st_mode == (tmp_path / "new").stat().st_mode, path.name


def test_a_folder_that_is_in_use_is_left_alone(base_folder, factors, tmp_path):
    base = base_folder("llama")
    target = tmp_path / "mine"
    target.mkdir()
    (target / "notes.txt").write_text("keep")
    with pytest.raises(InputError, match="mine is not empty"):
        write_folder(target, factors, base, str(tmp_path / "root"), {})
    with pytest.raises(InputError, match="is a file or a link"):
        write_folder(target / "notes.txt", factors, base, str(tmp_path / "root"), {})
    with pytest.raises(InputError, match=r"notes.txt is a file; name a folder that can be created"):
        write_folder(target / "notes.txt" / "deeper", factors, base, str(tmp_path / "root"), {})
    assert [path.name for path in target.iterdir()] == ["notes.txt"]


def test_wrong_folding_is_noticed_and_nothing_is_left(base_folder, factors, tmp_path, monkeypatch):
    base = base_folder("llama")
    (tmp_path / "empty").mkdir()

    def wrong(model, scaling):
        neurons.down_projections(model)[1].weight.data[0, 47] *= 1.01

    monkeypatch.setattr(exporting.neurons, "fold", wrong)
    with pytest.raises(NumericalError, match="hooked and folded logits differ by"):
        write_folder(tmp_path / "empty", factors, base, str(tmp_path / "root"), {})
    assert {path.name for path in tmp_path.iterdir()} == {"base-llama", "empty"}
    assert not list((tmp_path / "empty").iterdir())


def test_what_is_written_is_what_was_compared_whatever_its_format(base_folder, factors, tmp_path, monkeypatch):
    base = base_folder("llama", torch.bfloat16)
    fold, calls = neurons.fold, []

    def wrong_again(model, scaling):
        fold(model, scaling)
        if calls:
            neurons.down_projections(model)[1].weight.data[0, 47] *= 2
        calls.append(model)

    monkeypatch.setattr(exporting.neurons, "fold", wrong_again)
    write_folder(tmp_path / "tuned", factors, base, str(tmp_path / "root"), {})
    model = AutoModelForCausalLM.from_pretrained(base.name, dtype=torch.float32)
    fold(model, factors)
    weights = load_file(tmp_path / "tuned" / "model.safetensors")
    for layer, module in neurons.down_projections(model).items():
        assert torch.equal(weights[f"model.layers.{layer}.mlp.down_proj.weight"], module.weight.bfloat16())


def test_damage_while_saving_is_noticed(base_folder, factors, tmp_path, monkeypatch):
    base = base_folder("llama")
    save = exporting._save

    def damaging(model, tokenizer, folder):
        with torch.no_grad():
            kept = model.lm_head.weight[0, 0].clone()
            model.lm_head.weight[0, 0] += 1
            save(model, tokenizer, folder)
            model.lm_head.weight[0, 0] = kept

    monkeypatch.setattr(exporting, "_save", damaging)
    with pytest.raises(NumericalError, match=r"1 weights differ when they are read back, .*lm_head"):
        write_folder(tmp_path / "tuned", factors, base, str(tmp_path / "root"), {})
    assert not (tmp_path / "tuned").exists()


@pytest.mark.slow
def test_packaged_smollm2_and_its_conversion_to_gguf(factors, tmp_path, convert_to_gguf):
    base = source.describe(ModelConfig())
    check = write_folder(tmp_path / "tuned", factors, base, str(tmp_path / "root"), {})
    assert check.folded < 1e-4 and check.dtype == "float32"
    config = json.loads((tmp_path / "tuned" / "config.json").read_text())
    assert config["tie_word_embeddings"] and "quantization_config" not in config
    convert_to_gguf(str(tmp_path / "tuned"), "--outfile", str(tmp_path / "tuned.gguf"), "--outtype", "f32")
    converted = AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file="tuned.gguf", dtype=torch.float32)
    written = AutoModelForCausalLM.from_pretrained(tmp_path / "tuned")
    ids = torch.arange(22).view(2, 11)
    with torch.no_grad():
        torch.testing.assert_close(converted(input_ids=ids).logits, written(input_ids=ids).logits, rtol=0, atol=1e-4)
