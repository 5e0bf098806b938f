"""Every kind of broken model folder is told in one line, with its file, before anything is computed."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from broken_folders import CONFIG, HEAD, NORM, SHARDED, TOKENIZER, WEIGHTS, WHOLE, Damage, fields, good, weights
from safetensors.torch import save
from transformers import AutoConfig, AutoModelForCausalLM, BartConfig

from neurontune_core.errors import InputError
from neurontune_core.model import source, tiny
from neurontune_core.model.checks.config import build_skeleton, check_run
from neurontune_core.model.checks.folder import check_model_folder
from neurontune_core.model.load import load
from neurontune_core.model.settings import ModelConfig

CPU = torch.device("cpu")
IDS = torch.tensor([[72, 101, 108, 108, 111]])


def told(folder: Path, **settings: Any) -> str:
    """Return what is told of a folder; it must be one line that names the model."""
    with pytest.raises(InputError) as error:
        source.describe(ModelConfig(name=str(folder), **settings))
    text = str(error.value)
    assert "\n" not in text and len(text) < 400 and text.isprintable() and text.startswith("model.")
    return text


@pytest.mark.parametrize(("damage", "message"), WHOLE.values(), ids=WHOLE)
def test_a_broken_folder_is_told(tmp_path: Path, damage: Damage, message: str) -> None:
    damage(good(tmp_path / "m"))
    with pytest.raises(InputError, match=f"^model.name: '.*/m': .*({message})"):
        raise InputError(told(tmp_path / "m"))


@pytest.mark.parametrize(("damage", "message"), SHARDED.values(), ids=SHARDED)
def test_broken_shards_are_told(tmp_path: Path, damage: Damage, message: str) -> None:
    damage(good(tmp_path / "m", shards=True))
    with pytest.raises(InputError, match=message):
        raise InputError(told(tmp_path / "m"))


@pytest.mark.parametrize("family", tiny.FAMILIES)
@torch.no_grad()
def test_a_good_folder_passes_and_loads_what_was_saved(tmp_path: Path, family: str) -> None:
    folder = good(tmp_path / "m", family, shards=family == "qwen3")
    check_model_folder(folder, ModelConfig(name=str(folder), system_prompt="Be brief."))
    chat = load(source.describe(ModelConfig(name=str(folder))), str(tmp_path / "root"), CPU)
    assert torch.equal(chat.model(IDS).logits, tiny.model(family)(IDS).logits)


def without_template(folder: Path) -> None:
    (folder / "chat_template.jinja").unlink()


def with_a_default(folder: Path) -> None:
    template = (folder / "chat_template.jinja").read_text()
    without_template(folder)
    named = [{"name": "default", "template": template}, {"name": "rag", "template": "{{ messages.x.y }}"}]
    fields("tokenizer_config.json", chat_template=named)(folder)


def with_image_tokens(folder: Path) -> None:
    """As Gemma 3 1B: its tokenizer knows a token for images, for which the text-only model has no row."""
    filler = [{"id": number, "content": f"<image {number}>"} for number in range(260, 270)]
    same = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    content = json.loads((folder / TOKENIZER).read_text())
    fields(TOKENIZER, added_tokens=[*content["added_tokens"], *({**token, **same} for token in filler)])(folder)


def without_prefix(folder: Path) -> None:
    """As a checkpoint of the base model: no `model.` before the names, the head tied to the embedding."""

    def rename(held: dict[str, torch.Tensor]) -> None:
        del held[HEAD]
        for name in list(held):
            held[name.removeprefix("model.")] = held.pop(name)

    weights(rename)(folder)
    fields(CONFIG, tie_word_embeddings=True)(folder)


def length_to_0x80(held: dict[str, torch.Tensor]) -> int:
    """Return how long a further weight's name must be for the first byte of the file to be 0x80."""
    return next(
        n for n in range(1, 300) if save({**held, f"mtp.{'x' * n}": torch.ones(1)}, {"format": "pt"})[0] == 0x80
    )


