"""Recover attack prompts with a placeholder from a dataset's prompts that have the query filled in."""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from neurontune_core.data.categories import ATTACK_TYPES
from neurontune_core.data.corpus import PLACEHOLDER, Attack
from neurontune_core.data.near_copies import words

_BY_LETTERS = {category.replace("_", ""): category for category in ATTACK_TYPES}


@dataclass(frozen=True)
class WrappedQuery:
    """A row's prompt with a query in it, and what its dataset calls the attack; `row` is the row's number."""

    row: int
    query: str
    prompt: str
    categories: str
    name: str


def find_attacks(source: str, wrapped: Sequence[WrappedQuery]) -> tuple[list[Attack], list[tuple[int, str]]]:
    """Return the attacks found in prompts, and per row without one its number and the reason.

    The template of an attack is what most prompts of its name have around the query, which must be in the prompt word
    for word. A row whose prompt is only the query, or whose attack is named None, has no attack and no problem.
    """
    templates: dict[str, Counter[str]] = defaultdict(Counter)
    kept: list[tuple[WrappedQuery, str, str]] = []
    problems: list[tuple[int, str]] = []
    for each in wrapped:
        if each.prompt.strip() == each.query or each.name.strip().lower() == "none":
            continue
        if problem := _problem(each):
            problems.append((each.row, problem))
            continue
        template = each.prompt.strip().replace(each.query, PLACEHOLDER)
        name = f"{source}_{slug(each.name) or slug(each.categories)}"
        templates[name][template] += 1
        kept.append((each, name, template))
    attacks: dict[str, Attack] = {}
    for each, name, template in kept:
        usual = templates[name].most_common(1)[0][0]
        if template != usual:
            problems.append((each.row, f"the text around the query differs from most rows of attack {name}"))
        elif name not in attacks:
            main, *also = known_categories(each.categories)
            attacks[name] = Attack(name, ATTACK_TYPES[main], main, template, tuple(also))
    return list(attacks.values()), problems


def known_categories(text: str) -> list[str]:
    """Return those of our ten attack categories that a comma-separated list names, in its order."""
    letters = [re.sub(r"[^a-z]", "", part.lower()) for part in text.split(",")]
    return list(dict.fromkeys(_BY_LETTERS[part] for part in letters if part in _BY_LETTERS))


def slug(text: str) -> str:
    """Return a text as lower-case words joined by underscores."""
    return "_".join(re.findall(r"[^\W_]+", text.lower()))


def _problem(each: WrappedQuery) -> str:
    if PLACEHOLDER in each.prompt:
        return f"the prompt contains {PLACEHOLDER}"
    if each.query not in each.prompt:
        return "the attack prompt does not contain the query word for word"
    if not known_categories(each.categories):
        return f"attack category {each.categories!r} is not one of ours ({', '.join(ATTACK_TYPES)})"
    if not words(each.prompt.replace(each.query, " ")):
        return "there is no text around the query"
    return ""
