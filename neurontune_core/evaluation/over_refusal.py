"""Which words of a harmless prompt set off its refusal: each is left out in turn, and the opening written again."""

import re
from collections.abc import Callable, Sequence

from neurontune_core.model.generate import decode, generate
from neurontune_core.model.load import ChatModel
from neurontune_core.progress import Track, silent

OPENING_TOKENS = 16
WORD = re.compile(r"\S+")
LETTERS = re.compile(r"\w", re.UNICODE)


def without_each_word(prompt: str) -> list[tuple[str, str]]:
    """Return every word of a prompt with the prompt that leaves it out."""
    found = [match for match in WORD.finditer(prompt) if LETTERS.search(match.group())]
    return [
        (
            match.group().strip(".,;:!?\"'()[]"),
            " ".join((prompt[: match.start()] + prompt[match.end() :]).split()),
        )
        for match in found
        if len(found) > 1
    ]


def trigger_words(
    chat: ChatModel,
    prompts: Sequence[str],
    refuses: Callable[[Sequence[str], Sequence[str]], list[bool]],
    batch_tokens: int,
    track: Track = silent,
) -> list[list[str]]:
    """Return for each refused prompt the words without which the opening no longer refuses, in order.

    Args:
        chat: the model that refused.
        prompts: harmless prompts that it refused.
        refuses: whether openings refuse, from prompts and openings.
        batch_tokens: tokens a batch holds at most.
        track: progress of the batches.
    """
    asked = [(place, word, text) for place, prompt in enumerate(prompts) for word, text in without_each_word(prompt)]
    words: list[list[str]] = [[] for _ in prompts]
    if not asked:
        return words
    encoded = [chat.prompt_tokens(text) for _, _, text in asked]
    openings = decode(chat, generate(chat, encoded, OPENING_TOKENS, batch_tokens, track))
    # judged with the whole prompt: what is asked for has not changed
    refused = refuses([prompts[place] for place, _, _ in asked], openings)
    for (place, word, _), still in zip(asked, refused, strict=True):
        if not still:
            words[place].append(word)
    return words