HARMLESS: dict[str, Damage] = {
    "no chat template": without_template,
    "several templates and a default": with_a_default,
    "tokens of images beyond the rows": with_image_tokens,
    "no prefix and a tied head": without_prefix,
    "rotary constants of older versions": weights(
        lambda held: held.update({"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(4)})
    ),
    "no generation settings": lambda folder: (folder / "generation_config.json").unlink(),
    "code that is not needed": fields(CONFIG, auto_map={"AutoModelForCausalLM": "modeling.Mine"}),
    "quantisation of nothing": fields(CONFIG, quantization_config=None),
    "weights in half precision": weights(lambda held: held.update({n: w.half() for n, w in held.items()})),
    "files of other tools": lambda folder: (folder / "consolidated.safetensors").write_bytes(b"x"),
    "a header whose length looks like the sign of a pickle": weights(
        lambda held: held.update({f"mtp.{'x' * length_to_0x80(held)}": torch.ones(1)})
    ),
    "a template with the date": lambda folder: (folder / "chat_template.jinja").write_text(
        "{{ strftime_now('%d %b %Y') }}{{ messages[-1].content }}"
    ),
    "a readme": lambda folder: (folder / "README.md").write_text("<html>"),
}


@pytest.mark.parametrize("change", HARMLESS.values(), ids=HARMLESS)
def test_what_harms_nothing_passes(tmp_path: Path, change: Damage) -> None:
    folder = good(tmp_path / "m")
    change(folder)
    reference = source.describe(ModelConfig(name=str(folder)))
    assert load(reference, str(tmp_path / "root"), CPU).prompt_tokens("Why?")


@pytest.mark.parametrize("family", ["mixtral", "qwen3_moe"])
def test_a_missing_expert_is_told(tmp_path: Path, family: str) -> None:
    folder = good(tmp_path / "m", family)
    weights(lambda held: held.pop(next(name for name in held if ".experts.1." in name)))(folder)
    assert f"{WEIGHTS}: " in told(folder)


def test_a_file_a_locked_folder_and_a_lost_link_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("x")
    assert "is a file, not a model folder" in told(tmp_path / "file")
    folder = good(tmp_path / "m")
    (folder / WEIGHTS).rename(tmp_path / "elsewhere")
    (folder / WEIGHTS).symlink_to(tmp_path / "nowhere")
    assert f"{WEIGHTS}: is missing" in told(folder)
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert "the folder cannot be read" in told(folder)


def test_an_encoder_with_a_decoder_is_told(tmp_path: Path) -> None:
    shape = {"vocab_size": 264, "d_model": 16, "encoder_layers": 1, "decoder_layers": 1}
    AutoModelForCausalLM.from_config(BartConfig(**shape)).save_pretrained(tmp_path / "m")
    BartConfig(**shape).save_pretrained(tmp_path / "m")
    tiny.tokenizer().save_pretrained(tmp_path / "m")
    assert "'bart' is an encoder with a decoder" in told(tmp_path / "m")


def test_a_system_prompt_the_template_has_no_place_for_is_told(tmp_path: Path) -> None:
    folder = good(tmp_path / "m")
    (folder / "chat_template.jinja").write_text("{{ messages[-1].content }}:")
    source.describe(ModelConfig(name=str(folder)))
    assert told(folder, system_prompt="Be brief.").startswith("model.system_prompt: ")
    (folder / "chat_template.jinja").write_text(
        "{% if messages[0].role == 'system' %}{{ raise_exception('no') }}{% endif %}{{ messages[-1].content }}:"
    )
    assert told(folder, system_prompt="Be brief.").startswith("model.system_prompt: ")


def test_names_are_told_without_control_characters(tmp_path: Path) -> None:
    folder = good(tmp_path / "\x1b[31m red")
    fields(CONFIG, hidden_act="\x1b[2Jwipe")(folder)
    assert "wipe" in told(folder)


def test_tracing_is_left_as_it_was(tmp_path: Path) -> None:
    folder = good(tmp_path / "m")

    def trace(*_: Any) -> Callable[..., Any]:
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        check_model_folder(folder, ModelConfig(name=str(folder)))
        assert sys.gettrace() is trace
    finally:
        sys.settrace(before)


@pytest.mark.parametrize(("value", "problem"), [(float("nan"), "holds NaN"), (float("-inf"), "holds infinity")])
def test_numbers_that_are_not_finite_are_told_when_loaded(tmp_path: Path, value: float, problem: str) -> None:
    folder = good(tmp_path / "m")
    weights(lambda held: held[NORM].__setitem__(3, value))(folder)
    reference = source.describe(ModelConfig(name=str(folder)))
    with pytest.raises(InputError, match=f"'{NORM}' {problem}"):
        load(reference, str(tmp_path / "root"), CPU)


def test_weights_of_zeros_are_told_when_loaded(tmp_path: Path) -> None:
    folder = good(tmp_path / "m")
    weights(lambda held: [weight.zero_() for weight in held.values()])(folder)
    reference = source.describe(ModelConfig(name=str(folder)))
    with pytest.raises(InputError, match="gives every next token the same probability"):
        load(reference, str(tmp_path / "root"), CPU)


def test_a_number_format_too_narrow_is_told(tmp_path: Path) -> None:
    folder = good(tmp_path / "m")
    weights(lambda held: held[NORM].__setitem__(3, 1e20))(folder)
    reference = source.describe(ModelConfig(name=str(folder), dtype="float16"))
    with pytest.raises(InputError, match=f"'{NORM}' holds infinity in float16; .*model.dtype"):
        load(reference, str(tmp_path / "root"), CPU)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda held: held.pop(NORM), f"lacks '{NORM}'"),
        (lambda held: held.update(extra=torch.ones(1)), "holds 'extra'"),
        (lambda held: held.update({NORM: torch.ones(16)}), f"'{NORM}' has the shape"),
    ],
)
def test_weights_changed_after_the_checks_are_told_when_loaded(
    tmp_path: Path, change: Callable[[dict[str, torch.Tensor]], object], problem: str
) -> None:
    folder = good(tmp_path / "m")
    reference = source.describe(ModelConfig(name=str(folder)))
    weights(change)(folder)
    with pytest.raises(InputError, match=problem):
        load(reference, str(tmp_path / "root"), CPU)


