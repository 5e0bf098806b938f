"""Hidden states and head together give the model's own logits."""

from typing import Any

import pytest
import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from neurontune_core.model import head, tiny

IDS = torch.tensor([[7, 90, 201, 33, 4, 18, 77], [5, 5, 140, 9, 256, 256, 256]])
MASK = torch.tensor([[1, 1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0, 0]])
UNUSUAL: dict[str, dict[str, Any]] = {
    "cohere": {"logit_scale": 0.0625},
    "granite": {"logits_scaling": 8.0},
    "gemma2": {"final_logit_softcapping": 3.0, "head_dim": 8},
}


def unusual(family: str) -> PreTrainedModel:
    """A tiny model whose head does more than a matrix product."""
    settings = tiny.configuration("llama").to_dict() | UNUSUAL[family]
    names = (
        "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
        "num_key_value_heads", "initializer_range", "pad_token_id", "eos_token_id", "bos_token_id", *UNUSUAL[family],
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = AutoConfig.for_model(family, **{name: settings[name] for name in names})
        model: PreTrainedModel = AutoModelForCausalLM.from_config(config)
    return model.eval()


@pytest.mark.parametrize("family", tiny.FAMILIES)
@torch.no_grad()
def test_logits_are_the_models_own(family: str) -> None:
    model = tiny.model(family)
    expected = model(input_ids=IDS, attention_mask=MASK).logits
    got = head.logits(model, head.hidden_states(model, IDS, MASK))
    assert expected.std() > 0.1
    torch.testing.assert_close(got[MASK.bool()], expected[MASK.bool()], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("family", UNUSUAL)
@torch.no_grad()
def test_scaled_and_capped_heads(family: str) -> None:
    model = unusual(family).double()
    ids = IDS[:1]
    hidden = head.hidden_states(model, ids, torch.ones_like(ids))
    plain = model.get_output_embeddings()(hidden)
    got = head.logits(model, hidden)
    torch.testing.assert_close(got, model(input_ids=ids).logits, rtol=1e-12, atol=1e-12)
    assert (got - plain).abs().max() > 0.1  # the family's peculiarity matters here


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [(torch.bfloat16, torch.float32), (torch.float32, torch.float32), (torch.float64, torch.float64)],
)
@torch.no_grad()
def test_logits_are_float32_or_wider(dtype: torch.dtype, expected: torch.dtype) -> None:
    model: Any = tiny.model("llama")
    assert head.logits(model.to(dtype), torch.ones(2, 32, dtype=dtype)).dtype == expected


@torch.no_grad()
def test_logits_of_chosen_positions_are_rows_of_all() -> None:
    model = tiny.model("llama").double()
    hidden = head.hidden_states(model, IDS, MASK)
    torch.testing.assert_close(head.logits(model, hidden[:, 2]), head.logits(model, hidden)[:, 2])


NORMS = {"gpt2": "transformer.ln_f", "gpt_neox": "gpt_neox.final_layer_norm", "opt": "model.decoder.final_layer_norm"}


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_the_final_norm_is_found_by_what_it_gives(family: str) -> None:
    model = tiny.model(family)
    hooks = sum(len(module._forward_hooks) for module in model.modules())
    assert head.final_norm(model) is model.get_submodule(NORMS.get(family, "model.norm"))
    assert sum(len(module._forward_hooks) for module in model.modules()) == hooks


def opt(**settings: Any) -> PreTrainedModel:
    """A tiny OPT of unusual settings."""
    config = tiny.configuration("opt")
    for name, value in settings.items():
        setattr(config, name, value)
    model: PreTrainedModel = AutoModelForCausalLM.from_config(config)
    return model.eval()


@pytest.mark.parametrize("settings", [{"_remove_final_layer_norm": True}, {"do_layer_norm_before": False}], ids=str)
def test_a_model_without_a_final_norm_gets_the_identity(settings: dict[str, Any]) -> None:
    assert isinstance(head.final_norm(opt(**settings)), nn.Identity)


def test_a_projection_in_the_place_of_the_norm_leads_to_the_head_too() -> None:
    """OPT 350m has no norm and a head narrower than the residual stream."""
    model: Any = opt(do_layer_norm_before=False, word_embed_proj_dim=16)
    assert head.final_norm(model) is model.model.decoder.project_out
