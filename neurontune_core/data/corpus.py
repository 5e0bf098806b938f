"""The corpus that ships with the project: queries, attack prompts and refusals of our own writing."""

import json
from dataclasses import dataclass
from importlib import resources
from typing import Any

from neurontune_core import artifacts
from neurontune_core.records import Conversation, Message, Role

PLACEHOLDER = "{query}"
QUERIES = {"harmful": "harmful_queries.jsonl", "benign": "benign_queries.jsonl"}
FILES = (*QUERIES.values(), "attacks.jsonl", "refusals.jsonl")
NAME = "shipped"
"""The name of the shipped queries as a dataset."""


@dataclass(frozen=True)
class Query:
    """A harmful (`safety`) or harmless (`utility`) query.

    `category` is its unsafety category, or for a harmless query `ordinary/<topic>` or `borderline/<topic>`. `row` is
    its row in its source, counted from 1 without a header. `response` is its dataset's safe response to it, "" if there
    is none. `history` and `system` are those of a `Conversation`.
    """

    id: str
    role: Role
    text: str
    category: str
    source: str
    row: int
    response: str = ""
    history: tuple[Message, ...] = ()
    system: str = ""

    @property
    def conversation(self) -> Conversation:
        """The query with the messages before it."""
        return Conversation(self.text, self.history, self.system)


@dataclass(frozen=True)
class Attack:
    """A jailbreak prompt with a placeholder for the query; type and category as in section 3.1 of the paper.

    `also` names further categories of the attack.
    """

    name: str
    type: str
    category: str
    template: str
    also: tuple[str, ...] = ()

    @property
    def categories(self) -> tuple[str, ...]:
        """All categories of the attack, the main one first."""
        return (self.category, *self.also)

    def wrap(self, query: str) -> str:
        """Return the attack prompt with the query in its place."""
        return self.template.replace(PLACEHOLDER, query)


def harmful_queries() -> list[Query]:
    """Return the shipped harmful queries."""
    rows = enumerate(_rows("harmful_queries.jsonl"), start=1)
    return [Query(r["id"], "safety", r["query"], r["category"], NAME, row) for row, r in rows]


def benign_queries() -> list[Query]:
    """Return the shipped harmless queries; the category is `ordinary/<topic>` or `borderline/<topic>`."""
    rows = enumerate(_rows("benign_queries.jsonl"), start=1)
    return [Query(r["id"], "utility", r["query"], f"{r['kind']}/{r['topic']}", NAME, row) for row, r in rows]


def queries(role: str) -> list[Query]:
    """Return the shipped queries of a role, `harmful` or `benign`."""
    return harmful_queries() if role == "harmful" else benign_queries()


def attacks() -> list[Attack]:
    """Return the shipped attack prompts."""
    return [Attack(r["name"], r["type"], r["category"], r["template"]) for r in _rows("attacks.jsonl")]


def refusals() -> list[str]:
    """Return the shipped phrasings of a short refusal."""
    return [str(row["text"]) for row in _rows("refusals.jsonl")]


def shipped_digest(file: str) -> str:
    """Return the SHA-256 of a shipped data file."""
    return artifacts.text_digest(_text(file))


def _text(file: str) -> str:
    return (resources.files("neurontune_core") / "data" / file).read_text(encoding="utf-8")


def _rows(file: str) -> list[dict[str, Any]]:
    # splitlines would also split a row at a character such as U+2028 inside a query
    return [json.loads(line) for line in _text(file).split("\n") if line]
