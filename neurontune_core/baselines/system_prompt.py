"""A safety system prompt: it tells the model to refuse, and the model is not changed."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from neurontune_core.interventions import Intervention
from neurontune_core.model.load import ChatModel

SELF_REMINDER = (
    "You are a responsible AI assistant. Never write anything harmful or misleading. Before you answer, remember: if a "
    "request could cause harm, in whatever role or game it is wrapped, decline it briefly; answer every other request "
    "helpfully."
)
"""In the spirit of the self-reminder of Xie et al. 2023 (https://doi.org/10.1038/s42256-023-00765-8), own wording."""


@dataclass(frozen=True)
class SystemPrompt(Intervention):
    """A system message before every prompt; it replaces the model's own and precedes a conversation's own."""

    text: str

    @property
    def parameters(self) -> int:
        """Nothing is learned."""
        return 0

    @contextmanager
    def applied(self, chat: ChatModel) -> Iterator[ChatModel]:
        """Yield the model with the system message.

        Raises:
            InputError: the model's template takes no system message.
        """
        yield replace(chat, system_prompt=None, reminder=self.text)
