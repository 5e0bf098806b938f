"""The neurons of a model: found (`find`), captured and set (`edit`), scaled (`scale`)."""

from neurontune_core.neurons.edit import (
    captured,
    edited,
    edited_banks,
    replaced,
)
from neurontune_core.neurons.find import (
    Bank,
    LayerCoverage,
    bank_module,
    banks,
    coverage,
    decoder_layers,
    down_projections,
    expert_counts,
    layers_path,
    leave_out_uncovered,
    neuron_counts,
    output_column,
    output_weights,
)
from neurontune_core.neurons.scale import (
    fold,
    modulated,
    scaled,
)

__all__ = [
    "Bank",
    "LayerCoverage",
    "bank_module",
    "banks",
    "captured",
    "coverage",
    "decoder_layers",
    "down_projections",
    "edited",
    "edited_banks",
    "expert_counts",
    "fold",
    "layers_path",
    "leave_out_uncovered",
    "modulated",
    "neuron_counts",
    "output_column",
    "output_weights",
    "replaced",
    "scaled",
]
