"""The state as bytes, when it is saved, and that a killed run goes on to the same bits."""

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from neurontune_core.model import tiny
from neurontune_core.model.load import ChatModel
from neurontune_core.records import NeuronSet, PromptPair
from neurontune_core.scaling import learn as learning
from neurontune_core.scaling import state as room
from neurontune_core.scaling.learn import LearnedScaling, learn_scaling
from neurontune_core.scaling.problem import Problem
from neurontune_core.scaling.state import SAVE_SECONDS, Saving, State, from_bytes, to_bytes
from neurontune_core.unfinished import UnfinishedStage

METHODS = ("maml", "margin_fit", "dial")
SAME = ("best_step", "best_score", "validation_score", "tokens", "loss_first", "loss_last", "steps")


@pytest.fixture
def single() -> ChatModel:
    return ChatModel(tiny.model("llama").requires_grad_(False), tiny.tokenizer(), torch.device("cpu"))


@pytest.fixture
def settings_of(request: pytest.FixtureRequest) -> Callable[[str], Any]:
    def make(method: str) -> Any:
        maker = request.getfixturevalue(method)
        if method == "dial":
            return maker(safety_factors=(1.0, 1.5), utility_factors=(1.0, 0.5))
        return maker(steps=4, validations=2, **({"tasks_per_step": 1} if method == "maml" else {}))

    return make


class Killed(Exception):
    """Stands for a killed process."""


class Memory:
    """A checkpoint in memory that dies after so many saves."""

    def __init__(self, content: bytes | None = None, alive: int = 10**6) -> None:
        self.saved = [content] if content else []
        self._alive = alive

    def load(self) -> bytes | None:
        return self.saved[-1] if self.saved else None

    def save(self, content: bytes) -> None:
        self.saved.append(content)
        if len(self.saved) == self._alive:
            raise Killed


def labels(prompts: Sequence[str], responses: Sequence[str]) -> list[str]:
    asked = zip(prompts, responses, strict=True)
    return ["refusal" if len(prompt + response) % 3 == 0 else "compliance" for prompt, response in asked]


def test_bytes_hold_everything() -> None:
    state = State(
        torch.tensor([1.5, float(np.float32(0.1))]),
        torch.tensor([2.0, 3.0]),
        {"step": torch.tensor(3.0), "all.kind": torch.tensor([1, 2]), "wide": torch.tensor([1 / 3]).double()},
        {"all": ["a", "ü"], "parts": 2},
        0.1 + 0.2,
        4,
        1,
        12.5,
        [{"step": 0.0, "loss": 1 / 3}],
        {3: [1, 2], 0: []},
    )
    found = from_bytes(to_bytes(state), torch.device("cpu"))
    for name in ("notes", "best_score", "best_step", "stale", "seconds", "rows", "answers"):
        assert getattr(found, name) == getattr(state, name)
    assert torch.equal(found.alpha, state.alpha) and torch.equal(found.best_alpha, state.best_alpha)
    assert found.tensors.keys() == state.tensors.keys() and found.steps == 1
    for name, value in state.tensors.items():
        assert torch.equal(found.tensors[name], value) and found.tensors[name].dtype == value.dtype
    fresh = State(torch.ones(2), torch.ones(2))
    assert from_bytes(to_bytes(fresh), torch.device("cpu")).best_score is None


def test_saved_at_most_every_so_many_seconds() -> None:
    assert SAVE_SECONDS <= 60, "at most a minute of work is lost"
    now, memory, state = 0.0, Memory(), State(torch.ones(1), torch.ones(1), seconds=100.0)
    saving = Saving(state, memory, lambda: now)
    saves = []
    for moment in (0, SAVE_SECONDS - 1, SAVE_SECONDS, SAVE_SECONDS + 1, 2 * SAVE_SECONDS - 0.5, 2 * SAVE_SECONDS + 3):
        now = moment
        saving()
        saves.append(len(memory.saved))
    assert saves == [0, 0, 1, 1, 1, 2]
    # the seconds of the work so far, what was worked before it was resumed included
    seconds = [from_bytes(content, torch.device("cpu")).seconds for content in memory.saved]
    assert seconds == pytest.approx([100 + SAVE_SECONDS, 100 + 2 * SAVE_SECONDS + 3])
    Saving(state, None, lambda: now + 1e9)()


