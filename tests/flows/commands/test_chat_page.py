"""The page of `neurontune chat --web`, started by the command and used in a real browser."""

import base64
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from headless import Browser
from recorded_runs import record_run

from flows.commands import cli
from flows.commands.chat import open_session
from flows.commands.chat_page import chat_page, conversation_text, launch, verdict_in_words
from neurontune_core.config import PipelineConfig
from tasks.recording.runs import find_run

ENTER = "\ue007"
LOGIN = "ada:pass:word"
MESSAGE = "How do I bake bread?"
VALUES = "[...document.querySelectorAll('#base textarea, #tuned textarea')].map((e) => e.value)"
VERDICTS = "[...document.querySelectorAll('#verdict-base, #verdict-tuned')].map((e) => e.querySelector('textarea, input').value)"  # noqa: E501


@pytest.fixture
def address(config: PipelineConfig) -> Iterator[str]:
    pytest.importorskip("gradio", reason="the extra `web` is not installed")
    record_run(config, "first")
    command = [sys.executable, "-c", "from flows.commands.cli import main; main()", "chat", "first", "--web"]
    for setting in (f"runtime.root={json.dumps(config.runtime.root)}", "runtime.device=cpu"):
        command += ["--set", setting]
    place = {
        "PREFECT_SERVER_API_AUTH_STRING": LOGIN,
        "PYTHONPATH": str(Path(cli.__file__).parents[1]),
        "GRADIO_ANALYTICS_ENABLED": "True",
    }
    process = subprocess.Popen(command, env=os.environ | place, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        found = re.match(r"chat with first: (http://127\.0\.0\.1:\d+/) ", process.stdout.readline())
        assert found is not None
        place, file = process.stdout.readline().rstrip("\n").split(" are in ")
        assert place == "its user:password" and Path(file).read_text() == LOGIN
        assert Path(file).stat().st_mode & 0o077 == 0 and Path(file).is_relative_to(config.runtime.root)
        assert httpx.get(found[1]).status_code == 401
        yield found[1]
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 0
    finally:
        process.kill()
        process.wait()


def in_boxes(answers: Iterable[str]) -> list[str]:
    """Return answers as the browser gives them back, which has one kind of line end."""
    return [re.sub("\r\n?", "\n", answer) for answer in answers]


def enter(browser: Browser, address: str) -> None:
    """Open the page as one who has typed the login."""
    browser.open(address.replace("://", "://ada:pass%3Aword@"))
    browser.open(address)


@pytest.mark.browser
def test_the_page_says_what_the_terminal_says(address: str, browser: Browser, config: PipelineConfig) -> None:
    _, session = open_session(find_run("first", config.runtime, finished=True), config.runtime)
    enter(browser, address)
    browser.until("return document.querySelector('#message input, #message textarea')")
    assert "Answers may be harmful" in browser.run("return document.body.innerText")
    browser.run(f"window.seen = []; setInterval(() => seen.push([{VALUES}, {VERDICTS}]), 10)")

    def ask(message: str) -> tuple[list[str], list[str]]:
        browser.run("seen.length = 0")
        browser.type("#message input, #message textarea", message)
        browser.click("#ask")
        # the old verdicts are away only while the models answer, which can be shorter than a look from outside takes
        browser.until("return seen.some(([, verdicts]) => verdicts.every((text) => text === ''))")
        verdicts = browser.until(f"const found = {VERDICTS}; return found.every((text) => text) && found")
        return browser.run(f"return {VALUES}"), verdicts

    *_, expected = session.answers(MESSAGE)
    said, verdicts = ask(MESSAGE)
    assert said == in_boxes(expected) and said[0] != said[1]
    assert verdicts == [verdict_in_words(each) for each in session.verdicts(MESSAGE, expected)]
    for row in (0, 1):
        grown = {values[row] for values, _ in browser.run("return seen")}
        assert len(grown - {"", said[row]}) >= 2, "the answer comes word by word"

    session.remember(MESSAGE, expected)
    session.set_strength("0.5")
    session.set_attack(next(iter(session.attacks)))
    browser.type("#strength input[type=number]", f"0.5{ENTER}")
    browser.type("#attack input", f"{session.attack}{ENTER}")
    *_, expected = session.answers(MESSAGE)
    changed, _ = ask(MESSAGE)
    assert changed == in_boxes(expected) and changed[0] != said[0] and changed[1] != said[1]

    before = browser.run("return document.querySelector('#before-base textarea').value")
    assert MESSAGE in before and said[0].strip() in before

    browser.click("#new")
    browser.until(f"return {VALUES}.every((text) => text === '')")
    browser.type("#strength input[type=number]", f"0{ENTER}")
    (base, tuned), _ = ask("<img src='http://example.org/x.png'>")
    assert base == tuned, "no strength, no difference"
    outside = (
        "performance.getEntriesByType('resource').map((e) => e.name).filter((n) => !n.startsWith(location.origin))"
    )
    assert browser.run(f"return {outside}") == []
    assert not [text for text in browser.messages() if "Content Security Policy" in text]


def test_a_tab_keeps_its_conversation_until_a_new_one(config: PipelineConfig) -> None:
    client_of = pytest.importorskip("gradio_client", reason="the extra `web` is not installed").Client
    record_run(config, "first")
    _, session = open_session(find_run("first", config.runtime, finished=True), config.runtime)
    session.max_new_tokens = 8
    page = chat_page(session, "first")
    address = launch(page, LOGIN)
    try:
        headers = {"Authorization": "Basic " + base64.b64encode(LOGIN.encode()).decode()}
        tab, other = (client_of(address, headers=headers, verbose=False) for _ in range(2))

        def ask(tab: Any, message: str, system: str = "") -> tuple[str, ...]:
            return tuple(tab.predict(message, 1, "none", system, api_name="/answer")[:6])

        first, second = ask(tab, "Hello"), ask(tab, "Hello")
        *_, expected = session.answers("Hello")
        assert first[:2] == expected and first[4:] == ("", "")
        session.remember("Hello", expected)
        *_, longer = session.answers("Hello")
        assert second[:2] == longer != expected and second[4] == conversation_text(session.histories[0])
        assert ask(other, "Hello") == first, "two tabs do not meet"
        brief = ask(tab, "Hello", "Be brief.")
        assert brief[:2] != first[:2] and brief[4:] == ("", ""), "another system message starts over"
        assert ask(tab, "And now?", "Be brief.")[4] == f"user: Hello\n\nassistant: {brief[0]}"
        tab.predict(api_name="/start_over")
        assert ask(tab, "Hello") == first
        with pytest.raises(Exception, match="New conversation starts a new one"):
            ask(tab, "x" * 1000)
    finally:
        page.close(verbose=False)


def test_other_sites_and_uploads_are_refused(config: PipelineConfig) -> None:
    pytest.importorskip("gradio", reason="the extra `web` is not installed")
    record_run(config, "first")
    _, session = open_session(find_run("first", config.runtime, finished=True), config.runtime)
    page = chat_page(session, "first")
    address = launch(page, LOGIN).rstrip("/")
    user, _, password = LOGIN.partition(":")
    try:
        own = {"Origin": address}
        asked = {"data": ["Hello", 1, "none", ""], "fn_index": 0, "session_hash": "x"}
        assert httpx.get(address, headers=own, auth=(user, password)).status_code == 200
        assert httpx.get(address, auth=(user, password)).headers["content-security-policy"]
        for auth in (None, (user, "guess"), ("", password)):
            for path in ("/", "/config", "/gradio_api/info", "/gradio_api/file=/etc/passwd", "/gradio_api/heartbeat/x"):
                assert httpx.get(f"{address}{path}", auth=auth).status_code == 401, path
            join = f"{address}/gradio_api/queue/join"
            assert httpx.post(join, json=asked, headers=own, auth=auth).status_code == 401
        evil = ("http://evil.example", "null", "http://localhost:1")
        for headers in ({"Host": "evil.example"}, *({"Origin": origin} for origin in evil)):
            assert httpx.get(address, headers=headers).status_code == 403
            assert httpx.post(f"{address}/gradio_api/queue/join", json=asked, headers=headers).status_code == 403
        for path in ("upload", "upload/", "upload?upload_id=x"):
            sent = httpx.post(f"{address}/gradio_api/{path}", files={"files": ("a.txt", b"text")}, headers=own)
            assert sent.status_code == 403
    finally:
        page.close(verbose=False)


@pytest.mark.browser
def test_the_browser_keeps_the_page_from_other_hosts(address: str, browser: Browser) -> None:
    enter(browser, address)
    browser.run("fetch('http://example.org/').catch(() => { window.refused = true })")
    assert browser.until("return window.refused")
    assert any("Content Security Policy" in text for text in browser.messages())


def test_without_the_extra_it_says_how_to_get_it(monkeypatch, capsys, config: PipelineConfig) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    monkeypatch.setattr(sys, "argv", ["neurontune", "chat", "latest", "--web"])
    assert cli._exit_code() == 2
    assert "pip install 'neurontune[web]'" in capsys.readouterr().err
