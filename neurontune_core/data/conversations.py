"""Conversations in a dataset's row: a list of messages in the form of OpenAI, `{"role": ..., "content": ...}`.

The form of ShareGPT, `{"from": "human", "value": ...}`, is read as well.
"""

import json
import re
from dataclasses import dataclass
from typing import Any

from neurontune_core.records import Message

SPEAKERS = ("system", "user", "assistant")
_OTHER_NAMES = {"human": "user", "gpt": "assistant", "developer": "system"}
"""What ShareGPT and newer models of OpenAI call the speakers."""
MAX_CHARACTERS = 16_000
"""Most characters of a conversation, query included; a longer text is a document."""


_MESSAGES = re.compile(r"\s*\[\s*\{\s*['\"](?:role|content|from|value)['\"]\s*:")
"""How the text of a list of messages begins, in JSON or as Python prints it (which is not JSON)."""


class BadConversation(ValueError):
    """A row's conversation cannot be used; the text says why."""


@dataclass(frozen=True)
class Turns:
    """The parts of a row's conversation; a part that the row does not have is empty.

    `query` is the last message of the user, `response` the assistant's after it, `history` all turns before.
    """

    query: str
    history: tuple[Message, ...] = ()
    system: str = ""
    response: str = ""


def is_conversation(value: Any) -> bool:
    """Tell whether a value of a query column is a list of messages, or meant as the JSON text of one."""
    if not isinstance(value, str):
        return isinstance(value, list) and (not value or any(isinstance(each, dict) for each in value))
    if _MESSAGES.match(value):
        return True
    found = _parsed(value)
    return isinstance(found, list) and any(isinstance(each, dict) and each.keys() & {"role", "from"} for each in found)


def read_conversation(value: Any) -> Turns:
    """Return the parts of a list of messages, or of the JSON text of one, whose last user message is the query.

    Raises:
        BadConversation: unknown role, two messages of one side in a row, no text, or no message of a user.
    """
    system, turns = _checked(value)
    response = turns.pop().content.strip() if turns and turns[-1].role == "assistant" else ""
    if not turns:
        raise BadConversation("no message of a user" if system or response else "no message")
    return Turns(turns[-1].content.strip(), tuple(turns[:-1]), system, response)


def read_history(value: Any, query: str) -> Turns:
    """Return the parts of a conversation whose query stands in another column: all its messages are the history.

    A conversation that ends with the query itself, or with the query and a response to it, may repeat it.

    Raises:
        BadConversation: as `read_conversation`, or the history ends with another message of the user.
    """
    if value is None or value == "":
        return Turns(query)
    system, turns = _checked(value)
    asked = max((place for place, turn in enumerate(turns) if turn.role == "user"), default=None)
    if asked is not None and turns[asked].content.strip() == query.strip():
        response = turns[asked + 1].content.strip() if turns[asked + 1 :] else ""
        return Turns(query, tuple(turns[:asked]), system, response)
    if turns and turns[-1].role == "user":
        raise BadConversation(f"message {len(turns) + bool(system)} and the query are both of the user")
    return Turns(query, tuple(turns), system)


def _checked(value: Any) -> tuple[str, list[Message]]:
    """Return the system message, "" if there is none, and the turns, which alternate from the user on."""
    rows = _parsed(value) if isinstance(value, str) else value
    if not isinstance(rows, list):
        kind = "text that is not JSON" if isinstance(value, str) else type(value).__name__
        raise BadConversation(f"not a list of messages but {kind}")
    system, turns = "", list[Message]()
    for number, row in enumerate(rows, start=1):
        role, content = _message(number, row)
        if role == "system":
            if number > 1:
                raise BadConversation(f"message {number} is a system message; only the first message can be one")
            system = content.strip()
        elif turns and turns[-1].role == role:
            raise BadConversation(f"messages {number - 1} and {number} are both of the {role}")
        elif not turns and role == "assistant":
            raise BadConversation(f"message {number} is of the assistant, but the user must speak first")
        else:
            turns.append(Message(role, content))  # type: ignore[arg-type]  # one of the two
    if (length := len(system) + sum(len(turn.content) for turn in turns)) > MAX_CHARACTERS:
        raise BadConversation(f"{length} characters, more than {MAX_CHARACTERS}")
    return system, turns


def _message(number: int, row: Any) -> tuple[str, str]:
    if isinstance(row, dict) and {"from", "value"} <= row.keys():
        row = {"role": row["from"], "content": row["value"]}
    if not isinstance(row, dict) or not {"role", "content"} <= row.keys():
        raise BadConversation(f"message {number} has no role and content")
    role, content = row["role"], _text_of(row["content"])
    if isinstance(role, str):
        role = _OTHER_NAMES.get(role, role)
    if role not in SPEAKERS:
        raise BadConversation(
            f"message {number} has role {str(role)[:40]!r}, which is not one of {', '.join(SPEAKERS)}"
        )
    if not isinstance(content, str):
        raise BadConversation(f"message {number} is not text but {type(content).__name__}")
    if not content.strip():
        raise BadConversation(f"message {number} is empty")
    try:
        content.encode()
    except UnicodeEncodeError as error:
        raise BadConversation(f"message {number} is not valid Unicode") from error
    return role, content


def _text_of(content: Any) -> Any:
    """Return the text of a content that is a list of parts, if all are text; any other content as it is."""
    if not isinstance(content, list) or not content:
        return content
    if not all(isinstance(part, dict) and part.get("type") == "text" for part in content):
        return content
    texts = [part.get("text") for part in content]
    return "\n".join(texts) if all(isinstance(text, str) for text in texts) else content


def _parsed(text: str) -> Any:
    """Return what a text that starts as a list holds as JSON, None if it is none."""
    if not text.lstrip().startswith("["):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
