"""Gradients of the safety and the utility loss in the parameters of any change of the model, batch by batch."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel

from neurontune_core.model.load import ChatModel
from neurontune_core.records import Role
from neurontune_core.scaling.losses import Example, JointLoss, micro_batches, response_losses


@contextmanager
def explicit_attention(model: PreTrainedModel) -> Iterator[None]:
    """Switch a model to attention written out in plain operations; undone on exit.

    At the lengths of training prompts its backward pass is faster than the fused kernels' on a processor (1.3 to 1.9
    times for the whole step of a 135M model), and unlike those it has a second derivative.
    """
    previous = model.config._attn_implementation
    model.set_attn_implementation("eager")
    try:
        yield
    finally:
        model.set_attn_implementation(previous)


@dataclass(frozen=True)
class Sums:
    """Sums over the first `parts` parts of a batch: gradients in the parameters, and each role's loss in nats."""

    gradients: list[Tensor]
    losses: dict[Role, float]
    parts: int = 0


def gradients(
    chat: ChatModel,
    change: Callable[[], AbstractContextManager[None]],
    parameters: Sequence[Tensor],
    examples: Sequence[Example],
    loss: JointLoss,
    create_graph: bool = False,
    done: Sums | None = None,
    keep: Callable[[Sums], object] = lambda sums: None,
) -> tuple[list[Tensor], dict[Role, float]]:
    """Return the gradients of a joint loss in the parameters of any change, and both roles' losses in nats.

    The batch is run in parts of at most `chat.batch_tokens` tokens; each part runs inside a new context `change()`.
    `keep` is called with the sums after each part; given such sums as `done`, only the other parts are run.
    """
    counts = {role: sum(example.role == role for example in examples) for role in ("safety", "utility")}
    sums = done or Sums([torch.zeros_like(parameter) for parameter in parameters], {})
    for part in micro_batches(examples, chat.batch_tokens)[sums.parts :]:
        with explicit_attention(chat.model), change():
            losses = response_losses(chat, part, loss.base, loss.positions)
        joint = torch.stack([loss.role_weights[role] / counts[role] * value for role, value in losses.items()]).sum()
        pieces = torch.autograd.grad(joint, parameters, create_graph=create_graph)
        means = sums.losses | {
            role: sums.losses.get(role, 0.0) + float(value.detach()) / counts[role] for role, value in losses.items()
        }
        totals = [total + piece for total, piece in zip(sums.gradients, pieces, strict=True)]
        sums = Sums(totals, means, sums.parts + 1)
        keep(sums)
    return sums.gradients, sums.losses