@pytest.mark.parametrize("change", ["a weight", "logits that are not finite"])
def test_other_logits_on_a_second_load_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    folder = good(tmp_path / "m")
    reference = source.describe(ModelConfig(name=str(folder)))
    load(reference, str(tmp_path / "root"), CPU)
    load(reference, str(tmp_path / "root"), CPU)
    scale = 9.0 if change == "a weight" else 1e38
    weights(lambda held: [held[name].mul_(scale) for name in (HEAD, NORM)])(folder)
    told = "different logits every time it is loaded" if change == "a weight" else "not finite"
    with pytest.raises(InputError, match=f"^model.name: '.*/m': gives .*{told}"):
        load(reference, str(tmp_path / "root"), CPU)


@pytest.mark.parametrize("form", ["{}/nosuch", "~/nosuch", "./nosuch", "../nosuch/model"])
def test_a_path_to_nothing_is_told_and_not_looked_up_on_the_hub(tmp_path: Path, form: str) -> None:
    with pytest.raises(InputError, match=r"^model.name: '.*' does not exist; give a folder, a GGUF file, a hub id or"):
        source.describe(ModelConfig(name=form.format(tmp_path)))


def test_a_model_without_a_chat_template_is_told_once_how_prompts_are_written(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name, damage in (("plain", without_template), ("chat", lambda _: None)):
        folder = good(tmp_path / name)
        damage(folder)
        for _ in range(2):
            source.describe(ModelConfig(name=str(folder)))
    (line,) = caplog.messages
    assert "plain has no chat template" in line and "User: ... / Assistant:" in line and "chat_template.jinja" in line


def test_a_model_that_generates_with_a_cache_of_its_own_is_told_as_such() -> None:
    """Its config.json is right, so nothing in it is to be corrected."""
    usual = tiny.configuration("mixtral").to_dict()
    names = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
             "num_key_value_heads", "num_local_experts", "pad_token_id")  # fmt: skip
    config = AutoConfig.for_model("minimax", **{name: usual[name] for name in names})
    with pytest.raises(InputError, match=r"MiniMaxForCausalLM needs a cache of its own kind.*choose another decoder"):
        check_run(build_skeleton(config))
