"""The memory of a model on its devices, and of the rest of the process."""

from dataclasses import dataclass

from transformers import PreTrainedModel

from neurontune_core.costs.work import Work
from neurontune_core.model.batches import bytes_per_token
from neurontune_core.model.devices import bytes_by_device, is_spread, unrounded_bytes
from neurontune_core.model.load import WITHOUT_GRADIENTS


@dataclass(frozen=True)
class Place:
    """The memory of a model with its activations, and of the rest of the process.

    Of a model that is spread over several devices, all activations are counted on the GPU with most weights.

    Attributes:
        loading: most bytes of weights in the process while the model is read: all of them, unrounded; but of a model
            that is spread only the offloaded layers are ever in it.
        here: bytes of weights that stay in the process.
        card: bytes of weights on the GPU that has most of them; 0 without one.
        weights: bytes of all weights.
        token_bytes: bytes that a token takes with gradients.
        process: bytes of the process without a model.
    """

    loading: int
    here: int
    card: int
    weights: int
    token_bytes: int
    process: int

    @staticmethod
    def of(model: PreTrainedModel, process: int) -> "Place":
        """Return the place of a loaded model."""
        sizes = bytes_by_device(model)
        weights = sum(sizes.values())
        card = max((size for device, size in sizes.items() if device.startswith("cuda")), default=0)
        here = sum(size for device, size in sizes.items() if not device.startswith(("cuda", "disk")))
        loading = here if is_spread(model) else unrounded_bytes(model)
        return Place(loading, here, card, weights, bytes_per_token(model), process)

    def peak(self, work: Work, more: int = 0) -> tuple[int, int]:
        """Return the peak memory of process and GPU; `more` bytes are held in addition to weights and activations."""
        kept = max(work.kept * self.token_bytes, work.batch * self.token_bytes // WITHOUT_GRADIENTS) + more
        if self.card:
            return self.process + max(self.loading, self.here), self.card + kept
        return self.process + max(self.loading, self.here + kept), 0

    @property
    def resting(self) -> tuple[int, int]:
        """The memory of process and GPU while the model is idle."""
        return self.peak(Work())
