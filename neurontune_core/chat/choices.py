"""What a person chooses in a chat: the strength of the tuning, an attack, a system message."""

import math
from collections.abc import Iterable

from neurontune_core.data import corpus
from neurontune_core.data.corpus import Attack
from neurontune_core.errors import InputError, nearest_first

NO_ATTACK = "none"
NO_SYSTEM = "none"


def shipped_attacks() -> dict[str, Attack]:
    """Return the shipped attack prompts by name."""
    return {attack.name: attack for attack in corpus.attacks()}


def unknown_attack(name: str, attacks: Iterable[str]) -> InputError:
    """Return the error that names the attacks, those most like `name` first."""
    return InputError(f"attack: unknown name {name!r}; choose {NO_ATTACK} or one of {nearest_first(name, attacks)}")


def strength_of(text: str) -> float:
    """Return a strength that is given as text.

    Raises:
        InputError: it is not a number from 0 to 1.
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise InputError(f"strength: {text!r} is not a number from 0 (base model) to 1 (tuned model)")
    return value
