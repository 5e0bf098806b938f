"""The end of a run: the result table for the terminal and the Prefect UI, and where to find everything."""

import shlex
from collections.abc import Container, Mapping
from typing import Any
from urllib.parse import quote

from prefect import get_run_logger
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.settings import get_current_settings
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from flows.commands.console import mlflow_ui, program
from flows.services.environment import own_prefect_home
from flows.services.login import FILE as FILE_OF_LOGIN
from neurontune_core import artifacts, tables
from neurontune_core.config import RuntimeConfig
from neurontune_core.evaluation.rates import over_refusal_in_words
from neurontune_core.records import Artifact
from neurontune_core.selection.knockout import silencing_statement
from neurontune_core.shown_text import group_in_words, markdown_code, markdown_table, printable
from tasks.recording import tracking
from tasks.recording.mlflow_store import Tracking, without_password
from tasks.recording.runs import places
from tasks.report import FILE

Row = dict[str, str]
TOTALS = ("harmful", "benign")
SCORE = "SU-F1"


def result_rows(made: Mapping[str, Artifact]) -> list[Row]:
    """Return the result table: a row a group of test prompts with both refusal rates, then the Safety-Utility F1.

    Below it is what is left of the model: words an answer to a harmless prompt, KL, general knowledge.
    """
    evaluation = made["evaluation"]
    rates = tables.load_table(artifacts.open_folder(evaluation), "rates").to_dict("records")
    facts = artifacts.read_manifest(evaluation)["facts"]
    rows = []
    for base, tuned in ((base, tuned) for base in rates for tuned in rates if _are_partners(base, tuned)):
        name = str(tuned["benchmark"])
        rows.append(
            {
                "refused on": ("all " if name in TOTALS else "") + group_in_words(name),
                "base": _percent(base),
                "tuned": _percent(tuned),
                "n": str(tuned["n"]),
                "goal": "high" if tuned["role"] == "safety" else "low",
            }
        )
    scores = {
        model: "{:.2f} [{:.2f}, {:.2f}]".format(*(facts[f"eval/su_f1{suffix}{end}"] for end in ("", "_low", "_high")))
        for model, suffix in (("base", "_base"), ("tuned", ""))
    }
    prompts = sum(row["n"] for row in rates if row["model"] == "tuned" and row["benchmark"] not in TOTALS)
    known = artifacts.read_manifest(made["ability"])["facts"] if "ability" in made else {}
    return [*rows, {"refused on": SCORE, **scores, "n": str(prompts), "goal": "high"}, *_left_rows(facts | known)]


def _left_rows(facts: Mapping[str, float]) -> list[Row]:
    """Return the rows of what is left of the model, those that were measured."""
    rows = []
    for name, base, tuned, form, goal in (
        ("words an answer, harmless", "left/words_base", "left/words", "{:.0f}", "same"),
        ("KL from base, nats a token", "", "eval/kl_to_base", "{:.2f}", "low"),
        ("general knowledge", "ability/accuracy_base", "ability/accuracy", "{:.1%}", "high"),
    ):
        if tuned in facts:
            count = f"{facts['ability/questions']:.0f}" if tuned == "ability/accuracy" else ""
            shown = {"base": form.format(facts[base]) if base else "", "tuned": form.format(facts[tuned])}
            rows.append({"refused on": name, **shown, "n": count, "goal": goal})
    return rows


def headline(made: Mapping[str, Artifact]) -> list[str]:
    """Return a run's result in one line, and the effect of silencing its safety neurons in another if measured."""
    rows = {row["refused on"]: row for row in result_rows(made)}
    selection = made.get("selection")
    totals = [group_in_words(name) for name in TOTALS]
    shares = [f"{rows[f'all {name}']['tuned']} of {name} prompts" for name in totals if f"all {name}" in rows]
    refused = f"; refused: {', '.join(shares)}" if shares else ""
    score = f"{SCORE} {rows[SCORE]['tuned']}, base model {rows[SCORE]['base']}{refused}"
    causal = silencing_statement(artifacts.read_manifest(selection)["facts"]) if selection else ""
    return [score, *([f"Cause and effect: {causal}"] if causal else [])]


