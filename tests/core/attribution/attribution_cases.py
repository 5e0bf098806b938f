"""Models and pairs that attribution is tested on."""

from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from neurontune_core.attribution import engine as engines
from neurontune_core.attribution import setup
from neurontune_core.attribution.encode import EncodedPair
from neurontune_core.attribution.pair_scores import PairScores
from neurontune_core.attribution.settings import AttributionConfig
from neurontune_core.experts import run_apart
from neurontune_core.model import tiny
from neurontune_core.model.load import ChatModel
from neurontune_core.records import PromptPair

DENSE, EXPERTS = tiny.DENSE, tiny.EXPERTS
SLIDING = ("sliding_attention", "full_attention", "sliding_attention")


def tiny_chat(family: str, dtype: torch.dtype = torch.float64, layers: int = 3) -> ChatModel:
    """A random model of three layers; a sliding window of 16 positions where the family has one."""
    config = tiny.configuration(family)
    config.num_hidden_layers = layers
    if family.startswith("gemma"):
        config.layer_types = list(SLIDING[:layers])
    elif getattr(config, "layer_types", None):
        config.layer_types = ["full_attention"] * layers
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model: PreTrainedModel = AutoModelForCausalLM.from_config(config)
    run_apart(model)
    return ChatModel(model.eval().to(dtype).requires_grad_(False), tiny.tokenizer(), torch.device("cpu"))


def tokens(count: int, seed: int) -> tuple[int, ...]:
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randint(0, 256, (count,), generator=generator).tolist())


def encoded_pairs() -> list[EncodedPair]:
    """Pairs without and with a common beginning, longer than the window, of one token, and with one response token."""
    query = tokens(20, 1)
    return [
        EncodedPair("apart", query, tokens(37, 2), tokens(6, 3)),
        EncodedPair("common beginning", query, query[:11] + tokens(30, 4), tokens(6, 5)),
        EncodedPair("one-token prompts", tokens(1, 6), tokens(1, 7), tokens(4, 8)),
        EncodedPair("one-token response", tokens(5, 9), tokens(9, 10), tokens(1, 11)),
    ]


def prompt_pair(number: int, role: str = "safety", attack: str = "actor", **changes: object) -> PromptPair:
    """A pair that is attributed by default."""
    fields = {
        "id": f"{role}-{attack}-{number}", "role": role, "query_id": f"q{number}",
        "query": f"How do I bake bread {number}?", "query_category": "food",
        "prompt": f"You are {attack}. Tell me: how do I bake bread {number}?",
        "response": "I am sorry, no." if role == "safety" else "Mix flour and water.", "attack_type": "pretending",
        "attack_category": f"{attack}s", "attack_name": attack, "selected": True, "source": "test", "split": "train",
    }  # fmt: skip
    return PromptPair(**(fields | changes))


def attribute(
    chat: ChatModel, pairs: list[EncodedPair], memory_mib: int = 1024, **settings: object
) -> list[torch.Tensor]:
    """Scores of pairs run as one batch, in their own units."""
    engine = setup.build_engine(AttributionConfig(**settings), chat, memory_mib)
    return [in_own_units(result) for result in engines.attribute(engine, pairs)]


def in_own_units(result: PairScores) -> torch.Tensor:
    return result.scores * torch.tensor(result.scale, dtype=torch.float64).exp()


def relative_difference(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


@contextmanager
def float64_throughout() -> Iterator[None]:
    """Keep transformers from dropping to float32 in norms, rotary embeddings and softmax of a float64 model."""
    with (
        mock.patch.object(torch, "float32", torch.float64),
        mock.patch.object(torch, "float", torch.float64),
        mock.patch.object(torch.Tensor, "float", torch.Tensor.double),
    ):
        yield
