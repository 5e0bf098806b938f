"""What is known of one neuron, and a table of it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields

import pandas as pd

from neurontune_core.records import NeuronId, Role


@dataclass(frozen=True)
class ExcitingPrompt:
    """A prompt, and the neuron's activation at its last position."""

    id: str
    text: str
    harmful: bool
    activation: float


@dataclass(frozen=True)
class NeuronCard:
    """A neuron's score with its 95% interval over pairs, what its output column says, and what excites it most.

    A score or bound that does not exist is NaN. Tokens and prompts come strongest first. Of a neuron in a mixture of
    experts, `expert` and `place` are its address (`expert_address.expert_of`), and `routed` the shares of harmful and
    harmless plain prompts whose last token is sent to the expert; "", 0 and () otherwise.
    """

    role: Role
    layer: int
    index: int
    score: float
    low: float
    high: float
    promoted: tuple[str, ...]
    suppressed: tuple[str, ...]
    prompts: tuple[ExcitingPrompt, ...]
    expert: str = ""
    place: int = 0
    routed: tuple[float, ...] = ()

    @property
    def neuron(self) -> NeuronId:
        """Which neuron it is."""
        return NeuronId(self.layer, self.index)


def cards_table(cards: Sequence[NeuronCard]) -> pd.DataFrame:
    """Return cards as a table, one row a neuron; tokens and prompts are lists."""
    return pd.DataFrame([asdict(card) for card in cards], columns=[field.name for field in fields(NeuronCard)])


def cards_of(table: pd.DataFrame) -> list[NeuronCard]:
    """Return the cards of a table made by `cards_table`."""
    return [
        NeuronCard(
            **row
            | {name: tuple(row[name]) for name in ("promoted", "suppressed", "routed") if name in row}
            | {"prompts": tuple(ExcitingPrompt(**prompt) for prompt in row["prompts"])}
        )
        for row in table.to_dict("records")
    ]
