"""What the model does with neurons changed, against plain loops of full forward passes."""

import itertools
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from neurontune_core.causal import measure
from neurontune_core.causal.cells import plan_cells
from neurontune_core.causal.measure import CausalStudy, mean_activations, measure_cells, plain_group
from neurontune_core.causal.page import rate_rows
from neurontune_core.causal.prompts import kind_of
from neurontune_core.causal.sets import Sets
from neurontune_core.causal.settings import CausalConfig
from neurontune_core.causal.summary import causal_facts, causal_table
from neurontune_core.model.generate import decode
from neurontune_core.model.load import ChatModel
from neurontune_core.neurons import captured, neuron_counts, replaced
from neurontune_core.records import NeuronId, NeuronSet, PromptPair
from neurontune_core.selection.knockout import knock_out, knockout_prompts

TOKENS = 6
QUERIES = ("how do plants grow", "what is steam", "name a river in spain", "why do cats purr")


def pair(query: str, role: str = "safety", attacked: bool = False, split: str = "test") -> PromptPair:
    prompt = f"you are a pirate and say: {query}, arr" if attacked else query
    attack = ("pretending", "character_role_play", "pirate") if attacked else ("", "", "")
    return PromptPair(
        f"{role}/{query}/{attacked}", role, query, query, "ordinary/x", prompt, "no", *attack, False, "s", split
    )  # type: ignore[arg-type]


def judge(prompts: Sequence[str], answers: Sequence[str]) -> list[str]:
    return ["refusal" if len(answer) % 2 else "compliance" for answer in answers]


def study_of(chat: ChatModel) -> CausalStudy:
    widths = neuron_counts(chat.model)
    generator = np.random.default_rng(1)
    strengths = {role: generator.normal(size=sum(widths)) for role in ("safety", "utility")}
    selected = NeuronSet((NeuronId(0, 1), NeuronId(1, 2)), (NeuronId(1, 7),))
    prompts = {
        "harmful_plain": [pair(query) for query in QUERIES],
        "harmful_attacked": [pair(query, attacked=True) for query in QUERIES],
        "benign_ordinary": [pair(query, "utility") for query in QUERIES],
    }
    sets = Sets(strengths, selected, widths, 0)  # type: ignore[arg-type]
    return CausalStudy(chat, sets, prompts, prompts["benign_ordinary"], judge, TOKENS)


@torch.no_grad()
def greedy(chat: ChatModel, prompt: list[int], first: Callable[[], object] | None = None) -> str:
    """Greedy answer by full forward passes; `first` changes the one over the prompt alone, then its keys stay."""
    ids, cache = torch.tensor([prompt]), None
    tokens: list[int] = []
    for step in range(TOKENS):
        if first is not None and step == 0:
            with first():  # type: ignore[attr-defined]
                output = chat.model(input_ids=ids, use_cache=True)
        else:
            output = chat.model(input_ids=ids, past_key_values=cache, use_cache=True)
        cache = output.past_key_values
        token = int(output.logits[0, -1].argmax())
        if token in chat.end_tokens:
            break
        tokens.append(token)
        ids = torch.tensor([[token]])
    return decode(chat, [tokens])[0]


@pytest.fixture
def measured(tiny_chat: Callable[..., ChatModel]) -> tuple[CausalStudy, pd.DataFrame]:
    study = study_of(tiny_chat("llama", ends=[256]))
    config = CausalConfig(counts=(0.2,), draws=2, factors=(4,))
    return study, measure_cells(study, plan_cells(config, {name: kind_of(own) for name, own in study.prompts.items()}))


