"""`neurontune chat`: the base and the tuned model side by side in the terminal."""

import io
import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

from rich.columns import Columns
from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.text import Text

from flows.commands.console import TextConsole, echo
from flows.services import ending, environment
from neurontune_core.chat.choices import NO_ATTACK, NO_SYSTEM, shipped_attacks, strength_of, unknown_attack
from neurontune_core.config import RuntimeConfig
from neurontune_core.errors import InputError
from neurontune_core.evaluation.judges import Verdict
from neurontune_core.shown_text import one_line
from tasks.progress import stop_requested

if TYPE_CHECKING:
    from neurontune_core.chat.session import ChatSession
    from tasks.recording.runs import RecordedRun

HELP = """/strength 0.5   use this much of the tuning: 0 is the base model, 1 the tuned one
/attack NAME    wrap every message in this attack; /attack none stops that
/attacks        list the attacks, in columns
/tokens N       limit the length of an answer to N tokens
/new            start a new conversation
/system TEXT    start a new one with this system message; /system shows it, /system none removes it
/help           this list
/quit           end (also Ctrl-D); Ctrl-C stops an answer, which is then forgotten together with its message
Each model sees the conversation so far, with its own answers; earlier messages keep their attacks."""
EXPLAINED = 16
"""The column of the explanations in HELP."""
NAMES = ("base", "tuned")
BESIDE = 60
"""Columns from which the two answers stand side by side; in a narrower terminal one stands below the other."""


def chat_with(
    run: str, strength: str, attack: str, tokens: int, web: bool, settings: Sequence[str], debug: bool
) -> None:
    """Let a person talk to both models of a run: in the terminal until the input ends, or on a page until Ctrl-C.

    Raises:
        InputError: no such run or attack, a strength out of range, or no library for the page.
    """
    if web and find_spec("gradio") is None:
        raise InputError("--web: the page needs gradio; run pip install 'neurontune[web]'")
    known = shipped_attacks()
    if attack != NO_ATTACK and attack not in known:
        raise unknown_attack(attack, known)
    used = strength_of(strength)
    runtime = environment.ready(settings, debug)
    from tasks.recording.runs import find_run

    found = find_run(run, runtime, finished=True)  # a bad name is told before torch is imported
    from flows.commands import chat_page

    name, session = open_session(found, runtime)
    session.max_new_tokens = tokens
    session.strength = used
    session.set_attack(attack)
    if web:
        chat_page.serve_chat(session, name, environment.prefect_home(runtime))
        return
    console = TextConsole()
    if isinstance(sys.stdin, io.TextIOWrapper):  # a byte that is not UTF-8 is shown escaped instead of ending the chat
        sys.stdin.reconfigure(errors="replace")
    if sys.stdin.isatty():
        console.print(f"{one_line(name)}: base and tuned model. /help lists the commands. Answers may be harmful.")
    with ending.sigint_only_raises():
        for line in _lines():
            if line in ("/quit", "/exit"):
                return
            _reply(session, line, console)


def _reply(session: "ChatSession", line: str, console: Console) -> None:
    """Answer a message or carry out a command; Ctrl-C stops only this, while SIGTERM ends the chat."""
    try:
        if line.startswith("/"):
            console.print(obey(session, line), markup=False, soft_wrap=True)
        elif line:
            _answer(session, line, console)
            if session.full:
                console.print("The conversation fills the model's positions: /new starts a new one.")
    except InputError as error:
        console.print(f"neurontune: error: {error}", markup=False, soft_wrap=True)
    except KeyboardInterrupt:
        if stop_requested.is_set():
            raise
        console.print("(stopped)")


def open_session(run: "RecordedRun", runtime: RuntimeConfig) -> "tuple[str, ChatSession]":
    """Load both models of a run and the judge of its evaluation, and return them with the run's name."""
    from neurontune_core.chat.session import ChatSession
    from neurontune_core.evaluation.judges import judge_by_name
    from neurontune_core.evaluation.judging import judge_of
    from neurontune_core.model.devices import choose_devices
    from neurontune_core.model.load import load
    from tasks.recording.tuned import tuned_of

    tuned = tuned_of(run)
    config = tuned.run.config.evaluation
    # a judge that looks up verdicts in a file has no verdicts for a live chat
    judge = judge_by_name("rules") if config.judge.method == "precomputed" else judge_of(config, runtime.device)
    model = load(
        tuned.base.evaluated,
        tuned.run.config.runtime.root,
        choose_devices(runtime.device),
        working=True,
        max_memory=runtime.max_memory,
        batch_tokens=runtime.batch_tokens,
    )
    return tuned.run.name, ChatSession(model, tuned.scaling, judge)


