"""A tuned model as an ordinary Hugging Face folder: the factors are in the weights, and no hook is left."""

import copy
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from neurontune_core import neurons
from neurontune_core.errors import NumericalError
from neurontune_core.experts import run_apart
from neurontune_core.export.target import new_folder
from neurontune_core.model.chat import encode_prompt
from neurontune_core.model.load import load_files
from neurontune_core.model.source import ModelReference
from neurontune_core.records import ScalingFactors

DESCRIPTION = "neurontune.json"
LARGEST_DIFFERENCE = 1e-4
CHECK_PROMPTS = (
    "What is the capital of France?",
    "Write a short poem about the sea, with a title.",
    "Explain to a child why the sky is blue. Then give three sources, and say how sure you are of each.",
)


@dataclass(frozen=True)
class ExportCheck:
    """The comparisons made before the folder gets its name: largest absolute differences of logits.

    All but `float32` and `effect` are computed in float64 from the models' own weights, so that only a difference of
    the weights counts, not the order of a sum: with logits of 40, two orders differ by 1e-4 in float32.

    Attributes:
        folded: model with hooks against folded weights, both float32; at most `LARGEST_DIFFERENCE`.
        float32: the same comparison, computed in float32.
        written: model with hooks against the files, which are rounded to the model's own number format.
        effect: model with hooks against the base model.
        dtype: the model's own number format.
    """

    folded: float
    float32: float
    written: float
    effect: float
    dtype: str


def write_folder(
    target: Path,
    scaling: ScalingFactors,
    base: ModelReference,
    root: str,
    origin: dict[str, Any],
    card: str = "",
) -> ExportCheck:
    """Write the tuned model as a folder that `AutoModelForCausalLM.from_pretrained` reads, in the base's number format.

    Tokenizer, chat template and generation settings are the base model's. Before the folder appears under its name,
    three things are checked: logits with hooks and with folded weights agree (`ExportCheck`); every weight read back
    from the files is the expected one; the tokenizer read back writes the same prompts.

    Args:
        target: the folder to make.
        scaling: the factors.
        base: the model on which the factors were learned.
        root: artifact root, where a packaged model's converted weights are kept.
        origin: the origin of the factors; stored in `neurontune.json`.
        card: the model card, written as `README.md` if there is one.

    Raises:
        InputError: `target` exists.
        NumericalError: a check failed; nothing was written.
    """
    with new_folder(target) as folder:
        model, tokenizer = load_files(base, root, "auto")
        hooked, folded, check = _compare(scaling, copy.deepcopy(model).float(), tokenizer)
        with torch.no_grad():  # exactly the weights that were compared, rounded once
            for bank, weight in neurons.output_weights(model).items():
                weight.copy_(folded[bank])
        _save(model, tokenizer, folder)
        written = _largest(hooked, _read_back(model, tokenizer, folder))
        check = replace(check, written=written, dtype=str(model.dtype).removeprefix("torch."))
        if check.dtype == "float32":
            _require_equal("hooked and written", written)
        description = {
            "base_model": base.name,
            "base_revision": base.revision,
            "base_weights": base.weights,
            "system_prompt": base.system_prompt,
            "check": asdict(check),
            "origin": origin,
        }
        (folder / DESCRIPTION).write_text(json.dumps(description, indent=1) + "\n", encoding="utf-8")
        if card:
            (folder / "README.md").write_text(card, encoding="utf-8")
    return check


def _compare(
    scaling: ScalingFactors, model: Any, tokenizer: PreTrainedTokenizerBase
) -> tuple[list[Tensor], dict[neurons.Bank, Tensor], ExportCheck]:
    """Return the logits of a float32 model with hooks, its folded down projections, and the difference of the logits.

    The model is changed.
    """
    run_apart(model)
    alpha = torch.from_numpy(scaling.alpha)
    plain = _logits(model, tokenizer)
    with neurons.scaled(model, scaling.neurons, alpha):
        roughly = _logits(model, tokenizer)
        hooked = _logits(model.double(), tokenizer)
    neurons.fold(model.float(), scaling)  # convert back; both conversions are exact
    weights = {bank: weight.clone() for bank, weight in neurons.output_weights(model).items()}
    difference = _largest(roughly, _logits(model, tokenizer))
    folded = _largest(hooked, _logits(model.double(), tokenizer))
    _require_equal("hooked and folded", folded)
    return hooked, weights, ExportCheck(folded, difference, folded, _largest(roughly, plain), "float32")


def _require_equal(what: str, difference: float) -> None:
    if not difference <= LARGEST_DIFFERENCE:  # also fails for NaN
        raise NumericalError(
            f"export: {what} logits differ by {difference:.3g}, more than {LARGEST_DIFFERENCE:g}; nothing was written"
        )


def _save(model: Any, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    settings = model.generation_config
    model.generation_config = GenerationConfig()  # transformers refuses to save some settings
    model.save_pretrained(folder)
    settings.to_json_file(folder / "generation_config.json")
    tokenizer.save_pretrained(folder)


def _read_back(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> list[Tensor]:
    """Return the logits in float64 of the model in the folder, after comparing its weights and prompts.

    Raises:
        NumericalError: a weight or a prompt is not the expected one.
    """
    again = AutoModelForCausalLM.from_pretrained(folder, dtype="auto", use_safetensors=True, trust_remote_code=False)
    meant, found = model.state_dict(), again.state_dict()
    wrong = [name for name in meant if name not in found or not _same(meant[name], found[name])]
    if wrong or len(meant) != len(found):
        raise NumericalError(
            f"export: {len(wrong)} weights differ when they are read back, the first is {wrong[:1]}; nothing was "
            f"written"
        )
    reread = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    if any(encode_prompt(reread, prompt) != encode_prompt(tokenizer, prompt) for prompt in CHECK_PROMPTS):
        raise NumericalError("export: the tokenizer writes other prompts when it is read back; nothing was written")
    run_apart(again)
    return _logits(again.eval().double(), tokenizer)


def _same(one: Tensor, other: Tensor) -> bool:
    return one.dtype == other.dtype and torch.equal(one, other)


@torch.inference_mode()
def _logits(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> list[Tensor]:
    """Return the logits `[position, token]` of every position of the first check prompt.

    One prompt is enough and takes a third of the time, because every weight is also compared directly.
    """
    ids = torch.tensor([encode_prompt(tokenizer, CHECK_PROMPTS[0])])
    return [model(input_ids=ids, use_cache=False).logits[0]]


def _largest(one: list[Tensor], other: list[Tensor]) -> float:
    differences = [(a - b).abs().max() for a, b in zip(one, other, strict=True)]
    return float(torch.stack(differences).max())
