"""Public sets as another room would read them."""

from dataclasses import dataclass

from neurontune_core.data.settings import SourceConfig
from neurontune_core.records import Conversation, Role


@dataclass(frozen=True)
class FakeQuestion:
    id: str
    text: str
    category: str = "uncategorised"
    row: int = 1

    @property
    def conversation(self) -> Conversation:
        return Conversation(self.text)


@dataclass(frozen=True)
class FakeAttack:
    name: str
    type: str
    category: str

    def wrap(self, query: str) -> str:
        return f"[{self.name}] {query}"


class FakeLibrary:
    def __init__(self) -> None:
        self.asked: list[tuple[str, Role, SourceConfig]] = []

    def questions(self, dataset: str, role: Role, source: SourceConfig) -> list[FakeQuestion]:
        self.asked.append((dataset, role, source))
        made = [FakeQuestion(f"{dataset}-{number}", f"Question {number}?", row=number + 1) for number in range(6)]
        return [*made, FakeQuestion(f"{dataset}-again", "QUESTION 0!")]

    def digest(self, dataset: str, role: Role, source: SourceConfig) -> str:
        return f"{dataset}/{role}/{source.path}"

    def attacks(self) -> list[FakeAttack]:
        return [
            FakeAttack("admin", "privilege_escalation", "sudo_mode"),
            FakeAttack("root", "privilege_escalation", "sudo_mode"),
            FakeAttack("french", "attention_shifting", "translation"),
        ]
