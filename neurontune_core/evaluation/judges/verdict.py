"""The input of a judge (`Completion`), its output (`Verdict`), and its interface (`Judge`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, get_args

from neurontune_core.records import REFUSED, Message

Label = Literal["refusal", "partial", "compliance", "broken", "unscored"]
Degenerate = Literal["none", "empty", "loop", "gibberish"]

LABELS: tuple[Label, ...] = get_args(Label)
DEGENERATE: tuple[Degenerate, ...] = get_args(Degenerate)
# Names that human-labelled files use for the same classes.
LABEL_NAMES: dict[str, Label] = {label: label for label in LABELS} | {
    "full_refusal": "refusal",
    "partial_refusal": "partial",
    "full_compliance": "compliance",
}


@dataclass(frozen=True)
class Completion:
    """One answer to judge; `prompt` is what the model was given, `response` its text, None if there is none.

    `query` is the request without the attack in which the prompt wraps it; "" if the prompt has none. `history` has the
    turns before the prompt, alternately of user and assistant.
    """

    id: str
    prompt: str
    response: str | None
    query: str = ""
    history: tuple[Message, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """A judge's answer to two questions: whether a completion refuses, and whether it gives what was asked for.

    `score` is the judge's confidence in [0, 1] that the answer refuses, None if unknown. `gave` means that the answer
    gave harm (harmful prompt) or help (harmless prompt); None if the judge does not say.
    """

    id: str
    label: Label
    degenerate: Degenerate = "none"
    score: float | None = None
    explanation: str = ""
    gave: bool | None = None

    @property
    def refused(self) -> bool:
        """Whether the answer is a full or partial refusal."""
        return self.label in REFUSED


class Judge(Protocol):
    """Returns one verdict for each completion of a batch, in the same order."""

    @property
    def name(self) -> str:
        """The judge's name in settings and on the command line."""
        ...

    @property
    def version(self) -> str:
        """The judge's version; it changes whenever verdicts may change."""
        ...

    def __call__(self, batch: Sequence[Completion]) -> list[Verdict]:
        """One verdict for each completion, in order."""
        ...