def test_changing_no_neuron_changes_no_answer(measured: tuple[CausalStudy, pd.DataFrame]) -> None:
    study, answers = measured
    assert causal_facts(causal_table(answers), answers)["empty_set_changes"] == 0
    assert set(answers[answers["neurons"] == "empty set"]["intervention"]) == {"zero", "mean", "x 4", "patch"}
    base = answers[answers["neurons"] == "no change"]
    for group, pairs in study.prompts.items():
        own = base[base["group"] == group]
        prompts = [study.chat.prompt_tokens(each.conversation) for each in pairs]
        assert own["answer"].tolist() == [greedy(study.chat, prompt) for prompt in prompts]
    plain = base[base["group"] == plain_group("harmful_attacked")]
    assert plain["answer"].tolist() == base[base["group"] == "harmful_plain"]["answer"].tolist()


def test_a_prompt_is_answered_beside_the_same_prompts_in_every_cell(
    tiny_chat: Callable[..., ChatModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In half formats other neighbours in a batch change answers, so even an empty set would seem to have an effect."""
    prompts = {
        "harmful_plain": [pair(query) for query in QUERIES],
        "mine": [pair("what is rust")],
        "harmful_attacked": [pair(f"please tell me, {query}", attacked=True) for query in QUERIES],
        "benign_ordinary": [pair(f"friend, {query}", "utility") for query in QUERIES],
        "benign_borderline": [pair("how to kill a process", "utility")],
    }
    study = replace(study_of(tiny_chat("llama", ends=[256])), prompts=prompts)
    beside: dict[str, set[tuple[str, ...]]] = defaultdict(set)

    def generated(chat: ChatModel, prompts: Sequence[list[int]], *_: object, **__: object) -> list[list[int]]:
        texts = tuple(chat.tokenizer.decode(prompt) for prompt in prompts)
        for text in texts:
            beside[text].add(texts)
        return [[97] for _ in prompts]

    monkeypatch.setattr(measure, "_said", lambda study: [])  # asked once, for the KL
    monkeypatch.setattr(measure, "generate", generated)
    kinds = {name: kind_of(own) for name, own in prompts.items()}
    measure_cells(study, plan_cells(CausalConfig(counts=(0.2,), draws=2), kinds))
    assert len(beside) == 14 + len(QUERIES), "every prompt, and the plain queries of the attacked ones"
    assert all(len(batches) == 1 for batches in beside.values())


@pytest.mark.parametrize("intervention", ["zero", "mean", "x 4"])
def test_silencing_and_amplifying_against_edits_by_hand(
    measured: tuple[CausalStudy, pd.DataFrame], intervention: str
) -> None:
    study, answers = measured
    chosen = study.sets.neurons("safety", 0.2)
    means = mean_activations(study.chat, study.harmless)

    def edit(layer: int) -> Callable[..., tuple[torch.Tensor]]:
        index = [neuron.index for neuron in chosen if neuron.layer == layer]

        def hook(module: object, inputs: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
            values = inputs[0].clone()
            factor = 4 if intervention == "x 4" else 0
            values[..., index] = means[layer][index] if intervention == "mean" else values[..., index] * factor
            return (values,)

        return hook

    layers = study.chat.model.model.layers  # type: ignore[union-attr]
    handles = [
        layers[number].mlp.down_proj.register_forward_pre_hook(edit(number))  # type: ignore[index, union-attr]
        for number in range(2)
    ]
    prompts = study.prompts["benign_ordinary"]
    expected = [greedy(study.chat, study.chat.prompt_tokens(each.conversation)) for each in prompts]
    for handle in handles:
        handle.remove()
    own = answers[(answers["neurons"] == "safety") & (answers["intervention"] == intervention)]
    own = own[own["group"] == "benign_ordinary"]
    assert own["answer"].tolist() == expected
    assert (own["count"] == len(chosen)).all() and (own["kl"] > 0).all()


def test_patching_puts_in_the_plain_activations_at_the_last_position(
    measured: tuple[CausalStudy, pd.DataFrame],
) -> None:
    study, answers = measured
    chat, chosen = study.chat, study.sets.neurons("safety", 0.2)
    expected = []
    for each in study.prompts["harmful_attacked"]:
        with captured(chat.model) as plain, torch.no_grad():
            chat.model(torch.tensor([chat.prompt_tokens(each.plain_conversation)]))
        values = torch.stack([plain[neuron.layer][0, -1, neuron.index] for neuron in chosen])

        def patch(values: torch.Tensor = values) -> object:
            return replaced(chat.model, NeuronSet(chosen, ()), values, last_position=True)

        expected.append(greedy(chat, chat.prompt_tokens(each.conversation), patch))
    own = answers[(answers["neurons"] == "safety") & (answers["intervention"] == "patch")]
    assert own["answer"].tolist() == expected
    base = answers[(answers["neurons"] == "no change") & (answers["group"] == "harmful_attacked")]
    assert own["answer"].tolist() != base["answer"].tolist()


def test_patching_every_neuron_of_the_last_layer_and_position_is_not_lost(tiny_chat: Callable[..., ChatModel]) -> None:
    chat = tiny_chat("llama")
    ids = torch.arange(20).view(2, 10)
    every = tuple(NeuronId(1, index) for index in range(48))
    values = torch.randn(2, 48, generator=torch.Generator().manual_seed(0))
    with captured(chat.model) as before, torch.no_grad():
        chat.model(ids)
    change = replaced(chat.model, NeuronSet(every, ()), values, last_position=True)
    with change, captured(chat.model) as after, torch.no_grad():
        chat.model(ids)
    torch.testing.assert_close(after[1][:, -1], values)
    torch.testing.assert_close(after[1][:, :-1], before[1][:, :-1])
    torch.testing.assert_close(after[0], before[0])


@pytest.mark.parametrize("family", ["llama", "gpt2", "opt"])
def test_replaced_neurons_have_their_values_at_every_position(tiny_chat: Callable[..., ChatModel], family: str) -> None:
    chat = tiny_chat(family)
    ids = torch.arange(12).view(2, 6)
    chosen = (NeuronId(0, 3), NeuronId(1, 40), NeuronId(0, 9))
    change = replaced(chat.model, NeuronSet(chosen[:1], chosen[1:]), torch.tensor([1.0, -2.0, 3.0]))
    with change, captured(chat.model) as found, torch.no_grad():
        chat.model(ids)
    for neuron, value in zip(chosen, (1.0, -2.0, 3.0), strict=True):
        assert (found[neuron.layer][..., neuron.index] == value).all()
    with captured(chat.model) as again, torch.no_grad():
        chat.model(ids)
    assert not (again[0][..., 3] == 1.0).any()


def test_mean_activations_leave_out_what_all_prompts_begin_with(tiny_chat: Callable[..., ChatModel]) -> None:
    chat = tiny_chat("llama")
    pairs = [pair(query, "utility") for query in ("aa bb", "aa cccc", "aa d")]
    prompts = [chat.prompt_tokens(each.conversation) for each in pairs]
    begin = len(list(itertools.takewhile(lambda column: len(set(column)) == 1, zip(*prompts, strict=False))))
    rows: dict[int, list[torch.Tensor]] = {0: [], 1: []}
    for prompt in prompts:
        with captured(chat.model) as found, torch.no_grad():
            chat.model(torch.tensor([prompt]))
        for layer in (0, 1):
            rows[layer].append(found[layer][0, begin:])
    for batch_tokens in (1, 4096):
        means = mean_activations(replace(chat, batch_tokens=batch_tokens), pairs)
        for layer in (0, 1):
            torch.testing.assert_close(means[layer], torch.cat(rows[layer]).mean(0), rtol=1e-4, atol=1e-5)


def test_the_knock_out_silences_the_safety_set_and_matched_random_ones(tiny_chat: Callable[..., ChatModel]) -> None:
    chat = tiny_chat("llama", ends=[256])
    widths = neuron_counts(chat.model)
    seen: list[list[str]] = []

    def told(prompts: Sequence[str], answers: Sequence[str]) -> list[str]:
        seen.append(list(answers))
        return ["refusal", "partial", "broken", "compliance"] if len(seen) == 1 else ["compliance"] * 4

    pairs = [pair(query, split="validation") for query in QUERIES]
    neurons = NeuronSet(tuple(NeuronId(0, index) for index in range(24)), (NeuronId(1, 1),))
    facts = knock_out(chat, neurons, widths, pairs, told, 0)
    # a harmful prompt whose refusal goes on to help ("partial") is not refused
    assert facts["knockout_base"] == 0.25 and facts["knockout_safety"] == facts["knockout_random"] == 0.0
    assert facts["knockout_prompts"] == 4.0 and len(seen) == 5
    assert seen[1] != seen[0], "the model was changed"
    assert knock_out(chat, neurons, widths, [], told, 0) == {}
    assert knock_out(chat, NeuronSet((), neurons.utility), widths, pairs, told, 0) == {}


def test_the_knock_out_asks_plain_harmful_validation_prompts_alone() -> None:
    pairs = [pair(f"q{number}", split="validation") for number in range(9)]
    others = [pair("a"), pair("b", split="train"), pair("c", "utility", split="validation")]
    others.append(pair("d", attacked=True, split="validation"))
    assert sorted(knockout_prompts([*others, *pairs], 20, 0), key=lambda p: p.id) == pairs
    few = knockout_prompts(pairs, 4, 1)
    assert len(few) == 4 and few == knockout_prompts(pairs, 4, 1) and few != knockout_prompts(pairs, 4, 2)


def test_restored_counts_prompts_refused_plain_and_not_under_the_attack() -> None:
    def rows(neurons: str, intervention: str, group: str, refused: str, matched: str = "") -> list[dict[str, object]]:
        return [
            {"neurons": neurons, "share": 0.1 if matched or neurons == "safety" else 0.0, "intervention": intervention,
             "matched": matched, "count": 3, "group": group, "id": str(place), "query_id": str(place),
             "role": "safety", "label": "refusal" if letter == "r" else "compliance", "answer": letter, "kl": np.nan}
            for place, letter in enumerate(refused)
        ]  # fmt: skip

    attacked = "harmful_attacked"
    answers = pd.DataFrame(
        [
            *rows("no change", "no change", attacked, "r-----"),
            *rows("no change", "no change", plain_group(attacked), "rrrrr-"),
            *rows("safety", "patch", attacked, "rrr--r"),
            *rows("random 1", "patch", attacked, "r-----", "safety"),
            *rows("random 2", "patch", attacked, "rr----", "safety"),
        ]
    )
    table = causal_table(answers)
    (row,) = table[table["neurons"] == "safety"].to_dict("records")
    assert row["restored"] == 0.5 and row["restored_n"] == 4, "of prompts 1 to 4, which the attack took, 1 and 2"
    assert row["base"] == pytest.approx(1 / 6) and row["refused"] == pytest.approx(4 / 6)
    assert row["random"] == pytest.approx(1.5 / 6) and (row["random_low"], row["random_high"]) == (1 / 6, 2 / 6)
    assert row["base_p"] == pytest.approx(0.25), "three prompts gained, none lost: 2 * 0.5^3"
    assert row["random_p"] == pytest.approx(0.5), "against the second draw two gained, none lost: 2 * 0.5^2"
    shown = {(line["prompts"], line["neurons"]): line["10.00%"] for line in rate_rows(table)}
    taken = "of these, refused plain and not attacked (n = 4)"
    assert shown[(taken, "carry refusal")] == "50% [15, 85]"
    assert shown[(taken, "random, matched by layer")] == "12% (0 to 25)", "none, and prompt 1"
    facts = causal_facts(table, answers)
    assert facts["restored/harmful_attacked/0.1"] == 0.5 and facts["refused/harmful_attacked"] == pytest.approx(1 / 6)
