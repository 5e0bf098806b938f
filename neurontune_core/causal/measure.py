"""The model's answers in the cells of a causal study, a row for each, and its KL from the unchanged model."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import get_args

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from neurontune_core.causal.cells import BASE, EMPTY, MEAN, ORDINARY, PATCH, ZERO, Cell, Kind
from neurontune_core.causal.prompts import kind_of
from neurontune_core.causal.sets import Sets
from neurontune_core.evaluation.divergence import base_states, response_divergence
from neurontune_core.interventions import Intervention, Replaced
from neurontune_core.model import head
from neurontune_core.model.batches import by_length, padded, shared_length
from neurontune_core.model.generate import WhileReading, decode, generate
from neurontune_core.model.load import ChatModel
from neurontune_core.neurons import captured, replaced
from neurontune_core.progress import Track, silent
from neurontune_core.records import Conversation, LabelJudge, NeuronId, NeuronSet, PromptPair, ScalingFactors

MOST_HARMLESS = 64
NO_KL = float("nan")
COLUMNS = (
    *("neurons", "share", "intervention", "matched", "count", "group"),
    *("id", "query_id", "role", "label", "answer", "kl"),
)


@dataclass(frozen=True)
class CausalStudy:
    """The data that all cells share.

    Attributes:
        chat: the model.
        sets: the sets of neurons that the cells name.
        prompts: the prompts of each group.
        harmless: training prompts; neurons are set to their mean activations on these prompts.
        judge: labels the answers.
        tokens: length limit of an answer, in tokens.
    """

    chat: ChatModel
    sets: Sets
    prompts: Mapping[str, Sequence[PromptPair]]
    harmless: Sequence[PromptPair]
    judge: LabelJudge
    tokens: int


@dataclass(frozen=True)
class _Unchanged:
    """Values of the unchanged model.

    Attributes:
        means: mean activations on harmless prompts, by layer `[neuron]`.
        ends: activations at the end of plain queries, by group and layer `[pair, neuron]`.
        said: ordinary harmless prompts with the model's answers.
        states: hidden states that predict these answers, `[token, hidden]` each.
    """

    means: Mapping[int, Tensor]
    ends: Mapping[str, Mapping[int, Tensor]]
    said: Sequence[tuple[Conversation, list[int]]]
    states: Sequence[Tensor]


def measure_cells(study: CausalStudy, cells: Sequence[Cell], track: Track = silent) -> pd.DataFrame:
    """Return a row for every answer of every cell.

    Columns: neurons (name of the set), share, intervention, matched (as in `Cell`), count (neurons of the set), group,
    id, query_id and role of the prompt, label, answer, and kl: the KL to the unchanged model on its own answers to the
    ordinary harmless prompts, in nats a token, in the rows of that group (NaN elsewhere, and for patches).
    """
    patched = {group for cell in cells if cell.intervention == PATCH for group in cell.groups}
    said = _said(study) if any(ORDINARY in cell.groups for cell in cells) else []
    unchanged = _Unchanged(
        mean_activations(study.chat, study.harmless) if any(cell.intervention == MEAN for cell in cells) else {},
        {group: _ends(study.chat, study.prompts[group]) for group in sorted(patched)},
        said,
        base_states(study.chat, said),
    )
    rows: list[tuple[object, ...]] = []
    for cell in track(cells, "changing neurons", len(cells)):
        neurons = study.sets.neurons(cell.neurons, cell.share, cell.matched)
        described = (cell.neurons, cell.share, cell.intervention, cell.matched, len(neurons))
        answers, kl = _answers(study, unchanged, cell, neurons)
        for group in cell.groups:
            pairs = study.prompts[group]
            rows += _judged(study, (*described, group), pairs, answers[group], kl if group == ORDINARY else NO_KL)
            if cell.intervention == BASE and kind_of(pairs) == "attacked":
                plain = [replace(pair, prompt=pair.query) for pair in pairs]
                replies = decode(study.chat, _generated(study, [pair.conversation for pair in plain]))
                rows += _judged(study, (*described, plain_group(group)), plain, replies, NO_KL)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def plain_group(group: str) -> str:
    """Return the name of the group of an attacked group's queries, asked without their attacks."""
    return f"{group}, plain queries"


def _judged(
    study: CausalStudy, described: tuple[object, ...], pairs: Sequence[PromptPair], answers: Sequence[str], kl: float
) -> list[tuple[object, ...]]:
    labels = study.judge([pair.prompt for pair in pairs], answers)
    return [
        (*described, pair.id, pair.query_id, pair.role, label, answer, kl)
        for pair, label, answer in zip(pairs, labels, answers, strict=True)
    ]


@torch.inference_mode()
def mean_activations(chat: ChatModel, harmless: Sequence[PromptPair]) -> dict[int, Tensor]:
    """Return the mean activations `[neuron]` of every layer over the positions of harmless prompts.

    The tokens with which all prompts begin are left out: a system message, and the first position, whose activations
    have another magnitude. Only the first 64 prompts are read.
    """
    prompts = [chat.prompt_tokens(pair.conversation) for pair in harmless[:MOST_HARMLESS]]
    shared = max(1, shared_length(prompts))
    sums: dict[int, Tensor] = {}
    count = 0
    for group in by_length([len(prompt) for prompt in prompts], chat.batch_tokens):
        ids, mask = padded([prompts[i] for i in group], chat.end_tokens[0], chat.device)
        counted = mask.clone()
        counted[:, :shared] = 0
        count += int(counted.sum())
        with captured(chat.model, partial(_sum_at, counted)) as found:
            head.hidden_states(chat.model, ids, mask)
        sums = {layer: sums[layer] + values if layer in sums else values for layer, values in found.items()}
    return {layer: values / max(1, count) for layer, values in sums.items()}


