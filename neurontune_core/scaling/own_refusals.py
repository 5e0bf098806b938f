"""How the model itself refuses: the first words of its refusals, and its most frequent refusal."""

import re
from collections import Counter
from collections.abc import Sequence

from neurontune_core.model.generate import decode, generate
from neurontune_core.model.load import ChatModel
from neurontune_core.records import REFUSED, LabelJudge, PromptPair

USUAL_OPENINGS = ("I'm sorry", "Sorry")
MOST_OPENINGS = 4
TOKENS = 24
"""Length of the responses that are judged; the first sentence of a refusal is enough for the judge."""
LEAST_SHARE = 0.25
"""The most frequent refusal is used if at least this share of the model's refusals begin with it."""

_FIRST_WORDS = re.compile(r"[^\s,.!?:;]+(?: [^\s,.!?:;]+)?")
_FIRST_SENTENCE = re.compile(r".+?[.!?](?=\s|$)")


def commonest_refusal(pairs: Sequence[PromptPair]) -> str:
    """Return the most frequent first sentence of the model's own refusals of training queries, or "".

    It is "" if no refusal has a complete first sentence, or none reaches `LEAST_SHARE`. Example (Qwen2.5): "I'm sorry,
    but I can't assist with that."
    """
    own = {pair.query_id: pair.own_refusal for pair in pairs if pair.split == "train" and pair.own_refusal}
    sentences = [match.group() for text in own.values() if (match := _FIRST_SENTENCE.match(text.strip()))]
    if not sentences:
        return ""
    sentence, count = Counter(sentences).most_common(1)[0]
    return sentence if count >= LEAST_SHARE * len(own) else ""


def own_openings(
    chat: ChatModel, pairs: Sequence[PromptPair], trained: Sequence[str], labels: LabelJudge | None
) -> tuple[str, ...]:
    """Return the openings of refusals: of the `trained` ones, then of the model's own refusals of validation prompts.

    An opening has two words, or one word if a comma follows it: that of "I'm sorry, but I can't assist with that" is
    "I'm sorry". The commonest come first. If neither the pairs nor the model give any, these are `USUAL_OPENINGS`.
    """
    asked = [pair for pair in pairs if pair.role == "safety" and pair.split == "validation"]
    own: list[str] = []
    if labels and asked:
        prompts = [chat.prompt_tokens(pair.conversation) for pair in asked]
        texts = decode(chat, generate(chat, prompts, TOKENS))
        found = labels([pair.prompt for pair in asked], texts)
        own = [text for text, label in zip(texts, found, strict=True) if label in REFUSED]
    openings = [*_commonest(trained, 1), *_commonest(own, MOST_OPENINGS)]
    return tuple(dict.fromkeys(openings))[:MOST_OPENINGS] or USUAL_OPENINGS


def _commonest(texts: Sequence[str], most: int) -> list[str]:
    """Return the commonest openings of texts, each the opening of at least one text in twenty."""
    matches = [_FIRST_WORDS.match(text.strip()) for text in texts]
    counts = Counter(match.group() for match in matches if match)
    return [opening for opening, count in counts.most_common(most) if 20 * count >= len(texts)]
