"""Find the neurons of a model; no other module does this.

A neuron is one input channel of an MLP's down projection: `act(gate(x)) * up(x)` in a gated MLP, `act(up(x))` in a
plain one. Down projections are found by structure, not by model name: within a decoder layer and outside its attention
(or what stands for it, such as Mamba), the down projection is the only linear map whose output is added to the residual
stream. In a mixture of experts the neurons are those of the down projections of all experts, and of the shared expert
if there is one. They are numbered expert by expert, with the shared expert last. If a token is not routed to an expert,
the expert's neurons are 0 for this token.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from neurontune_core.errors import InputError
from neurontune_core.experts import is_routed, outputs_and_width
from neurontune_core.model.devices import weight_of


@dataclass(frozen=True)
class LayerCoverage:
    """The result for one decoder layer: the down projection's path, layout and width, or the reason why there is none.

    `experts` is the number of routed experts and `expert_neurons` how many neurons each has; 0 in a dense layer.
    """

    layer: int
    path: str
    layout: str
    neurons: int
    problem: str
    experts: int = 0
    expert_neurons: int = 0


@dataclass(frozen=True)
class Bank:
    """A module that reads neurons of a layer: a down projection, or all routed experts of the layer.

    Attributes:
        layer: the decoder layer.
        path: path of the module within the layer.
        start: index in the layer of the bank's first neuron.
        count: number of experts; 1 for a single down projection.
        width: number of neurons of each expert.
        routed: whether each token is sent to some of the experts.
    """

    layer: int
    path: str
    start: int
    count: int
    width: int
    routed: bool

    @property
    def places(self) -> slice:
        """The indices in the layer of its neurons."""
        return slice(self.start, self.start + self.count * self.width)


def decoder_layers(model: nn.Module) -> nn.ModuleList:
    """Return the list of decoder layers of the model; of a multimodal model, those of its language part.

    Raises:
        InputError: no list of `num_hidden_layers` layers is found.
    """
    return model.get_submodule(layers_path(model))  # type: ignore[return-value]


def layers_path(model: nn.Module) -> str:
    """Return the path of the list of decoder layers in the model, such as `model.layers`.

    Raises:
        InputError: no list of `num_hidden_layers` layers is found.
    """
    count = model.config.get_text_config().num_hidden_layers  # type: ignore[union-attr, operator]
    language = set(model.get_decoder().modules())  # type: ignore[operator]
    for path, module in model.named_modules():
        found = module in language and isinstance(module, nn.ModuleList) and len(module) == count
        if found and any(map(_has_attention, module)):
            return path
    raise InputError(
        f"model: {type(model).__name__} has no list of {count} decoder layers with attention; choose another decoder"
    )


def coverage(model: nn.Module) -> list[LayerCoverage]:
    """Return, layer by layer, the down projection or the experts found, or the reason why none was."""
    return [_row(index, layer, *_cover(model, index, layer)) for index, layer in enumerate(decoder_layers(model))]


def leave_out_uncovered(model: nn.Module) -> None:
    """Make `banks` skip layers of `model` without a down projection, instead of raising an error."""
    model.leaves_out_uncovered = True  # type: ignore[assignment]


def banks(model: nn.Module) -> dict[int, list[Bank]]:
    """Return the banks of every decoder layer, or of every covered one after `leave_out_uncovered`.

    Raises:
        InputError: a layer has no MLP neurons; the message names every such layer and the reason.
    """
    found = {index: _cover(model, index, layer) for index, layer in enumerate(decoder_layers(model))}
    covered = {layer: mine for layer, (mine, problem) in found.items() if not problem}
    problems = [f"layer {layer}: {problem}" for layer, (_, problem) in found.items() if problem]
    if problems and not (covered and getattr(model, "leaves_out_uncovered", False)):
        raise InputError(
            f"model: no MLP neurons found in {len(problems)} of {len(found)} layers of {type(model).__name__} "
            f"({'; '.join(problems[:4])}); run `neurontune coverage` to see every layer; choose another decoder, "
            f"or set model.skip_uncovered_layers=true if some layers are covered"
        )
    return covered


def down_projections(model: nn.Module) -> dict[int, nn.Module]:
    """Return the down projection of every layer of a dense model, as `banks` chooses the layers.

    Raises:
        InputError: a layer has no MLP neurons, or several experts.
    """
    found = banks(model)
    for layer, mine in found.items():
        if len(mine) > 1 or mine[0].routed:
            raise InputError(
                f"model: layer {layer} of {type(model).__name__} has experts instead of a single down projection; "
                f"choose a model without experts"
            )
    return {layer: bank_module(model, mine[0]) for layer, mine in found.items()}


def bank_module(model: nn.Module, bank: Bank) -> nn.Module:
    """Return the module of a bank."""
    return decoder_layers(model)[bank.layer].get_submodule(bank.path)


def output_weights(model: nn.Module) -> dict[Bank, Tensor]:
    """Return the output weights of each bank, which map neurons to the residual stream; all experts in one tensor."""
    modules = {bank: bank_module(model, bank) for mine in banks(model).values() for bank in mine}
    return {bank: weight_of(module, "down_proj" if bank.routed else "weight") for bank, module in modules.items()}


def output_column(module: nn.Module, bank: Bank, index: int) -> Tensor:
    """Return a view of a neuron's output weights `[hidden]`; `index` counts within the bank."""
    if bank.routed:
        expert, place = divmod(index, bank.width)
        weight = weight_of(module, "down_proj")[expert]
        return weight[place] if module.is_transposed else weight[:, place]
    weight = weight_of(module)
    return weight[index] if isinstance(module, Conv1D) else weight[:, index]


