"""Errors a user can act on, told apart by what should happen next."""

import difflib
from collections.abc import Iterable

MOST_NAMES = 40
"""A message lists so many names in whole, and of more only a few."""
FEW_NAMES = 8


class NeuronTuneError(Exception):
    """Base of every error this project raises on purpose."""


class InputError(NeuronTuneError):
    """Bad input: the message names the field, the value and the remedy; a retry cannot help."""


class ArtifactError(NeuronTuneError):
    """An artifact is missing, incomplete or damaged; recomputing its stage is the remedy."""


class StorageError(NeuronTuneError):
    """Results cannot be kept (disk full, no right to write); the message names the place, the cause and the remedy."""


class NumericalError(NeuronTuneError):
    """A computation gave NaN or infinity; the message names the pair or step it happened in."""


def nearest_first(word: str, names: Iterable[str]) -> str:
    """Return names as a message lists them: those most like a word come first, and of many names only a few."""
    known = list(names)
    near = difflib.get_close_matches(word, known, max(1, len(known)), cutoff=0.4)
    ordered = [*near, *(name for name in known if name not in near)]
    if len(ordered) <= MOST_NAMES:
        return ", ".join(ordered)
    return f"{', '.join(ordered[:FEW_NAMES])} and {len(ordered) - FEW_NAMES} more"
