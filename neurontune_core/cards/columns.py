"""What a neuron writes: its output column, read by the model's own final norm and head (the logit lens)."""

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from neurontune_core.model.devices import device_of
from neurontune_core.model.head import Head, final_norm
from neurontune_core.model.load import ChatModel
from neurontune_core.neurons import bank_module, banks, output_column
from neurontune_core.records import NeuronId

COLUMNS_AT_ONCE = 64
"""Bounds the logits held: 40 MB with a vocabulary of 150,000."""


def output_columns(model: PreTrainedModel, neurons: Sequence[NeuronId]) -> Tensor:
    """Return what each neuron adds to the residual stream at activation 1 and routing weight 1, `[neuron, hidden]`."""
    found = banks(model)
    columns = []
    for layer, index in neurons:
        bank = next(bank for bank in found[layer] if index < bank.places.stop)
        columns.append(output_column(bank_module(model, bank), bank, index - bank.start))
    return torch.stack([column.to(device_of(model)) for column in columns])


@torch.inference_mode()
def promoted_and_suppressed(
    chat: ChatModel, neurons: Sequence[NeuronId], count: int
) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Return, for every neuron, the `count` tokens that its output column w raises most, and those it lowers most.

    A token's change is `head(norm(w)) - head(norm(0))`: biases of norm and head count for nothing.
    """
    norm, head = final_norm(chat.model), Head.of(chat.model)
    tokens = _known_tokens(chat.tokenizer, len(head.weight)).to(chat.device)
    found: list[tuple[tuple[str, ...], tuple[str, ...]]] = []
    for start in range(0, len(neurons), COLUMNS_AT_ONCE):
        columns = output_columns(chat.model, neurons[start : start + COLUMNS_AT_ONCE])
        changes = (head.logits(norm(columns)) - head.logits(norm(torch.zeros_like(columns[:1]))))[:, tokens]
        raised, lowered = (_tokens_of(chat.tokenizer, tokens[side.topk(count).indices]) for side in (changes, -changes))
        found += zip(raised, lowered, strict=True)
    return found


def _known_tokens(tokenizer: PreTrainedTokenizerBase, rows: int) -> Tensor:
    """Return the token ids that the tokenizer knows: the output head may have more rows, which are unused."""
    return torch.tensor(sorted(token for token in tokenizer.get_vocab().values() if token < rows))


def _tokens_of(tokenizer: PreTrainedTokenizerBase, ids: Tensor) -> list[tuple[str, ...]]:
    return [tuple(_text_of(tokenizer, token) for token in row) for row in ids.tolist()]


def _text_of(tokenizer: PreTrainedTokenizerBase, token: int) -> str:
    """Return a token as it stands in a text; a part of a character as the tokenizer names it."""
    name = str(tokenizer.convert_ids_to_tokens(token))
    text = str(tokenizer.decode([token]))
    if "\N{REPLACEMENT CHARACTER}" in text:
        return name
    # SentencePiece decodes a word at the beginning of a text without its blank
    return f" {text}" if name.startswith("\u2581") and not text.startswith(" ") else text
