"""How long a text a model can take, and which prompts leave no room for the response."""

from __future__ import annotations

from typing import TYPE_CHECKING

from transformers import PreTrainedModel

if TYPE_CHECKING:
    from neurontune_core.model.load import ChatModel

NAMES = ("max_position_embeddings", "n_positions", "max_seq_len")


def position_limit(model: PreTrainedModel) -> int | None:
    """Return how many positions a model's configuration declares, None if it has no limit.

    A model with learned positions fails beyond them; one with rotary positions goes on, but was not trained there.
    """
    config = model.config.get_text_config()
    declared = [getattr(config, name, None) for name in NAMES]
    return min((value for value in declared if isinstance(value, int) and value > 0), default=None)


def overflow(chat: ChatModel, prompt_tokens: int, response_tokens: int) -> str:
    """Return why a prompt and the longest response to it, in tokens, do not fit the model; "" if they do."""
    limit = position_limit(chat.model)
    if limit is None or prompt_tokens + response_tokens <= limit:
        return ""
    return (
        f"prompt of {prompt_tokens:,} tokens and {response_tokens:,} response tokens exceed the model's "
        f"{limit:,} positions"
    )