def publish(made: Mapping[str, Artifact], report: Artifact, record: Tracking) -> None:
    """Show a run's result on its page in the Prefect UI: headline, effect of silencing, links, then the table.

    The run's log ends with the same lines.
    """
    evaluation = made["evaluation"]
    rows, lines = result_rows(made), headline(made)
    create_table_artifact(key="results", table=rows, description="Base against tuned, with 95% intervals.")
    link, server = tracking.run_link(record), without_password(record.uri).rstrip("/")
    # a browser does not follow a link from a server's page to a file, so print the address for copying too
    file = f"{report.uri}/{FILE}"
    page = f"Report: [{FILE}]({quote(file, safe=':/')}), at {markdown_code(file)}."
    recorded = f"MLflow run `{link}` at {markdown_code(server)}." if link else "Not recorded in MLflow."
    if link and server.startswith("http"):
        page += f" [The same in MLflow]({server}/{link}/artifacts/{FILE})."
        recorded = f"[MLflow run]({server}/{link})."
    links = f"{page} {recorded} Artifacts: {markdown_code(evaluation.uri)}."
    first = "\n\n".join([f"**{lines[0]}**", *lines[1:], links])
    create_markdown_artifact(key="summary", markdown=f"{first}\n\n{markdown_table(rows)}", description=lines[0])
    for line in (*lines, f"report {report.uri}/{FILE}", *([f"MLflow {server}/{link}"] if link else [])):
        get_run_logger().info(line)


def show(made: Mapping[str, Artifact], runtime: RuntimeConfig, console: Console) -> None:
    """Print the result table, where the artifacts are, and the commands that open both UIs."""
    table = Table(
        title="Refusals, base against tuned, with 95% intervals",
        title_justify="left",
        box=SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    rows = result_rows(made)
    above = [row["refused on"] for row in rows].index(SCORE) - 1
    word = max(len(word) for row in rows for word in row["refused on"].split())
    for name in rows[0]:
        left = name == "refused on"  # only this column may wrap on a narrow terminal, and only between words
        table.add_column(name, justify="left" if left else "right", no_wrap=not left, min_width=word if left else None)
    for number, row in enumerate(rows):
        table.add_row(*row.values(), end_section=number == above)
    console.print(table)
    for line in _over_refusal(made):
        console.print(printable(line), highlight=False)
    kept = {stage: made[stage].uri for stage in ("scaling", "baseline", "evaluation") if stage in made}
    for name, uri in (kept | {"report": f"{made['report'].uri}/{FILE}"}).items():
        console.print(printable(f"{name + ':':<12} {uri.removeprefix('file://')}"), soft_wrap=True, highlight=False)
    for name, command in next_commands(made, runtime).items():
        console.print(printable(f"{name + ':':<12} {command}"), soft_wrap=True, highlight=False)
    for name, command in ui_commands(runtime).items():
        console.print(f"{name + ':':<12} {command}", soft_wrap=True, highlight=False)


def _over_refusal(made: Mapping[str, Artifact]) -> list[str]:
    completions = tables.load_table(artifacts.open_folder(made["evaluation"]), "completions")
    words = tables.load_table(artifacts.open_folder(made["triggers"]), "words") if "triggers" in made else None
    return over_refusal_in_words(completions, words)


def next_commands(made: Container[str], runtime: RuntimeConfig) -> dict[str, str]:
    """Return the usual next commands after a run that made these stages, with the settings that they need to find it.

    Chat and export need factors, which a run with a baseline does not have.
    """
    where = "".join(f" --set {shlex.quote(place)}" for place in places(runtime))
    of_factors = {"chat": f"neurontune chat latest{where}", "export": f"neurontune export latest --to FOLDER{where}"}
    return {
        **(of_factors if "scaling" in made else {}),
        "compare": f"neurontune runs{where}, then neurontune compare RUN RUN{where}",
        "UIs": f"neurontune up{where}",
    }


def ui_commands(runtime: RuntimeConfig) -> dict[str, str]:
    """Return the commands that open the UIs with this root's runs, or the addresses of running servers."""
    api = get_current_settings().api.url
    home = own_prefect_home(runtime)
    # without a password any web page could write to the server's database
    login = f'PREFECT_SERVER_API_AUTH_STRING="$(cat {shlex.quote(str(home / FILE_OF_LOGIN))})" ' if home else ""
    prefix = f"PREFECT_HOME={shlex.quote(str(home))} {login}" if home else ""
    prefect = f"{prefix}{program('prefect')} server start   then http://127.0.0.1:4200"
    return {
        "Prefect UI": api.removesuffix("/api") if api else prefect,
        "MLflow UI": mlflow_ui(runtime),
    }


def _are_partners(base: Mapping[Any, Any], tuned: Mapping[Any, Any]) -> bool:
    return (base["model"], tuned["model"]) == ("base", "tuned") and base["benchmark"] == tuned["benchmark"]


def _percent(row: Mapping[Any, Any]) -> str:
    return f"{row['rate']:.1%} [{100 * row['low']:.0f}, {100 * row['high']:.0f}]"
