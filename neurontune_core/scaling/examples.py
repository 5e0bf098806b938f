"""Training pairs as token ids."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from neurontune_core.model.batches import shared_length
from neurontune_core.model.chat import encode_response
from neurontune_core.model.likelihood import TokenSequence
from neurontune_core.model.load import ChatModel
from neurontune_core.records import PromptPair
from neurontune_core.scaling.losses import Example


def encode_examples(chat: ChatModel, pairs: Sequence[PromptPair], response_tokens: int) -> list[Example]:
    """Return pairs as token ids; a refusal ends with the end-of-turn token, so that the model learns to stop there.

    A harmless response has its first `response_tokens` tokens (possibly none) and no end-of-turn token. It is the base
    model's answer to the query without an attack; this prompt with the answer is the example's `reference`.
    """
    examples: list[Example] = []
    prompts: dict[str, list[list[int]]] = defaultdict(list)
    for pair in pairs:
        end = chat.end_tokens[0] if pair.role == "safety" else None
        response = encode_response(chat.tokenizer, pair.response, end)
        reference = None
        if pair.role == "utility":
            response = response[:response_tokens]
            if pair.attack_name:
                reference = TokenSequence(chat.prompt_tokens(pair.plain_conversation), response)
        sequence = TokenSequence(chat.prompt_tokens(pair.conversation), response)
        examples.append(Example(pair.id, pair.role, sequence, pair.attack_name, reference=reference))
        prompts[pair.attack_name].append(sequence.prompt)
    shared = {wrapper: shared_length(mine) for wrapper, mine in prompts.items()}
    return [replace(example, shared=shared[example.wrapper]) for example in examples]
