"""What is asked of the two models, and how: strength, attack wrapper, and the judge's verdict on the answers."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from neurontune_core.chat.choices import NO_ATTACK, NO_SYSTEM, shipped_attacks, strength_of, unknown_attack
from neurontune_core.chat.side_by_side import Answers, stream
from neurontune_core.data.corpus import Attack
from neurontune_core.errors import InputError
from neurontune_core.evaluation.judges import Completion, Judge, Verdict
from neurontune_core.model.chat import RefusedByTemplate, without_thought
from neurontune_core.model.load import ChatModel
from neurontune_core.model.positions import position_limit
from neurontune_core.records import Conversation, Message, ScalingFactors

History = tuple[Message, ...]


@dataclass
class ChatSession:
    """One person's conversation with a tuned model and its base. Each of the two remembers its own answers.

    Attributes:
        chat: the base model.
        scaling: the learned factors.
        judge: gives the verdicts.
        attacks: attack prompts by name.
        strength: from 0, the base model, to 1, the tuned one.
        attack: name of the attack every message is wrapped in, `none` for none.
        max_new_tokens: longest answer, in tokens.
        system: system message of the conversation, "" for the one the run was made with.
        histories: the turns so far, of the base and of the tuned model; a message stays as it was wrapped.
    """

    chat: ChatModel
    scaling: ScalingFactors
    judge: Judge
    attacks: dict[str, Attack] = field(default_factory=shipped_attacks)
    strength: float = 1.0
    attack: str = NO_ATTACK
    max_new_tokens: int = 200
    system: str = ""
    histories: tuple[History, History] = ((), ())

    def set_strength(self, text: str) -> None:
        """Set the strength.

        Raises:
            InputError: it is not a number from 0 to 1.
        """
        self.strength = strength_of(text)

    def set_attack(self, name: str) -> None:
        """Wrap messages in an attack from now on, or in none.

        Raises:
            InputError: there is no attack of this name.
        """
        if name != NO_ATTACK and name not in self.attacks:
            raise unknown_attack(name, self.attacks)
        self.attack = name

    def set_tokens(self, text: str) -> None:
        """Set the length of the longest answer.

        Raises:
            InputError: it is not a whole number of 1 or more.
        """
        if not text.isdecimal() or int(text) < 1:
            raise InputError(f"tokens: {text!r} is not a whole number of 1 or more")
        self.max_new_tokens = int(text)

    def prompt(self, message: str) -> str:
        """Return what the models are given for a message."""
        return message if self.attack == NO_ATTACK else self.attacks[self.attack].wrap(message)

    def start_over(self) -> None:
        """Forget what has been said; system message, strength and attack stay."""
        self.histories = ((), ())

    def set_system(self, text: str) -> None:
        """Start over with a system message, or with `none` as the run was made.

        Raises:
            InputError: the model's template takes no system message, or it leaves no room for anything else.
        """
        system = "" if text == NO_SYSTEM else text
        try:
            tokens = self.chat.prompt_tokens(Conversation("?", system=system))
        except RefusedByTemplate as error:
            raise InputError(f"system: {error.reason}; go on without one") from error
        if system and self._room(len(tokens)) < 1:
            limit = position_limit(self.chat.model)
            raise InputError(f"system: this system message fills the model's {limit:,} positions; write a shorter one")
        self.system = system
        self.start_over()

    def answers(self, message: str) -> Iterator[Answers]:
        """Yield both models' answers as they grow; they stop where the model's positions end.

        Raises:
            InputError: conversation and message leave no room for an answer.
        """
        base, tuned = (self._tokens(history, self.prompt(message)) for history in self.histories)
        room = self._room(max(len(base), len(tuned)))
        if room < 1:
            limit = position_limit(self.chat.model)
            if not any(self.histories):
                raise InputError(f"message: it fills the model's {limit:,} positions; write a shorter one")
            raise InputError(
                f"conversation: with this message it fills the model's {limit:,} positions; /new starts a new one"
            )
        yield from stream(self.chat, self.scaling, self.strength, (base, tuned), min(room, self.max_new_tokens))

    def remember(self, message: str, answers: Answers) -> None:
        """Add a message and both models' answers, without their thoughts, to what has been said."""
        asked = Message("user", self.prompt(message))
        base, tuned = (
            (*history, asked, Message("assistant", without_thought(answer)))
            for history, answer in zip(self.histories, answers, strict=True)
        )
        self.histories = (base, tuned)

    @property
    def full(self) -> bool:
        """Whether the conversation leaves no room for another message."""
        return self._room(max(len(self._tokens(history, "?")) for history in self.histories)) < 1

    def _tokens(self, history: History, prompt: str) -> list[int]:
        try:
            return self.chat.prompt_tokens(Conversation(prompt, history, self.system))
        except RefusedByTemplate as error:
            raise InputError(f"conversation: {error.reason}; /new starts a new one") from error

    def _room(self, tokens: int) -> int:
        """Return how many positions are left after this number of tokens."""
        limit = position_limit(self.chat.model)
        return self.max_new_tokens if limit is None else limit - tokens

    def verdicts(self, message: str, answers: Answers) -> tuple[Verdict, Verdict]:
        """Return the judge's verdict on the base and on the tuned model's answer."""
        prompt = self.prompt(message)
        base, tuned = self.judge([Completion(str(row), prompt, text) for row, text in enumerate(answers)])
        return base, tuned
