"""`neurontune neurons`: the strongest neurons of a run, a card each."""

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from flows.commands.console import TextConsole
from flows.services import environment
from neurontune_core.config import change_runtime
from neurontune_core.errors import InputError
from neurontune_core.shown_text import one_line

if TYPE_CHECKING:
    from neurontune_core.cards.shown import ShownCard

LEGEND = {
    "score": "mean contribution over the pairs [95% interval]; the larger, the more the neuron belongs to its set",
    "factor": "the number by which the tuned model multiplies the neuron's activation",
    "promotes, suppresses": "the tokens that a positive activation makes more and less likely",
    "excited by": "the plain prompts with the largest activation at their last position, and this activation",
}


def show_neurons(run: str, top: int, harmful: bool, settings: Sequence[str], debug: bool) -> None:
    """Print the cards of the `top` strongest neurons of each set; if the run has fewer, they are made first.

    Raises:
        InputError: no such run, or it has no ranking of its neurons.
    """
    if top < 1:
        raise InputError(f"--top: {top} is below 1; ask for one neuron or more")
    runtime = environment.ready(settings, debug)
    from tasks.recording.runs import find_run

    found = find_run(run, runtime, finished=True)  # a bad name is told before torch is imported
    from neurontune_core.cards.shown import shown_cards
    from tasks.cards import cards_of_run, factors_of_run

    cards = cards_of_run(found, top, change_runtime(found.config, settings).runtime)
    console = TextConsole(soft_wrap=True)
    console.print(one_line(f"{found.name}  {found.run_id}  {found.config.model.name}"))
    shown, hidden = shown_cards(cards, factors_of_run(found)), 0
    for name, meaning in LEGEND.items():
        if shown and (name != "factor" or any(card.factor for card in shown)):
            console.print(f"{name}: {meaning}")
    for role, group in groupby(shown, lambda card: card.role):
        console.print(f"\n{role} neurons, strongest first")
        for card in group:
            console.print(_written(card, harmful))
            hidden += sum(prompt.harmful for prompt in card.prompts) if not harmful else 0
    if not cards:
        console.print("no neuron was selected")
    if hidden:
        console.print(f"\n{hidden} harmful prompts are not shown; --harmful shows them")


def _written(card: "ShownCard", harmful: bool) -> str:
    factor = f"  factor {card.factor}" if card.factor else ""
    lines = [
        f"\nlayer {card.layer}  neuron {card.neuron}  score {card.score}{factor}",
        *([f"  routed      {card.routed} prompts end at its expert"] if card.routed else []),
        f"  promotes    {'  '.join(card.promoted)}",
        f"  suppresses  {'  '.join(card.suppressed)}",
    ]
    for place, prompt in enumerate(card.prompts):
        text = prompt.text if harmful or not prompt.harmful else "(harmful)"
        lines.append(f"  {'' if place else 'excited by':<11} {prompt.activation:>7}  {text}")
    return "\n".join(lines)
