"""Find queries and attacked prompts that leave no room for their response, before the model runs."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

from neurontune_core.data.corpus import Attack, Query
from neurontune_core.data.queries import Rejected
from neurontune_core.errors import InputError
from neurontune_core.model.chat import RefusedByTemplate, encode_response
from neurontune_core.model.load import ChatModel
from neurontune_core.model.positions import overflow, position_limit
from neurontune_core.pairs.data_files import system_prompts
from neurontune_core.pairs.prepare import Prepared
from neurontune_core.pairs.settings import PairsConfig
from neurontune_core.records import Conversation, PromptPair

logger = logging.getLogger("neurontune")


def check_system_prompts(config: PairsConfig, chat: ChatModel) -> None:
    """Check that the model's template takes the system message of the model and of every dataset.

    Raises:
        InputError: it does not; the message names the field.
    """
    chat.prompt_tokens("?")
    for name, text in system_prompts(config).items():
        try:
            chat.prompt_tokens(Conversation("?", system=text))
        except RefusedByTemplate as error:
            field = f"pairs.sources.{name}.system_prompt"
            raise InputError(f'{field}: {error.reason}; leave it out, or set it to ""') from error


@dataclass(frozen=True)
class Room:
    """A model, and how many tokens of response every prompt must leave room for."""

    chat: ChatModel
    tokens: int

    def problem(self, conversation: Conversation, response: str = "") -> str:
        """Return why prompt and response do not fit the model's positions, "" if they do."""
        own = len(encode_response(self.chat.tokenizer, response, None)) + 1 if response else 0
        return overflow(self.chat, len(self.chat.prompt_tokens(conversation)), max(self.tokens, own))

    def unfit(self, query: Query) -> str:
        """Return why the model cannot take a query without an attack, "" if it can."""
        try:
            return self.problem(query.conversation, query.response)
        except RefusedByTemplate as error:
            return error.reason

    def takes(self, query: Query, attacks: Sequence[Attack]) -> bool:
        """Return whether a query leaves room in every one of these attacks."""
        wrapped = (replace(query.conversation, prompt=attack.wrap(query.text)) for attack in attacks)
        return not any(self.problem(each, query.response) for each in wrapped)


def room_for(chat: ChatModel, config: PairsConfig, refusals: Sequence[str]) -> Room:
    """Return the room a response needs: the first refusal with its end, or the model's own response."""
    refusal = len(encode_response(chat.tokenizer, refusals[0], None)) + 1
    return Room(chat, max(config.response_tokens, refusal))


def shortest(prepared: Prepared) -> Query:
    """Return the shortest harmful training query."""
    harmful = [q for q in prepared.queries if q.role == "safety" and prepared.splits[q.id] == "train"]
    return min(harmful, key=lambda query: len(query.conversation.text))


def without_long_attacks(prepared: Prepared, room: Room) -> Prepared:
    """Return what was prepared without the attacks that leave no room even around the shortest harmful query.

    Raises:
        InputError: no attack is left to train on.
    """
    query = shortest(prepared)
    long = {a.name for a in (*prepared.seen, *prepared.unseen) if not room.takes(query, [a])}
    seen, unseen = ([a for a in attacks if a.name not in long] for attacks in (prepared.seen, prepared.unseen))
    if not seen and prepared.seen:
        raise InputError(
            f"pairs: no attack around query {query.id} leaves room for {room.tokens} response tokens in the model's "
            f"{position_limit(room.chat.model):,} positions; choose a model with more, or shorter attacks and queries"
        )
    if long:
        logger.warning("pairs: %d attacks are too long for the model: %s", len(long), ", ".join(sorted(long)))
    return replace(prepared, seen=seen, unseen=unseen)


def without_long_prompts(
    pairs: Sequence[PromptPair], queries: Sequence[Query], room: Room
) -> tuple[list[PromptPair], list[Rejected]]:
    """Return the pairs without the attacked prompts that leave no room, and these as rejected; queries all fit."""
    rows = {query.id: query.row for query in queries}
    problems = {pair.id: room.problem(pair.conversation, pair.response) for pair in pairs if pair.attack_name}
    rejected = [
        Rejected(pair.source, rows[pair.query_id], f"prompt {pair.id} is not used: {problems[pair.id]}")
        for pair in pairs
        if problems.get(pair.id)
    ]
    return [pair for pair in pairs if not problems.get(pair.id)], rejected
