"""Direct preference optimisation (Rafailov et al. 2023, https://arxiv.org/abs/2305.18290) on the training pairs."""

import random
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from neurontune_core.baselines.training import Batches, different_pairs
from neurontune_core.errors import InputError
from neurontune_core.model.chat import encode_response
from neurontune_core.model.generate import decode, generate
from neurontune_core.model.likelihood import TokenSequence, response_log_probabilities, token_log_probabilities
from neurontune_core.model.load import ChatModel
from neurontune_core.records import REFUSED, LabelJudge, PromptPair
from neurontune_core.scaling.examples import encode_examples
from neurontune_core.scaling.gradient import explicit_attention
from neurontune_core.scaling.losses import micro_batches
from neurontune_core.scaling.settings import TrainingSettings

BETA = 0.1


@dataclass(frozen=True)
class Preference:
    """A prompt with a chosen and a rejected response; `reference` is the base model's margin between them in nats."""

    chosen: TokenSequence
    rejected: TokenSequence
    wrapper: str
    reference: float = 0.0

    @property
    def sequence(self) -> TokenSequence:
        """The longer of the two."""
        return max(self.chosen, self.rejected, key=lambda each: len(each.response))


def left_out(pairs: Sequence[PromptPair], kept: Container[str]) -> dict[str, float]:
    """Return how many pairs of each role lack a chosen or a rejected response, so that DPO cannot use them."""
    lost = [pair.role for pair in pairs if pair.id not in kept]
    return {"harmful_left_out": float(lost.count("safety")), "harmless_left_out": float(lost.count("utility"))}


def dpo_losses(preferred: Tensor, reference: Tensor, beta: float = BETA) -> Tensor:
    """Return `-log sigmoid(beta (m - m_base))` `[pair]`, with `m = log p(chosen) - log p(rejected)` in nats."""
    return -logsigmoid(beta * (preferred - reference))


@dataclass(frozen=True)
class Preferences:
    """The mean DPO loss of a batch; pairs without a rejected response are left out."""

    chat: ChatModel
    pairs: Mapping[str, Preference]

    def gradients(self, trained: Sequence[Tensor], batch: Sequence[PromptPair]) -> tuple[list[Tensor], float]:
        """Return the loss's gradients in the trained weights, and the loss in nats."""
        mine = [self.pairs[pair.id] for pair in batch if pair.id in self.pairs]
        totals, value = [torch.zeros_like(weight) for weight in trained], 0.0
        for part in micro_batches(mine, max(1, self.chat.batch_tokens // 2)):  # each pair has two sequences
            with explicit_attention(self.chat.model):
                preferred = _preferred(self.chat, part)
            reference = torch.tensor([each.reference for each in part]).to(preferred)
            loss = dpo_losses(preferred, reference).sum() / len(mine)
            pieces = torch.autograd.grad(loss, list(trained))
            totals = [total + piece for total, piece in zip(totals, pieces, strict=True)]
            value += float(loss.detach())
        return totals, value


def preferences(chat: ChatModel, batches: Batches, labels: LabelJudge, budget: TrainingSettings) -> Preferences:
    """Return the pairs of all batches with their rejected responses, judged once and scored by the base model.

    For a harmful prompt the refusal is chosen and the model's own answer rejected (nothing is rejected if the model
    refuses by itself). For a harmless prompt the base model's answer is chosen and a refusal rejected.

    Raises:
        InputError: the model refuses every harmful prompt by itself.
    """
    pairs = different_pairs(batches)
    harmful = [pair for pair in pairs if pair.role == "safety"]
    prompts = [chat.prompt_tokens(pair.conversation) for pair in harmful]
    with torch.no_grad():
        answers = generate(chat, prompts, budget.response_tokens)
    found = labels([pair.prompt for pair in harmful], decode(chat, answers))
    rejected = {
        pair.id: answer
        for pair, answer, label in zip(harmful, answers, found, strict=True)
        if answer and label not in REFUSED
    }
    if harmful and not rejected:
        raise InputError(
            f"baseline.method: dpo needs harmful prompts that the model answers, and it refuses all {len(harmful)} of "
            "the training batches; use lora"
        )
    refusals = sorted({pair.response for pair in harmful})
    for pair in pairs:
        if pair.role == "utility":
            refusal = random.Random(f"{budget.seed}/dpo/{pair.id}").choice(refusals)
            rejected[pair.id] = encode_response(chat.tokenizer, refusal, chat.end_tokens[0])
    wanted = [
        e for e in encode_examples(chat, pairs, budget.response_tokens) if e.id in rejected and e.sequence.response
    ]
    sequences = [e.sequence for e in wanted] + [TokenSequence(e.sequence.prompt, rejected[e.id]) for e in wanted]
    known = response_log_probabilities(chat, sequences)
    count = len(wanted)
    return Preferences(
        chat,
        {
            e.id: Preference(sequences[i], sequences[count + i], e.wrapper, known[i] - known[count + i])
            for i, e in enumerate(wanted)
        },
    )


def _preferred(chat: ChatModel, pairs: Sequence[Preference]) -> Tensor:
    """Return `log p(chosen) - log p(rejected)` `[pair]` in nats, differentiable."""
    sequences = [pair.chosen for pair in pairs] + [pair.rejected for pair in pairs]
    sums = torch.stack([part.sum() for part in token_log_probabilities(chat, sequences)])
    return sums[: len(pairs)] - sums[len(pairs) :]