def obey(session: "ChatSession", line: str) -> str:
    """Carry out a line that starts with a slash, and return the text to print.

    Raises:
        InputError: it is not a command, or its argument does not fit.
    """
    command, _, argument = line.partition(" ")
    if command == "/strength":
        session.set_strength(argument.strip())
        return f"strength {session.strength:g}"
    if command == "/attack":
        session.set_attack(argument.strip() or "none")
        return f"attack {session.attack}"
    if command == "/attacks":
        return _in_columns(session)
    if command == "/tokens":
        if argument.strip():
            session.set_tokens(argument.strip())
        return f"tokens {session.max_new_tokens}"
    if command == "/new":
        session.start_over()
        return "new conversation"
    if command == "/system":
        if not argument.strip():
            return f"system {session.system or session.chat.system_prompt or NO_SYSTEM}"
        session.set_system(argument.strip())
        return f"system {session.system or NO_SYSTEM}; new conversation"
    if command == "/help":
        return _wrapped(HELP, shutil.get_terminal_size().columns)
    raise InputError(f"{command} is not a command; /help lists all commands")


def _wrapped(text: str, width: int) -> str:
    """Return the list of commands with its explanations in a column of their own on a terminal of this width."""
    lines = []
    for line in text.splitlines():
        indent = " " * EXPLAINED if line.startswith("/") else ""
        lines.append(textwrap.fill(line, max(2 * EXPLAINED, width), subsequent_indent=indent))
    return "\n".join(lines)


def _in_columns(session: "ChatSession") -> str:
    """Return the names of the attacks in columns that fit the terminal, category by category."""
    width = shutil.get_terminal_size().columns
    broad = max(map(len, session.attacks)) + 2
    across = max(1, width // broad)
    lines = []
    for category in dict.fromkeys(attack.category for attack in session.attacks.values()):
        names = [name for name, attack in session.attacks.items() if attack.category == category]
        lines.append(f"{category}:")
        for start in range(0, len(names), across):
            lines.append("".join(f"{name:<{broad}}" for name in names[start : start + across]).rstrip())
    return "\n".join(lines)


def plain(text: str) -> str:
    """Return a model's text without control characters, which could change the terminal."""
    return "".join(sign for sign in text if sign.isprintable() or sign in "\n\t")


def _lines() -> Iterator[str]:
    if not sys.stdin.isatty():
        yield from (line.strip() for line in sys.stdin)
        return
    import readline  # noqa: F401  # gives input() its history and editing

    while True:
        try:
            line = input("> ").strip()
        except EOFError:
            return
        except KeyboardInterrupt:  # Ctrl-C drops the line, as in a shell
            if stop_requested.is_set():
                raise
            echo("")
            continue
        yield line


@contextmanager
def keys_unseen() -> Iterator[None]:
    """Inside this context key presses are neither shown nor kept for the next line; Ctrl-C still interrupts."""
    try:
        import termios

        terminal = sys.stdin.fileno()
        before = termios.tcgetattr(terminal)
    except (ImportError, OSError, ValueError):  # the system has no termios, or the input is not a terminal
        yield
        return
    silent = list(before)
    silent[3] &= ~(termios.ECHO | termios.ICANON)
    termios.tcsetattr(terminal, termios.TCSADRAIN, silent)
    try:
        yield
    finally:
        termios.tcflush(terminal, termios.TCIFLUSH)
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)


def _answer(session: "ChatSession", message: str, console: Console) -> None:
    said = ("", "")
    if console.is_terminal:
        # crop the growing answer: Rich would print text taller than the terminal again at every step
        live = Live(console=console, refresh_per_second=12, vertical_overflow="crop", transient=True)
        with keys_unseen(), live:
            for said in session.answers(message):
                live.update(_beside(session, said, None, console.width))
        console.print(_beside(session, said, session.verdicts(message, said), console.width))
        session.remember(message, said)
        return
    *_, said = session.answers(message)
    for name, text, verdict in zip(NAMES, said, session.verdicts(message, said), strict=True):
        console.print(f"{name} [{verdict.label}]: {plain(text)}", markup=False, soft_wrap=True)
    session.remember(message, said)


def _beside(
    session: "ChatSession", said: tuple[str, str], verdicts: tuple[Verdict, Verdict] | None, width: int
) -> Columns:
    from flows.commands.chat_page import verdict_in_words

    titles = ("base", f"tuned, strength {session.strength:g}")
    broad = width // 2 - 1 if width >= BESIDE else width
    panels = []
    for row, title in enumerate(titles):
        parts = [Text(plain(said[row]))]
        if verdicts is not None:
            parts.append(Text(f"\n{verdict_in_words(verdicts[row])}", style="bold"))
        panels.append(Panel(Group(*parts), title=title, width=broad))
    return Columns(panels, padding=(0, 1))