def _sum_at(counted: Tensor, values: Tensor) -> Tensor:
    return (values.float() * counted[..., None].to(values.device)).sum((0, 1))


def _answers(
    study: CausalStudy, unchanged: _Unchanged, cell: Cell, neurons: tuple[NeuronId, ...]
) -> tuple[dict[str, list[str]], float]:
    """Return the answers of the changed model for each group of the cell, and its KL from the unchanged model.

    The KL is that of the ordinary harmless prompts; NaN if they are not asked, for patches, and for the empty set.
    """
    chat = study.chat
    answers: dict[str, list[str]] = {}
    if cell.intervention == PATCH:
        for groups in _answered_together(study, cell):
            ends = _joined([unchanged.ends[group] for group in groups])
            answers |= _replies(study, groups, partial(_patch, chat, neurons, ends))
        return answers, NO_KL
    change = _change(cell, neurons, unchanged.means, chat)
    with change.applied(chat):
        for groups in _answered_together(study, cell):
            answers |= _replies(study, groups)
    compared = ORDINARY in cell.groups and cell.neurons != EMPTY
    divergence = response_divergence(chat, change, unchanged.said, states=unchanged.states) if compared else None
    return answers, divergence.kl if divergence else NO_KL


def _answered_together(study: CausalStudy, cell: Cell) -> list[list[str]]:
    """Return the groups of a cell by the kind of their prompts; the prompts of a kind are answered together.

    A cell asks all groups of a kind or none. So a prompt has the same neighbours in its batch in every cell; in half
    formats other neighbours change its answer now and then, even if no neuron is changed.
    """
    kinds = {group: kind_of(study.prompts[group]) for group in cell.groups}
    parts = ([group for group, own in kinds.items() if own == kind] for kind in get_args(Kind))
    return [groups for groups in parts if groups]


def _replies(
    study: CausalStudy, groups: Sequence[str], while_reading: WhileReading = lambda places: nullcontext()
) -> dict[str, list[str]]:
    """Return the answers to the prompts of some groups, by group."""
    conversations = [pair.conversation for group in groups for pair in study.prompts[group]]
    answers = iter(decode(study.chat, _generated(study, conversations, while_reading)))
    return {group: list(islice(answers, len(study.prompts[group]))) for group in groups}


def _joined(ends: Sequence[Mapping[int, Tensor]]) -> dict[int, Tensor]:
    """Return activations `[pair, neuron]` of several groups, by layer, as those of one group."""
    return {layer: torch.cat([each[layer] for each in ends]) for layer in ends[0]}


def _change(cell: Cell, neurons: tuple[NeuronId, ...], means: Mapping[int, Tensor], chat: ChatModel) -> Intervention:
    chosen = NeuronSet(neurons, ())
    if cell.intervention == MEAN:
        values = [means[neuron.layer][neuron.index] for neuron in neurons]
        return Replaced(chosen, torch.stack(values) if values else torch.zeros(0, device=chat.device))
    factors = {BASE: 1.0, ZERO: 0.0}
    factor = factors[cell.intervention] if cell.intervention in factors else float(cell.intervention.removeprefix("x"))
    return ScalingFactors(chosen, np.full(len(neurons), factor, dtype=np.float32))


def _patch(
    chat: ChatModel, neurons: tuple[NeuronId, ...], ends: Mapping[int, Tensor], places: Sequence[int]
) -> AbstractContextManager[None]:
    """Yield a model whose neurons have, at the last position, the activations of these prompts' plain queries."""
    if not neurons:
        return nullcontext()
    values = torch.stack([ends[neuron.layer][:, neuron.index] for neuron in neurons], dim=1)
    return replaced(chat.model, NeuronSet(neurons, ()), values[list(places)], last_position=True)


def _said(study: CausalStudy) -> list[tuple[Conversation, list[int]]]:
    """Return the ordinary harmless prompts with the unchanged model's answers, without empty answers."""
    conversations = [pair.conversation for pair in study.prompts[ORDINARY]]
    answers = _generated(study, conversations)
    return [(conversation, tokens) for conversation, tokens in zip(conversations, answers, strict=True) if tokens]


def _generated(
    study: CausalStudy,
    conversations: Sequence[Conversation],
    while_reading: WhileReading = lambda places: nullcontext(),
) -> list[list[int]]:
    prompts = [study.chat.prompt_tokens(conversation) for conversation in conversations]
    return generate(study.chat, prompts, study.tokens, while_reading=while_reading)


@torch.inference_mode()
def _ends(chat: ChatModel, pairs: Sequence[PromptPair]) -> dict[int, Tensor]:
    """Return the activations `[pair, neuron]` of every layer at the last position of the plain queries."""
    found: list[dict[int, Tensor]] = []
    for pair in pairs:
        ids = torch.tensor([chat.prompt_tokens(pair.plain_conversation)], device=chat.device)
        with captured(chat.model, lambda values: values[0, -1].clone()) as ends:
            head.hidden_states(chat.model, ids, torch.ones_like(ids))
        found.append(ends)
    return {layer: torch.stack([ends[layer] for ends in found]) for layer in found[0]}
