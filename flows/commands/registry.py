"""`neurontune register` and `neurontune promote`."""

from collections.abc import Sequence

from flows.commands.console import echo
from flows.services import environment
from neurontune_core.errors import InputError
from neurontune_core.shown_text import one_line


def register_run(run: str, name: str, alias: str, settings: Sequence[str], debug: bool) -> None:
    """Register the model of a run, and print its name and version.

    Raises:
        InputError: no such run, a bad name, or the alias of the champion, which only `promote` sets.
    """
    runtime = environment.ready(settings, debug)
    from tasks.recording.runs import find_run

    find_run(run, runtime, finished=True)  # a bad name is told before torch is imported
    from tasks.recording.registry import CHAMPION, check_name, register

    check_name(name)
    check_name(alias)
    if alias == CHAMPION:
        raise InputError(f"--alias: {CHAMPION} is given by a promotion; run `neurontune promote {run}`")
    made = register(run, name, alias, runtime)
    echo(f"models:/{one_line(made.name)}@{one_line(alias)} is version {made.version}, of run {made.run_id}")


def promote_run(run: str, name: str, settings: Sequence[str], debug: bool) -> None:
    """Run the promotion flow, which waits for a person, and print its result.

    Raises:
        InputError: no such run, a bad name, nobody approved, or an objection is not overridden.
    """
    runtime = environment.ready(settings, debug)
    from tasks.recording.runs import find_run

    find_run(run, runtime, finished=True)  # a bad name is told before torch is imported, and before a server is started
    from tasks.recording.registry import check_name

    check_name(name)
    from flows.commands.run import start_prefect

    ready = start_prefect()
    from prefect.settings import PREFECT_API_URL, temporary_settings

    from flows.promotion import promotion

    found = ready()
    address = found[PREFECT_API_URL].removesuffix("/api")
    echo(f"to approve, press Resume on the page of the flow run, at {address}")
    with temporary_settings(found):
        made = promotion(run, name, tuple(settings))
    echo(f"models:/{one_line(made['name'])}@champion is version {made['version']}, of run {made['run_id']}")
