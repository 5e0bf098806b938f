"""Errors a user can act on, one class for each reaction."""

import difflib
from collections.abc import Iterable

MOST_NAMES = 40
"""A message lists at most this many names; of a longer list it gives only the nearest few."""
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
    """Return names for an error message, the most similar to `word` first; a long list is cut to a few."""
    known = list(names)
    near = difflib.get_close_matches(word, known, max(1, len(known)), cutoff=0.4)
    ordered = [*near, *(name for name in known if name not in near)]
    if len(ordered) <= MOST_NAMES:
        return ", ".join(ordered)
    return f"{', '.join(ordered[:FEW_NAMES])} and {len(ordered) - FEW_NAMES} more"
