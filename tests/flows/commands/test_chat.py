"""`chat` on recorded runs, without a terminal."""

import io
import json
import os
import sys
import time

import pytest
from recorded_runs import record_run

from flows.commands.chat import chat_with, keys_unseen
from neurontune_core.chat.session import shipped_attacks
from neurontune_core.config import PipelineConfig


def test_chat_obeys_commands_and_judges_both_answers(call, config: PipelineConfig) -> None:
    record_run(config, "first")
    lines = "Hello\n/new\n/strength 0\nHello\n/strength 3\n/attack retired_spymaster\n/nothing\n/quit\nHello\n"
    code, out, err = call("chat", "first", "--tokens", "6", lines=lines)
    assert (code, err) == (0, "")
    said = out.splitlines()
    base, tuned, new, strength, base_again, tuned_again, refused, attack, unknown = said
    assert base.startswith("base [") and tuned.startswith("tuned [")
    assert base.partition("]")[2] != tuned.partition("]")[2]
    assert (new, strength, attack) == ("new conversation", "strength 0", "attack retired_spymaster")
    assert base_again == base and tuned_again.partition("]")[2] == base.partition("]")[2]
    assert "not a number from 0" in refused and "/nothing is not a command" in unknown


def test_chat_keeps_the_conversation_until_a_new_one(call, config: PipelineConfig) -> None:
    record_run(config, "first")
    lines = "Hello\nHello\n\n/system\n/system Be brief.\n/system\nHello\n/system none\nHello\n"
    code, out, err = call("chat", "first", "--tokens", "6", lines=lines)
    assert (code, err) == (0, "")
    said = [line.partition("]: ")[2] or line for line in out.replace("\r", "").split("\n")]
    first, second, third = said[:2], said[2:4], said[7:9]
    assert said[4:7] == ["system none", "system Be brief.; new conversation", "system Be brief."]
    assert said[9] == "system none; new conversation"
    assert len({*map(tuple, (first, second, third))}) == 3, "earlier turns and the system message change the answers"
    assert said[10:12] == first, "a new conversation has forgotten all"


def test_chat_takes_another_length_and_lists_attacks_in_columns(
    call, config: PipelineConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    record_run(config, "first")
    code, out, err = call("chat", "first", "--tokens", "6", lines="/tokens\n/tokens 3\n/tokens x\n/attacks\n")
    assert (code, err) == (0, "")
    assert "tokens 6" in out and "tokens 3" in out and "tokens: 'x' is not a whole number of 1 or more" in out
    listed = out[out.index("whole number") :].splitlines()
    assert max(map(len, listed)) <= 100 and len(listed) < len(shipped_attacks())


def test_chat_refuses_an_attack_before_it_looks_for_the_run(call) -> None:
    code, _, err = call("chat", "nothing", "--attack", "two_mask")
    assert code == 2 and "choose none or one of two_masks, " in err and len(err) < 400


def test_a_byte_that_is_no_utf8_does_not_end_the_chat(
    config: PipelineConfig, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    record_run(config, "first")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"caf\xe9\n/tokens\n"), encoding="utf-8"))
    where = [f"runtime.root={json.dumps(config.runtime.root)}", "runtime.device=cpu"]
    chat_with("first", "1", "none", 4, False, where, False)
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 3 and said[0].startswith("base [") and said[-1] == "tokens 4"


def test_keys_pressed_during_an_answer_are_neither_shown_nor_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    import pty
    import termios

    controller, terminal = pty.openpty()
    monkeypatch.setattr(sys, "stdin", os.fdopen(terminal, encoding="utf-8"))
    with keys_unseen():
        assert not termios.tcgetattr(terminal)[3] & termios.ECHO
        os.write(controller, b"keys\n")
        time.sleep(0.1)
    assert termios.tcgetattr(terminal)[3] & termios.ECHO
    os.write(controller, b"line\n")
    assert sys.stdin.readline() == "line\n"
    os.close(controller)


def test_chat_says_when_the_positions_are_full(call, config: PipelineConfig) -> None:
    record_run(config, "first")
    lines = "\n".join(["x" * 2000, "x" * 900, "x" * 100, "/new", "Hello", ""])
    code, out, err = call("chat", "first", "--tokens", "60", lines=lines)
    assert (code, err) == (0, "")
    assert out.startswith("neurontune: error: message: it fills the model's 1,024 positions; write a shorter")
    assert "neurontune: error: conversation: with this message it fills the model's 1,024 positions; /new" in out
    assert "base [" in out.partition("new conversation")[2], "it goes on"