def neuron_counts(model: nn.Module) -> list[int]:
    """Return the number of neurons of every layer, `[layer]`; 0 in a layer that has none that can be scaled.

    Args:
        model: a decoder of transformers.
    """
    found = banks(model)
    return [found[layer][-1].places.stop if layer in found else 0 for layer in range(len(decoder_layers(model)))]


def expert_counts(model: nn.Module) -> list[tuple[int, int]]:
    """Return the routed experts of every layer and the neurons of each, `(0, 0)` in a layer without experts."""
    rows = coverage(model)
    return [(0, 0) if row.problem else (row.experts, row.expert_neurons) for row in rows]


def _row(index: int, layer: nn.Module, found: list[Bank], problem: str) -> LayerCoverage:
    if problem or not found:
        return LayerCoverage(index, "", "", 0, problem)
    total, path = found[-1].places.stop, ", ".join(bank.path for bank in found)
    if not found[0].routed:
        return LayerCoverage(index, path, type(layer.get_submodule(path)).__name__, total, "")
    experts = found[0]
    shared = "".join(f", a shared one of {bank.width}" for bank in found[1:])
    layout = f"{experts.count} experts of {experts.width}{shared}"
    return LayerCoverage(index, path, layout, total, "", experts.count, experts.width)


def _cover(model: nn.Module, index: int, layer: nn.Module) -> tuple[list[Bank], str]:
    """Return the banks of a layer, or the reason why none was found."""
    hidden = model.config.get_text_config().hidden_size  # type: ignore[union-attr, operator]
    stacks = [(path, module) for path, module in layer.named_modules() if _is_expert_bank(module)]
    if stacks and (problem := _problem_of_experts(stacks, hidden)):
        return [], problem
    mixers = tuple(f"{path}." for path, module in layer.named_modules() if path and _convolves(module))
    found = [
        (path, module)
        for path, module in layer.named_modules()
        if isinstance(module, nn.Linear | Conv1D) and _outputs(module) == hidden
        if "att" not in path.lower() and not path.startswith(mixers)
    ]
    if not found and not stacks:
        return [], f"no linear map to the residual stream (width {hidden}) outside attention"
    if len(found) > 1 and (named := [item for item in found if _width(item[1]) != hidden]):
        found = named  # an up projection may be as wide as the residual stream; the down projection has the other input
    if len({_parent(path) for path, _ in found}) == 1 < len(found):  # an MLP as wide as the residual stream
        found = [item for item in found if item[0].endswith("down_proj")] or found
    if len(found) > 1:
        beside = f" beside the experts at {stacks[0][0]!r}" if stacks else ""
        return [], f"several candidates{beside}: {', '.join(path for path, _ in found)}"
    result = []
    for path, module in stacks:
        width = outputs_and_width(module)[1]
        result.append(Bank(index, path, 0, module.down_proj.shape[0], width, True))
    for path, module in found:
        result.append(Bank(index, path, result[-1].places.stop if result else 0, 1, _width(module), False))
    return result, ""


def _problem_of_experts(stacks: Sequence[tuple[str, nn.Module]], hidden: int) -> str:
    """Return why the neurons of a layer's experts cannot be changed, "" if they can."""
    path, module = stacks[0]
    if len(stacks) > 1:
        return f"several mixtures of experts: {', '.join(path for path, _ in stacks)}"
    if not is_routed(module):
        return (
            f"mixture of experts at {path!r} ({type(module).__name__}), whose code does not go through transformers' "
            f"interface for experts"
        )
    if outputs_and_width(module)[0] != hidden:
        return (
            f"mixture of experts at {path!r}, which writes to {outputs_and_width(module)[0]} channels and not to the "
            f"residual stream (width {hidden})"
        )
    return ""


def _has_attention(layer: nn.Module) -> bool:
    return any("att" in name.lower() for name, _ in layer.named_children())


def _is_expert_bank(module: nn.Module) -> bool:
    parameters: Sequence[Tensor] = list(module.parameters(recurse=False))
    stacked = any(parameter.dim() == 3 for parameter in parameters) and not isinstance(module, nn.Conv1d)
    return stacked or (
        isinstance(module, nn.ModuleList) and len(module) > 1 and all(any(True for _ in m.parameters()) for m in module)
    )


def _convolves(module: nn.Module) -> bool:
    """Tell whether a module mixes neighbouring tokens by a convolution, as Mamba and other kinds of attention do."""
    return any(isinstance(child, nn.Conv1d) for child in module.children())


def _parent(path: str) -> str:
    return path.rpartition(".")[0]


def _outputs(module: nn.Module) -> int:
    return int(module.weight.shape[1 if isinstance(module, Conv1D) else 0])  # type: ignore[index]


def _width(module: nn.Module) -> int:
    return int(module.weight.shape[0 if isinstance(module, Conv1D) else 1])  # type: ignore[index]
