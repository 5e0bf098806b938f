"""Models of few positions: what does not fit is told, never run."""

from types import SimpleNamespace
from typing import Any

import pytest
from short_models import short_chat

from neurontune_core.errors import InputError
from neurontune_core.model.generate import generate, respond
from neurontune_core.model.positions import overflow, position_limit
from neurontune_core.records import Conversation, Message


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_a_prompt_that_leaves_no_room_is_told(family: str) -> None:
    chat = short_chat(family, 64)
    assert position_limit(chat.model) == 64
    assert len(generate(chat, [[1] * 56], 8)[0]) == 8
    with pytest.raises(InputError, match="prompt of 57 tokens and 8 response tokens exceed the model's 64 positions"):
        generate(chat, [[1] * 5, [1] * 57], 8)
    before = (Message("user", "x" * 20), Message("assistant", "y" * 20))
    assert respond(chat, ["Why?"], 8)
    with pytest.raises(InputError, match="exceed the model's 64 positions"):
        respond(chat, [Conversation("Why is that so?", before)], 8)


def test_numbers_are_written_with_commas() -> None:
    chat = short_chat("gpt2", 1024)
    expected = "prompt of 1,312 tokens and 24 response tokens exceed the model's 1,024 positions"
    assert overflow(chat, 1312, 24) == expected
    assert overflow(chat, 1000, 24) == ""


@pytest.mark.parametrize("fields", [{}, {"max_position_embeddings": None}, {"max_position_embeddings": -1}])
def test_a_model_without_a_limit_takes_everything(fields: dict[str, Any]) -> None:
    config = SimpleNamespace(get_text_config=lambda: SimpleNamespace(**fields))
    model: Any = SimpleNamespace(config=config)
    assert position_limit(model) is None
    chat: Any = SimpleNamespace(model=model)
    assert overflow(chat, 10**9, 1) == ""


@pytest.mark.parametrize("name", ["n_positions", "max_seq_len"])
def test_other_names_of_the_limit_are_known(name: str) -> None:
    model: Any = SimpleNamespace(config=SimpleNamespace(get_text_config=lambda: SimpleNamespace(**{name: 2048})))
    assert position_limit(model) == 2048
