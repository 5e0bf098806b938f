"""Side by side: the two rows say what the two models say alone, at any strength, in any wrapper."""

import numpy as np
import pytest
import torch
from short_models import short_chat

from neurontune_core.chat.session import ChatSession, shipped_attacks
from neurontune_core.errors import InputError
from neurontune_core.evaluation.judges import judge_by_name
from neurontune_core.model import tiny
from neurontune_core.model.generate import respond
from neurontune_core.model.load import ChatModel
from neurontune_core.neurons import modulated
from neurontune_core.records import Conversation, Message, NeuronId, NeuronSet, ScalingFactors


@pytest.fixture(params=["llama", "gpt2"])
def session(request: pytest.FixtureRequest) -> ChatSession:
    chat = ChatModel(tiny.model(request.param).requires_grad_(False), tiny.tokenizer(), torch.device("cpu"))
    neurons = NeuronSet(tuple(NeuronId(0, i) for i in range(20)), tuple(NeuronId(1, i) for i in range(20)))
    factors = ScalingFactors(neurons, np.linspace(-2, 4, 40).astype(np.float32))
    return ChatSession(chat, factors, judge_by_name("rules"), max_new_tokens=12)


@pytest.mark.parametrize("strength", ["0", "0.5", "1"])
def test_both_rows_are_what_each_model_says_alone(session: ChatSession, strength: str) -> None:
    session.set_strength(strength)
    steps = list(session.answers("What is this?"))
    assert [len(tuned) for _, tuned in steps] == sorted(len(tuned) for _, tuned in steps)
    base = respond(session.chat, ["What is this?"], 12)[0]
    with modulated(session.chat.model, session.scaling, float(strength)):
        tuned = respond(session.chat, ["What is this?"], 12)[0]
    assert steps[-1] == (base, tuned)
    assert (base == tuned) == (strength == "0")


def test_a_reader_that_stops_leaves_no_hook(session: ChatSession) -> None:
    answers = session.answers("What is this?")
    next(answers)
    assert not any(module._forward_pre_hooks for module in session.chat.model.modules())


def test_attack_wraps_the_message(session: ChatSession) -> None:
    name, attack = next(iter(shipped_attacks().items()))
    session.set_attack(name)
    assert session.prompt("bake bread") == attack.wrap("bake bread")
    session.set_attack("none")
    assert session.prompt("bake bread") == "bake bread"
    with pytest.raises(InputError, match="unknown name 'nothing'"):
        session.set_attack("nothing")


@pytest.mark.parametrize("text", ["2", "-0.1", "nan", "half", ""])
def test_bad_strength_is_refused(session: ChatSession, text: str) -> None:
    with pytest.raises(InputError, match="not a number from 0"):
        session.set_strength(text)
    assert session.strength == 1.0


def test_verdicts(session: ChatSession) -> None:
    base, tuned = session.verdicts("Name a colour.", ("Blue is a colour.", "I'm sorry, but I can't help with that."))
    assert (base.label, tuned.label) == ("compliance", "refusal")


@pytest.mark.parametrize("strength", ["0.5", "1"])
def test_each_model_goes_on_from_its_own_answers(session: ChatSession, strength: str) -> None:
    session.set_strength(strength)
    *_, first = session.answers("What is this?")
    session.remember("What is this?", first)
    attack = next(iter(session.attacks))
    session.set_attack(attack)
    *_, second = session.answers("And that?")
    histories = [(Message("user", "What is this?"), Message("assistant", answer)) for answer in first]
    asked = [Conversation(session.attacks[attack].wrap("And that?"), history) for history in histories]
    base = respond(session.chat, [asked[0]], 12)[0]
    with modulated(session.chat.model, session.scaling, float(strength)):
        tuned = respond(session.chat, [asked[1]], 12)[0]
    assert second == (base, tuned) and first[0] != first[1]
    session.remember("And that?", second)
    assert session.histories[0][2] == Message("user", asked[0].prompt), "it stays as it was sent"
    session.start_over()
    session.set_attack("none")
    assert list(session.answers("What is this?"))[-1] == first


def test_a_system_message_starts_over_and_is_seen(session: ChatSession) -> None:
    *_, before = session.answers("What is this?")
    session.remember("What is this?", before)
    session.set_system("Be brief.")
    assert session.histories == ((), ())
    *_, after = session.answers("What is this?")
    assert after[0] == respond(session.chat, [Conversation("What is this?", system="Be brief.")], 12)[0] != before[0]
    session.set_system("none")
    assert session.system == "" and list(session.answers("What is this?"))[-1] == before


def test_a_template_without_a_system_message_is_told_and_the_conversation_kept(session: ChatSession) -> None:
    session.chat.tokenizer.chat_template = (
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('No system') }}{% endif %}"
        + session.chat.tokenizer.chat_template
    )
    session.remember("What is this?", ("a", "b"))
    with pytest.raises(InputError, match="system: the chat template of this model takes no system message"):
        session.set_system("Be brief.")
    assert session.system == "" and all(session.histories)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_a_conversation_ends_where_the_positions_do(family: str) -> None:
    chat = short_chat(family, 64)
    factors = ScalingFactors(NeuronSet((NeuronId(0, 0),), ()), np.ones(1, dtype=np.float32))
    session = ChatSession(chat, factors, judge_by_name("rules"))
    with pytest.raises(InputError, match=r"system: .* fills the model's 64 positions; write a shorter one"):
        session.set_system("x" * 70)
    assert session.system == ""
    with pytest.raises(InputError, match="message: it fills the model's 64 positions; write a shorter one"):
        next(session.answers("x" * 61))
    *_, said = session.answers("x" * 20)  # 200 tokens are asked for, and 41 have room
    assert not session.full
    session.remember("x" * 20, said)
    assert session.full
    with pytest.raises(InputError, match=r"conversation: with this message it fills .* 64 positions; /new starts"):
        next(session.answers("Why?"))
    session.start_over()
    assert not session.full and next(session.answers("Why?"))


def test_thoughts_are_not_remembered(session: ChatSession) -> None:
    session.remember("Why?", ("<think>hm</think>So.", "So."))
    assert session.histories[0] == session.histories[1] == (Message("user", "Why?"), Message("assistant", "So."))
