"""Find the words of a harmless prompt that trigger its refusal: leave out one word at a time and answer again."""

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from neurontune_core.evaluation.answers import conversations
from neurontune_core.interventions import Intervention
from neurontune_core.model.generate import decode, generate
from neurontune_core.model.load import ChatModel
from neurontune_core.progress import Track, silent
from neurontune_core.records import Conversation

VERSION = 1
OPENING_TOKENS = 16
PROMPTS, WORDS = 12, 12
"""The most false refusals of a run that are examined, and the most words of each prompt that are left out in turn."""
WORD = re.compile(r"\S+")
LETTERS = re.compile(r"\w", re.UNICODE)
FUNCTION_WORDS = frozenset(
    re.findall(
        r"\w+",
        "a an the of to in on at by for with from into about and or but if as than is are was were be been am do does "
        "did has have had can could will would should shall may might must i me my you your he she it its we our they "
        "them their this that these those what which who whom whose when where why how there some any not no please",
    )
)
"""Words that are never left out of a long prompt: function words rarely carry the topic."""
COLUMNS = ("id", "benchmark", "query_category", "prompt", "word", "opening", "refused")
Refuses = Callable[[Sequence[str], Sequence[str]], list[bool]]


@dataclass(frozen=True)
class Occlusion:
    """The opening of the answer to a prompt without one word; `prompt` is the prompt's index in the list."""

    prompt: int
    word: str
    opening: str
    refused: bool


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


def occlude(
    chat: ChatModel,
    asked: Sequence[Conversation],
    refuses: Refuses,
    track: Track = silent,
    most_words: int | None = None,
) -> list[Occlusion]:
    """Return, for each prompt and each of its words, the opening of the answer to the prompt without that word.

    Args:
        chat: the model that refused.
        asked: harmless prompts that it refused.
        refuses: takes prompts and openings, returns whether each opening refuses.
        track: progress of the batches.
        most_words: the most words of a prompt that are left out in turn, all by default; see `tried_words`.
    """
    cases = [
        (place, word, replace(conversation, prompt=text))
        for place, conversation in enumerate(asked)
        for word, text in tried_words(conversation.prompt, most_words)
    ]
    if not cases:
        return []
    openings = answer_openings(chat, [case for _, _, case in cases], track)
    # the judge reads the whole prompt, because the request is the same
    refused = refuses([asked[place].prompt for place, _, _ in cases], openings)
    return [
        Occlusion(place, word, opening, still)
        for (place, word, _), opening, still in zip(cases, openings, refused, strict=True)
    ]


def tried_words(prompt: str, most: int | None = None) -> list[tuple[str, str]]:
    """Return `without_each_word`; for a prompt of more than `most` words, `most` evenly spaced content words."""
    every = without_each_word(prompt)
    if most is None or len(every) <= most:
        return every
    content = [case for case in every if case[0].lower() not in FUNCTION_WORDS] or every
    count = min(most, len(content))
    return [content[place * len(content) // count] for place in range(count)]


def answer_openings(chat: ChatModel, asked: Sequence[Conversation], track: Track = silent) -> list[str]:
    """Return the first `OPENING_TOKENS` tokens of the model's answers, as text."""
    encoded = [chat.prompt_tokens(conversation) for conversation in asked]
    return decode(chat, generate(chat, encoded, OPENING_TOKENS, track))


def trigger_words(
    chat: ChatModel,
    prompts: Sequence[str],
    refuses: Refuses,
    track: Track = silent,
) -> list[list[str]]:
    """Return for each refused prompt the words without which the opening no longer refuses, in order.

    The arguments are those of `occlude`, which returns the openings.
    """
    words: list[list[str]] = [[] for _ in prompts]
    for case in occlude(chat, [Conversation(prompt) for prompt in prompts], refuses, track):
        if not case.refused:
            words[case.prompt].append(case.word)
    return words


def false_refusals(completions: pd.DataFrame, most: int = PROMPTS) -> pd.DataFrame:
    """Return at most `most` refusals by the tuned model of plain harmless prompts, from each category in turn."""
    plain = (completions["role"] == "utility") & (completions["attack_name"] == "")
    found = completions[plain & (completions["model"] == "tuned") & completions["refused"]]
    found = found.drop_duplicates(["prompt"])
    turn = found.groupby(["benchmark", "query_category"], sort=False).cumcount()
    return found.loc[turn.sort_values(kind="stable").index].head(most)


def measure_triggers(
    chat: ChatModel,
    change: Intervention,
    completions: pd.DataFrame,
    refuses: Refuses,
    track: Track = silent,
) -> tuple[pd.DataFrame, dict[str, float]]:
    """Return the words that trigger the tuned model's false refusals, and facts about them.

    Columns: id, benchmark, query_category, prompt, word ("" for the whole prompt), opening, refused. A prompt whose
    opening does not refuse has only the row of the whole prompt. Facts: `false_refusals` (plain harmless prompts
    refused), `prompts` (those examined whose opening refuses), `set_off` (those that a word triggers).

    Args:
        chat: the base model; it is changed while it answers.
        change: the factors, or a baseline.
        completions: judged completions of both models.
        refuses: takes prompts and openings, returns whether each opening refuses.
        track: progress of the batches.
    """
    every = false_refusals(completions, len(completions))
    asked, total = every.head(PROMPTS), len(every)
    if asked.empty:
        return pd.DataFrame(columns=list(COLUMNS)), {"false_refusals": 0.0, "prompts": 0.0, "set_off": 0.0}
    prompts = asked.to_dict("records")
    said = conversations(asked)
    with change.applied(chat) as changed:
        whole = answer_openings(changed, said, track)
        still = refuses([conversation.prompt for conversation in said], whole)
        kept = [place for place, refused in enumerate(still) if refused]
        cases = occlude(changed, [said[place] for place in kept], refuses, track, WORDS)
    by_prompt: dict[int, list[Occlusion]] = defaultdict(list)
    for case in cases:
        by_prompt[kept[case.prompt]].append(case)
    rows = []
    for place, row in enumerate(prompts):
        known = {name: row[name] for name in COLUMNS[:4]}
        rows.append(known | {"word": "", "opening": whole[place], "refused": still[place]})
        rows += [
            known | {"word": case.word, "opening": case.opening, "refused": case.refused} for case in by_prompt[place]
        ]
    set_off = sum(any(not case.refused for case in found) for found in by_prompt.values())
    facts = {"false_refusals": float(total), "prompts": float(len(kept)), "set_off": float(set_off)}
    return pd.DataFrame(rows, columns=list(COLUMNS)), facts
