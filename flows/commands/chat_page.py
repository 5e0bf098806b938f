"""`neurontune chat --web`: the chat as a web page of this machine, with base and tuned model side by side."""

import os
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

from flows.commands.console import echo
from flows.services.guard import OwnPagesOnly, PasswordAsked
from flows.services.login import FILE, make_login
from neurontune_core.chat.session import NO_ATTACK, NO_SYSTEM, ChatSession, History
from neurontune_core.errors import InputError
from neurontune_core.evaluation.judges import Verdict
from neurontune_core.shown_text import markdown_text, one_line

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when gradio is imported

LOOPBACK = "127.0.0.1"
NOTICE = """## {title}: base and tuned model
Answers may be harmful, above all the base model's: do not act on them, and do not pass them on.
Each model sees the conversation so far, with its own answers, until you start a new one."""
CLOSED = ("upload", "process_recording")
"""Paths of gradio that this page does not use and that are closed: they could write files of any size to the disk."""
OPEN = ("/gradio_api/startup-events",)
"""The path that gradio requests from itself, without a password, when it starts; its answer is only `true`."""
LINES = 14
Before = tuple[str, tuple[History, History]]
"""The conversation of a tab: its system message, and what was said to and by each model."""


def serve_chat(session: ChatSession, title: str, home: Path) -> None:
    """Serve the page on loopback until interrupted, with the login of a Prefect home; print its address.

    Raises:
        InputError: gradio, the optional extra `web`, is not installed.
    """
    page = chat_page(session, title)
    address = launch(page, make_login(home))
    echo(f"chat with {one_line(title)}: {address}   (Ctrl-C ends it)")
    echo(f"its user:password are in {home / FILE}")
    try:
        Event().wait()
    except KeyboardInterrupt:
        pass
    finally:
        page.close(verbose=False)


def chat_page(session: ChatSession, title: str) -> Any:
    """Return the page as a gradio app."""
    import gradio

    with gradio.Blocks(title=f"NeuronTune: {title}", analytics_enabled=False) as page:
        gradio.Markdown(NOTICE.format(title=markdown_text(title)))
        with gradio.Row():
            strength = gradio.Slider(
                0, 1, session.strength, step=0.05, label="Strength",
                info="0 is the base model, 1 the tuned one", elem_id="strength",
            )  # fmt: skip
            attack = gradio.Dropdown(
                [NO_ATTACK, *session.attacks], value=session.attack, label="Attack",
                info="wraps the message for both models", elem_id="attack",
            )  # fmt: skip
        system = gradio.Textbox(
            label="System message", value=session.system, info="another one starts a new conversation",
            placeholder=session.chat.system_prompt or "none", elem_id="system",
        )  # fmt: skip
        message = gradio.Textbox(label="Message", placeholder="Ask both models", autofocus=True, elem_id="message")
        with gradio.Row():
            ask = gradio.Button("Ask both", variant="primary", elem_id="ask")
            stop = gradio.Button("Stop", elem_id="stop")
            new = gradio.Button("New conversation", elem_id="new")
        answers, verdicts, earlier = [], [], []
        with gradio.Row():
            for name in ("base", "tuned"):
                with gradio.Column():
                    # plain text, so that markup in an answer does not become part of the page
                    answers.append(gradio.Textbox(label=name, lines=LINES, max_lines=LINES, elem_id=name))
                    verdicts.append(gradio.Textbox(label=f"verdict on {name}", elem_id=f"verdict-{name}"))
                    earlier.append(gradio.Textbox(label="before", max_lines=LINES, elem_id=f"before-{name}"))
        before = gradio.State((session.system, session.histories))
        shown = [*answers, *verdicts, *earlier]
        asked = gradio.on(
            [ask.click, message.submit], partial(_answer, session), [message, strength, attack, system, before],
            [*shown, before], api_name="answer", show_progress="hidden", concurrency_limit=1,
        )  # fmt: skip
        stop.click(None, cancels=[asked])
        new.click(_start_over, None, [*shown, before], cancels=[asked], api_name="start_over")
    return page


def _answer(
    session: ChatSession, message: str, strength: float, attack: str, system: str, before: Before
) -> Iterator[tuple[Any, ...]]:
    """Yield what the page shows while both models answer: answers, verdicts, the turns before, the conversation.

    A request works on a copy of the session, so two tabs are independent.
    """
    import gradio

    asked = replace(session)
    if not message.strip():
        raise gradio.Error("Write a message first.")
    try:
        asked.set_strength(str(strength))
        asked.set_attack(attack)
        asked.set_system(system.strip() or NO_SYSTEM)
        # another system message starts a new conversation
        if before[0] == asked.system:
            asked.histories = before[1]
        earlier = [conversation_text(history) for history in asked.histories]
        said = ("", "")
        yield *said, "", "", *earlier, before
        for said in asked.answers(message.strip()):
            yield *said, *[gradio.skip()] * 5  # the rest of the page stays as it is
    except InputError as error:
        raise gradio.Error(str(error).replace("/new", "New conversation")) from error
    base, tuned = asked.verdicts(message.strip(), said)
    asked.remember(message.strip(), said)
    yield *said, verdict_in_words(base), verdict_in_words(tuned), *earlier, (asked.system, asked.histories)


def _start_over() -> tuple[Any, ...]:
    """Return an empty page and an empty conversation."""
    return *[""] * 6, ("", ((), ()))


def launch(page: Any, login: str) -> str:
    """Start serving on loopback in the background, with a login; return the address."""
    from starlette.middleware import Middleware

    _, address, _ = page.launch(
        server_name=LOOPBACK,
        share=False,
        quiet=True,
        prevent_thread_lock=True,
        footer_links=[],
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        enable_monitoring=False,
        app_kwargs={
            "middleware": [
                Middleware(OwnPagesOnly, closed=CLOSED),
                Middleware(PasswordAsked, login=login, open_paths=OPEN),
            ]
        },
    )
    return str(address)


def verdict_in_words(verdict: Verdict) -> str:
    """Return a verdict as a line of text."""
    degenerate = "" if verdict.degenerate == "none" else f" ({verdict.degenerate})"
    return f"{verdict.label}{degenerate}: {verdict.explanation}"


def conversation_text(history: History) -> str:
    """Return a conversation as text, a turn a paragraph."""
    return "\n\n".join(f"{turn.role}: {turn.content}" for turn in history)
