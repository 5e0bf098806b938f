"""Gradients of the two-level loop: of the joint loss on a batch, and of one episode through its inner steps."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager

import torch
from torch import Tensor
from transformers import PreTrainedModel

from neurontune_core.config import ScalingConfig
from neurontune_core.model.load import ChatModel
from neurontune_core.neurons import scaled
from neurontune_core.records import NeuronSet, Role
from neurontune_core.scaling.losses import Example, micro_batches, response_losses


@contextmanager
def explicit_attention(model: PreTrainedModel) -> Iterator[None]:
    """Switch a model to attention written out in plain operations; undone on exit.

    At the lengths of training prompts its backward pass is the faster one on a processor (1.3 to 1.9 times for the
    whole step of a 135M model), and unlike the fused kernels it has a second derivative.
    """
    previous = model.config._attn_implementation
    model.set_attn_implementation("eager")
    try:
        yield
    finally:
        model.set_attn_implementation(previous)


def episode_gradient(
    chat: ChatModel,
    neurons: NeuronSet,
    alpha: Tensor,
    support: Sequence[Example],
    query: Sequence[Example],
    base: Mapping[str, Tensor],
    config: ScalingConfig,
    batch_tokens: int,
) -> tuple[Tensor, dict[Role, float]]:
    """Return an episode's meta-gradient `[neuron]` and its query losses in nats.

    `alpha' = alpha - eta_inner grad L(alpha; support)`, repeated `inner_steps` times; then `grad L(alpha'; query)`,
    taken in alpha' (first order) or in alpha through the inner steps (second order).
    """
    second = config.order == "second"
    adapted = adapt(chat, neurons, alpha, support, base, config, batch_tokens)
    gradient, losses = joint_gradient(chat, neurons, adapted, query, base, config, batch_tokens, False)
    if second:
        # chain rule through the inner steps: d L(alpha') / d alpha = (d alpha' / d alpha)^T dL / d alpha'
        (gradient,) = torch.autograd.grad(adapted, alpha, grad_outputs=gradient)
    return gradient.detach(), losses


def adapt(
    chat: ChatModel,
    neurons: NeuronSet,
    alpha: Tensor,
    support: Sequence[Example],
    base: Mapping[str, Tensor],
    config: ScalingConfig,
    batch_tokens: int,
) -> Tensor:
    """Return alpha' `[neuron]` after the inner steps on a support batch; in second order it depends on alpha."""
    second = config.order == "second"
    adapted = alpha if second else alpha.detach().requires_grad_()
    for _ in range(config.inner_steps):
        gradient, _ = joint_gradient(chat, neurons, adapted, support, base, config, batch_tokens, second)
        adapted = adapted - config.inner_learning_rate * gradient
        if not second:
            adapted = adapted.detach().requires_grad_()
    return adapted


def joint_gradient(
    chat: ChatModel,
    neurons: NeuronSet,
    alpha: Tensor,
    examples: Sequence[Example],
    base: Mapping[str, Tensor],
    config: ScalingConfig,
    batch_tokens: int,
    create_graph: bool,
) -> tuple[Tensor, dict[Role, float]]:
    """Return the gradient `[neuron]` of `L_safety + lambda L_utility` in alpha, and both losses in nats.

    Each loss is the mean over the role's examples; the batch is run in parts that fit `batch_tokens`.
    """

    def change() -> AbstractContextManager[None]:
        return scaled(chat.model, neurons, alpha)

    (gradient,), means = gradients(chat, change, [alpha], examples, base, config, batch_tokens, create_graph)
    return gradient, means


def gradients(
    chat: ChatModel,
    change: Callable[[], AbstractContextManager[None]],
    parameters: Sequence[Tensor],
    examples: Sequence[Example],
    base: Mapping[str, Tensor],
    config: ScalingConfig,
    batch_tokens: int,
    create_graph: bool = False,
) -> tuple[list[Tensor], dict[Role, float]]:
    """Return the gradients of `L_safety + lambda L_utility` in the parameters of any change, and both losses in nats.

    `change` lends the changed model once for every part of the batch, which is run in parts that fit `batch_tokens`.
    """
    counts = {role: sum(example.role == role for example in examples) for role in ("safety", "utility")}
    weights: dict[Role, float] = {"safety": 1.0, "utility": config.utility_weight}
    totals = [torch.zeros_like(parameter) for parameter in parameters]
    means: dict[Role, float] = {}
    for part in micro_batches(examples, batch_tokens):
        with explicit_attention(chat.model), change():
            losses = response_losses(chat, part, base, config)
        joint = torch.stack([weights[role] / counts[role] * loss for role, loss in losses.items()]).sum()
        pieces = torch.autograd.grad(joint, parameters, create_graph=create_graph)
        totals = [total + piece for total, piece in zip(totals, pieces, strict=True)]
        for role, loss in losses.items():
            means[role] = means.get(role, 0.0) + float(loss.detach()) / counts[role]
    return totals, means
