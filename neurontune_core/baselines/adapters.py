"""Adapters of peft: insert one into a model in place, and remove it again."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor
from transformers.pytorch_utils import Conv1D

from neurontune_core.errors import InputError
from neurontune_core.interventions import Intervention
from neurontune_core.model.load import ChatModel
from neurontune_core.neurons import coverage, down_projections, layers_path


@dataclass(frozen=True)
class Adapter(Intervention):
    """Learned tensors added to some down projections; `weights` has them by peft's names; empty before learning."""

    targets: tuple[str, ...]
    weights: Mapping[str, Tensor]

    @property
    def parameters(self) -> int:
        """Entries of all weights."""
        return sum(weight.numel() for weight in self.weights.values())

    def settings(self, transposed: bool) -> Any:
        """Return peft's configuration; the weights of `transposed` projections are `[input, output]`."""
        raise NotImplementedError

    @contextmanager
    def put_in(self, chat: ChatModel) -> Iterator[Any]:
        """Insert the adapter (a new one if it has no weights) into the model in place, and yield it; removed on exit.

        Raises:
            InputError: peft is not installed.
        """
        try:
            from peft import get_peft_model, set_peft_model_state_dict
        except ImportError as error:
            raise InputError("baseline.method: needs peft; pip install 'neurontune[studies]'") from error
        transposed = any(isinstance(module, Conv1D) for module in down_projections(chat.model).values())
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            adapter = get_peft_model(chat.model, self.settings(transposed))
        try:
            if self.weights:
                set_peft_model_state_dict(adapter, dict(self.weights))
            yield adapter
        finally:
            adapter.unload()

    @contextmanager
    def applied(self, chat: ChatModel) -> Iterator[ChatModel]:
        """Yield the adapted model; undone on exit, also after an error."""
        with self.put_in(chat):
            yield chat

    def taken(self, adapter: Any) -> Self:
        """Return this adapter with the present weights of the adapter in a model."""
        from peft import get_peft_model_state_dict

        state = get_peft_model_state_dict(adapter)
        return replace(self, weights={name: value.detach().float().cpu().clone() for name, value in state.items()})


def paths(chat: ChatModel, layers: Sequence[int] | None = None) -> tuple[str, ...]:
    """Return the paths of the down projections of layers, by default of all layers that have one."""
    rows = [row for row in coverage(chat.model) if not row.problem]
    wanted = [row for row in rows if layers is None or row.layer in layers]
    return tuple(f"{layers_path(chat.model)}.{row.layer}.{row.path}" for row in wanted)
