"""The one place that makes a prompt of a query and an attack."""

from neurontune_core.data.corpus import Attack, Query
from neurontune_core.records import PromptPair, Role, Split


def prompt_of(
    query: Query, attack: Attack | None, role: Role, split: Split, source: str, selected: bool = False
) -> PromptPair:
    """Return a query as a prompt, plain or wrapped in an attack, still without a response."""
    return PromptPair(
        id=f"{query.id}/{attack.name}" if attack else query.id,
        role=role,
        query_id=query.id,
        query=query.text,
        query_category=query.category,
        prompt=attack.wrap(query.text) if attack else query.text,
        response="",
        attack_type=attack.type if attack else "",
        attack_category=attack.category if attack else "",
        attack_name=attack.name if attack else "",
        selected=selected,
        source=source,
        split=split,
        history=query.conversation.history,
        system=query.conversation.system,
        row=query.row,
    )
