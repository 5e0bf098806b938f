"""Prompts that are left out because they do not fit the model, with their row in the dataset and the reason."""

from collections.abc import Mapping, Sequence

import pandas as pd

from neurontune_core.model.chat import RefusedByTemplate
from neurontune_core.model.load import ChatModel
from neurontune_core.model.positions import overflow
from neurontune_core.records import Conversation, PromptPair

COLUMNS = ("benchmark", "id", "source", "row", "reason")


def with_room(
    prompts: Mapping[str, Sequence[PromptPair]], chat: ChatModel, tokens: int
) -> tuple[dict[str, list[PromptPair]], pd.DataFrame]:
    """Return the prompts of each group that leave room for an answer of this many tokens, and a table of the others.

    Columns of the table: benchmark, id, source, row (counted from 1; 0 if unknown), reason.
    """
    kept: dict[str, list[PromptPair]] = {}
    left_out = []
    for name, members in prompts.items():
        reasons = [_unfit(chat, pair.conversation, tokens) for pair in members]
        kept[name] = [pair for pair, reason in zip(members, reasons, strict=True) if not reason]
        left_out += [
            (name, pair.id, pair.source, pair.row, reason)
            for pair, reason in zip(members, reasons, strict=True)
            if reason
        ]
    return kept, pd.DataFrame(left_out, columns=list(COLUMNS))


def left_out_in_words(left_out: pd.DataFrame) -> str:
    """Return in words how many prompts are left out, and the first of them with its reason; the table has a row."""
    first = left_out.iloc[0]
    row = f"row {first['row']} of {first['source']}, " if first["row"] else ""
    return (
        f"{len(left_out)} prompts are left out, the first is {row}{first['id']} of {first['benchmark']}: "
        f"{first['reason']}"
    )


def _unfit(chat: ChatModel, conversation: Conversation, tokens: int) -> str:
    """Return why the model cannot take a conversation, "" if it can."""
    try:
        return overflow(chat, len(chat.prompt_tokens(conversation)), tokens)
    except RefusedByTemplate as error:
        return error.reason
