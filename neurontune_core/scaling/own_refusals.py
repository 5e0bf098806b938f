"""How the model that is tuned begins its refusals, where the settings do not say."""

import re
from collections import Counter
from collections.abc import Sequence

from neurontune_core.model.generate import decode, generate
from neurontune_core.model.load import ChatModel
from neurontune_core.records import PromptPair
from neurontune_core.scaling.validation import RefusalJudge

USUAL_OPENINGS = ("I'm sorry", "Sorry")
MOST_OPENINGS = 4
TOKENS = 24
"""Length of a response that is judged; a refusal is told from its first sentence."""

_FIRST_WORDS = re.compile(r"[^\s,.!?:;]+(?: [^\s,.!?:;]+)?")


def own_openings(
    chat: ChatModel, pairs: Sequence[PromptPair], refuses: RefusalJudge | None, batch_tokens: int
) -> tuple[str, ...]:
    """Return how refusals begin: those that are trained, then the model's own ones of harmful validation prompts.

    An opening is the first two words, or one where a comma follows: "I'm sorry" of "I'm sorry, but I can't assist with
    that". The commonest come first. `USUAL_OPENINGS` stand in where neither the pairs nor the model give any.
    """
    trained = [pair.response for pair in pairs if pair.role == "safety" and pair.split == "train"]
    asked = [pair for pair in pairs if pair.role == "safety" and pair.split == "validation"]
    own: list[str] = []
    if refuses and asked:
        prompts = [chat.prompt_tokens(pair.conversation) for pair in asked]
        texts = decode(chat, generate(chat, prompts, TOKENS, batch_tokens))
        verdicts = refuses([pair.prompt for pair in asked], texts)
        own = [text for text, refused in zip(texts, verdicts, strict=True) if refused]
    found = [*_commonest(trained, 1), *_commonest(own, MOST_OPENINGS)]
    return tuple(dict.fromkeys(found))[:MOST_OPENINGS] or USUAL_OPENINGS


def _commonest(texts: Sequence[str], most: int) -> list[str]:
    """Return the commonest openings of texts, those of one text in twenty at least."""
    matches = [_FIRST_WORDS.match(text.strip()) for text in texts]
    counts = Counter(match.group() for match in matches if match)
    return [opening for opening, count in counts.most_common(most) if 20 * count >= len(texts)]