def clock(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Save whenever there is an occasion, or hardly ever."""
    monkeypatch.setattr(room, "SAVE_SECONDS", seconds)
    monkeypatch.setattr(learning, "SECONDS_BEFORE_VALIDATION", seconds)


def assert_same(one: LearnedScaling, other: LearnedScaling) -> None:
    assert np.array_equal(one.scaling.alpha, other.scaling.alpha)
    assert one.curve.equals(other.curve)
    assert {name: one.facts.get(name) for name in SAME} == {name: other.facts.get(name) for name in SAME}


@pytest.mark.parametrize("method", METHODS)
def test_a_killed_run_goes_on_to_the_same_bits(
    single: ChatModel, validated: list[PromptPair], neurons: NeuronSet, settings_of: Callable[[str], Any],
    monkeypatch: pytest.MonkeyPatch, method: str,
) -> None:  # fmt: skip
    """Killed between steps, within one, before and during a validation; once it is killed again a save later."""
    clock(monkeypatch, 0.0)
    config, single = settings_of(method), replace(single, batch_tokens=20)  # so that there are several batches

    def learn(checkpoint: Memory | None, told: list[int] | None = None) -> LearnedScaling:
        def report(step: int, row: Any) -> None:
            if told is not None:
                told.append(step)

        return learn_scaling(Problem(single, neurons, validated, labels), config, report=report, checkpoint=checkpoint)

    memory = Memory()
    whole = learn(memory)
    assert_same(whole, learn(None))
    states = [from_bytes(content, torch.device("cpu")) for content in memory.saved]
    validated_rows = whole.curve["validation_score"].notna()

    def is_pending(state: State) -> bool:
        return bool(state.rows and validated_rows[state.steps - 1] and "validation_score" not in state.rows[-1])

    pending = [is_pending(state) for state in states]
    begun = [bool(state.answers) for state in states]
    within = [bool(state.notes) and not is_pending(state) for state in states]
    reporting = [begun and not is_pending(state) for begun, state in zip(begun, states, strict=True)]
    assert any(within) == (method != "dial")
    assert reporting[-1] and states[reporting.index(True)].steps == 4
    assert sum(after > before for before, after in pairwise([False, *pending])) == validated_rows.sum()
    during = [one and other for one, other in zip(pending, begun, strict=True)]
    for place in {1, pending.index(True) + 1, during.index(True) + 1, reporting.index(True) + 1, len(states) - 1}:
        dying = Memory(alive=place)
        with pytest.raises(Killed):
            learn(dying)
        if place == 1:
            dying = Memory(dying.load(), alive=2)
            with pytest.raises(Killed):
                learn(dying)
        told: list[int] = []
        assert_same(learn(Memory(dying.load()), told), whole)
        last = from_bytes(dying.saved[-1], torch.device("cpu"))
        assert told == list(range(last.steps - is_pending(last), 4)), "steps that were taken are not taken again"


def test_a_short_run_saves_nothing(
    single: ChatModel, validated: list[PromptPair], neurons: NeuronSet, settings_of: Callable[[str], Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    clock(monkeypatch, 3600.0)
    memory = Memory()
    learn_scaling(Problem(single, neurons, validated, labels), settings_of("dial"), checkpoint=memory)
    assert memory.saved == []


def test_a_run_that_had_become_stale_stays_ended(
    single: ChatModel, validated: list[PromptPair], neurons: NeuronSet, maml: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Killed after its last step, before the result was stored."""
    clock(monkeypatch, 0.0)
    config = maml(steps=6, validations=6, patience=1, tasks_per_step=1)

    def refusing_all(prompts: Sequence[str], responses: Sequence[str]) -> list[str]:
        return ["compliance" if response.startswith("Sure") else "refusal" for response in responses]

    memory = Memory()
    whole = learn_scaling(Problem(single, neurons, validated, refusing_all), config, checkpoint=memory)
    assert whole.facts["steps"] == 2
    told: list[int] = []
    again = learn_scaling(
        Problem(single, neurons, validated, refusing_all),
        config,
        checkpoint=Memory(memory.load()),
        report=lambda step, row: told.append(step),
    )
    assert told == []
    assert_same(again, whole)


def flipped(content: bytes) -> Iterator[bytes]:
    for place in (0, len(content) // 2):
        yield content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


def test_a_damaged_state_is_set_aside_and_the_result_is_the_same(
    single: ChatModel, validated: list[PromptPair], neurons: NeuronSet, maml: Callable[..., Any], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    clock(monkeypatch, 0.0)
    config, stage = maml(steps=1, tasks_per_step=1, inner_steps=0), UnfinishedStage(str(tmp_path), "scaling", "abc")

    def learn() -> tuple[LearnedScaling, list[int]]:
        told: list[int] = []
        found = learn_scaling(
            Problem(single, neurons, validated),
            config,
            checkpoint=stage,
            report=lambda step, row: told.append(step),
        )
        return found, told

    whole, _ = learn()
    file = tmp_path / ".unfinished" / "scaling-abc"
    written = file.read_bytes()
    assert learn()[1] == [], "whole, it is gone on from"
    buffer = io.BytesIO()
    torch.save({"alpha": torch.ones(1)}, buffer)
    for content in (b"", b"\0" * len(written), written[: len(written) // 2], buffer.getvalue(), *flipped(written)):
        file.write_bytes(content)
        caplog.clear()
        found, told = learn()
        assert told == [0]
        assert_same(found, whole)
        (record,) = caplog.records
        assert record.name == "neurontune" and "\n" not in record.message
        assert "scaling-abc.damaged is damaged; it is set aside, and work starts from the beginning" in record.message
        assert (tmp_path / ".unfinished" / "scaling-abc.damaged").read_bytes() == content
