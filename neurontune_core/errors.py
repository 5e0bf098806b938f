"""Errors a user can act on, told apart by what should happen next."""


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
