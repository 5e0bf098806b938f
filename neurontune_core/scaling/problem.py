"""The problem that every scaling method solves: model, neurons, pairs."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from neurontune_core.model.load import ChatModel
from neurontune_core.records import REFUSED, LabelJudge, NeuronSet, PromptPair
from neurontune_core.scaling.losses import Example, base_states


@dataclass(frozen=True)
class Problem:
    """The model, its selected neurons, and the pairs that factors are learned from.

    Attributes:
        chat: the model.
        neurons: the selected neurons.
        pairs: for `learn_scaling` all pairs; for a method the training pairs with the responses that are trained
            (`training_pairs`).
        labels: judge of answers for validation; without a judge the last factors are kept.
        openings: the openings of refusals, for methods that need them; `learn_scaling` finds them.
    """

    chat: ChatModel
    neurons: NeuronSet
    pairs: Sequence[PromptPair]
    labels: LabelJudge | None = None
    openings: tuple[str, ...] = ()

    def base(self, examples: Iterable[Example]) -> Mapping[str, Tensor]:
        """Return the base model's states `[token, hidden]` of the harmless examples that have a response, by id."""
        compared = {e.id: e for e in examples if e.role == "utility" and e.sequence.response}
        return base_states(self.chat, list(compared.values()))


def training_pairs(pairs: Sequence[PromptPair], refusal: str, labels: LabelJudge | None) -> list[PromptPair]:
    """Return the pairs of the training split with the responses that are trained.

    A harmful prompt gets the response `refusal`; if `refusal` is "", it keeps its own response. A harmless prompt gets
    the base model's answer to its query without an attack, because a wrapped question should be answered like the
    plain one. If the judge does not label this answer compliance (the base model refuses some harmless queries), the
    response becomes "". If less than half of the answers are compliance, broken answers are kept too, because the
    answers of such a model should not change.
    """
    train = [pair for pair in pairs if pair.split == "train"]
    plain = [pair for pair in train if pair.role == "utility" and not pair.attack_name and pair.response]
    found = labels([pair.prompt for pair in plain], [pair.response for pair in plain]) if labels and plain else None
    answers = {pair.query_id: pair.response for pair in (plain if found is None else _good(plain, found))}
    return [
        replace(pair, response=answers.get(pair.query_id, "") if pair.role == "utility" else refusal or pair.response)
        for pair in train
    ]


def _good(answered: Sequence[PromptPair], labels: Sequence[str]) -> list[PromptPair]:
    judged = list(zip(answered, labels, strict=True))
    whole = [pair for pair, label in judged if label == "compliance"]
    return whole if 2 * len(whole) >= len(judged) else [pair for pair, label in judged if label not in REFUSED]
