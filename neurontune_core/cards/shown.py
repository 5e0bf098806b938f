"""A card as text for a person: it contains no control characters, and every text is one line."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from neurontune_core.cards.card import NeuronCard
from neurontune_core.expert_address import neuron_in_words
from neurontune_core.records import ScalingFactors

LONGEST_PROMPT = 100


@dataclass(frozen=True)
class ShownPrompt:
    """The activation and the text of a prompt."""

    activation: str
    text: str
    harmful: bool


@dataclass(frozen=True)
class ShownCard:
    """A card's figures and texts; `factor` is "" without a factor, `routed` is "" outside routed experts.

    `neuron` is its name within its layer.
    """

    role: str
    layer: int
    index: int
    score: str
    factor: str
    promoted: tuple[str, ...]
    suppressed: tuple[str, ...]
    prompts: tuple[ShownPrompt, ...]
    neuron: str
    routed: str


def shown_cards(cards: Sequence[NeuronCard], scaling: ScalingFactors | None) -> list[ShownCard]:
    """Return cards as they are shown, each with its neuron's factor of the run, if the run has factors."""
    factors = dict(zip(scaling.neurons.all, scaling.alpha.tolist(), strict=True)) if scaling else {}
    return [
        ShownCard(
            role=card.role,
            layer=card.layer,
            index=card.index,
            score=score_with_interval(card),
            factor=f"{factors[card.neuron]:.3f}" if card.neuron in factors else "",
            promoted=tuple(map(repr, card.promoted)),
            suppressed=tuple(map(repr, card.suppressed)),
            prompts=tuple(ShownPrompt(f"{p.activation:.2f}", one_line(p.text), p.harmful) for p in card.prompts),
            neuron=neuron_in_words(card.neuron, card.expert, card.place),
            routed=routing(card),
        )
        for card in cards
    ]


def routing(card: NeuronCard) -> str:
    """Return how many prompts are routed to the neuron's expert, "" if it is in no routed expert."""
    shares = zip(("harmful", "harmless"), card.routed, strict=False)
    return ", ".join(f"{share:.0%} of {kind}" for kind, share in shares if not math.isnan(share))


def score_with_interval(card: NeuronCard) -> str:
    """Return the score with its 95% interval, as far as they exist."""
    if math.isnan(card.score):
        return "no score"
    interval = "" if math.isnan(card.low) else f" [{card.low:.3g}, {card.high:.3g}]"
    return f"{card.score:.3g}{interval}"


def one_line(text: str) -> str:
    """Return the beginning of a text as one line, control and other unprintable characters replaced by blanks."""
    line = " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())
    return line if len(line) <= LONGEST_PROMPT else f"{line[:LONGEST_PROMPT]}..."
