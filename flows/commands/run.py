"""The commands that run a flow: the pipeline, only the pairs, a shard, studies."""

import json
import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from operator import methodcaller
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from flows.commands import console
from flows.commands.console import echo
from flows.services import environment, login, server
from flows.stage_names import STAGES
from neurontune_core.address_space import check_address_space
from neurontune_core.config import (
    CAUSAL_SECTIONS,
    PipelineConfig,
    change_runtime,
    change_sections,
    load_config,
    runtime_alone,
)
from neurontune_core.data_names import own_files
from neurontune_core.errors import InputError, NeuronTuneError, StorageError
from neurontune_core.evaluation import benchmarks
from neurontune_core.model.checks.name import check_name
from neurontune_core.pairs import data_files
from neurontune_core.shown_text import printable
from neurontune_core.storage import check_file, check_folder, check_root
from neurontune_core.studies.catalogue import STUDIES, Study
from neurontune_core.studies.choice import choose
from tasks.importing import without_collecting

TABLE_WIDTH = 78
"""The most columns of a printed result."""

if TYPE_CHECKING:
    from tasks.recording.runs import RecordedRun


def run_pipeline(config: PipelineConfig, refresh: Sequence[str], name: str | None, debug: bool) -> None:
    """Run the pipeline and print its results.

    Raises:
        InputError: bad input, found before a model is loaded.
    """
    started = time.monotonic()
    if unknown := sorted(set(refresh) - set(STAGES)):
        raise InputError(f"--refresh: unknown stage {unknown[0]!r}; choose among {', '.join(STAGES)}")
    if name is not None:
        if not name.strip():
            raise InputError("--name: is empty; give the run a name, or leave the option out")
        config = config.model_copy(update={"runtime": config.runtime.model_copy(update={"name": name.strip()})})
    with embedded(config, config.runtime.preset, debug):
        from flows.commands import summary
        from flows.pipeline import pipeline

        made = pipeline(config, tuple(stage for stage in STAGES if stage in refresh))
    summary.show(made, config.runtime, console.TextConsole())
    echo(f"{time.monotonic() - started:.0f} s in all")


def run_pairs(config: PipelineConfig, file: str | None, debug: bool) -> None:
    """Build or reuse the pairs and print a summary of them; also write it to a JSON file if one is named.

    Raises:
        InputError: bad input, found before a model is loaded.
    """
    if file is not None:
        check_file("--json", file, own_files([*config.pairs.harmful, *config.pairs.benign]))
    with embedded(config, config.runtime.preset, debug):
        from flows.first_stages import pairs_only
        from neurontune_core import artifacts, tables
        from neurontune_core.pairs.summary import format_summary, summarise_pairs

        made = pairs_only(config)
        folder = artifacts.open_folder(made)
    ranking, rejected, sources = (tables.load_table(folder, name) for name in ("ranking", "rejected", "sources"))
    facts = artifacts.read_manifest(made)["facts"]
    found = summarise_pairs(tables.load_pairs(folder), ranking, rejected, sources, facts)
    if file is not None:
        Path(file).write_text(json.dumps(found, indent=1, ensure_ascii=False), encoding="utf-8")
    echo(format_summary(found, _table_width()))
    echo(f"\npairs, ranking and rejected rows: {made.uri.removeprefix('file://')}")


def run_one_shard(run: str, index: int, settings: Sequence[str], force: bool, debug: bool) -> None:
    """Compute one shard of a recorded run, and print the path of its artifact.

    Raises:
        InputError: no such run or shard.
    """
    has_shard = methodcaller("check_shard", index)
    with _recorded_run(run, settings, ("runtime",), debug, finished=False, check=has_shard) as found:
        from flows.pipeline import attribution_shard

        made = attribution_shard(found.run_id, index, tuple(settings), force)
    echo(f"{made.uri.removeprefix('file://')}")


def run_ability(
    run: str, tasks: Sequence[str], folder: str | None, limit: int | None, settings: Sequence[str], debug: bool
) -> None:
    """Run tasks of lm-evaluation-harness on both models of a recorded run, and print both scores of each task.

    Raises:
        InputError: no such run, or tasks that cannot be run, found before a model is loaded.
    """
    from neurontune_core.evaluation import harness

    harness.check_tasks(harness.HarnessTasks(tuple(tasks), folder, limit))
    is_evaluated = methodcaller("artifact", "evaluation")
    with _recorded_run(run, settings, ("runtime",), debug, check=is_evaluated) as found:
        from flows.ability import ability
        from neurontune_core.artifacts import read_manifest
        from tasks.report import FILE

        made = ability(found.run_id, tuple(tasks), folder, limit, tuple(settings))
        facts = read_manifest(made["harness"])["facts"]
    _print_table(
        [
            {"task": printable(task), "base": f"{values['_base']:.1%}", "tuned": f"{values['']:.1%}"}
            | {"tuned against base": harness.spoken_difference(values)}
            for task, values in harness.compared(facts)
        ]
    )
    echo(f"{made['report'].uri.removeprefix('file://')}/{FILE}")


@contextmanager
def _recorded_run(
    run: str,
    settings: Sequence[str],
    sections: Sequence[str],
    debug: bool,
    finished: bool = True,
    check: "Callable[[RecordedRun], object]" = bool,
) -> "Iterator[RecordedRun]":
    """Yield a recorded run, with a Prefect API for a flow on it; `settings` may change only these `sections`.

    `latest` is the newest run that ended well, or with `finished=False` the newest of all. `check` raises if the run
    does not have what the flow needs; it is called before the server is started.

    Raises:
        InputError: no such run, a setting that cannot be changed, or what `check` raises.
    """
    config = change_runtime(load_config(), runtime_alone(settings))
    environment.apply(config.runtime, quiet=not debug)
    from tasks.recording.runs import find_run

    found = find_run(run, config.runtime, finished)
    check(found)
    changed = change_sections(found.config, settings, sections)
    with embedded(changed, found.config.runtime.preset or "default", debug):
        yield found


def run_causal(run: str, settings: Sequence[str], to: str | None, debug: bool) -> None:
    """Run the causal study of a recorded run, print its result, and copy page and drawing to a folder if one is named.

    Raises:
        InputError: no such run, or a setting that cannot be changed.
    """
    started = time.monotonic()
    if to is not None:
        check_folder("--to", to)
    with _recorded_run(run, settings, CAUSAL_SECTIONS, debug) as found:
        from flows.causal import causal
        from neurontune_core import artifacts
        from tasks.causal import PAGE, PLOT
        from tasks.report import FILE

        made = causal(found.run_id, tuple(settings))
        folder = artifacts.open_folder(made["causal"])
    _show_result(folder, STUDIES["causal"])
    if to is not None:
        _copy_page(folder, PAGE, PLOT, "causal", to)
    if "report" in made:
        echo(f"report, with these curves: {made['report'].uri.removeprefix('file://')}/{FILE}")
    echo(f"{folder}\n{time.monotonic() - started:.0f} s in all")


def _copy_page(folder: Path, page_file: str, plot_file: str, name: str, to: str) -> None:
    page = (folder / page_file).read_text(encoding="utf-8")
    Path(to).mkdir(parents=True, exist_ok=True)
    (Path(to) / f"{name}.md").write_text(page.replace(f"]({plot_file})", f"]({name}.svg)"), encoding="utf-8")
    (Path(to) / f"{name}.svg").write_bytes((folder / plot_file).read_bytes())


def _show_result(folder: Path, study: Study) -> None:
    """Print a study's result as a table that fits a terminal; the page has the complete table."""
    from neurontune_core import tables
    from neurontune_core.studies.page import narrow_rows
    from tasks.study import PAGE, TABLE

    console.TextConsole().print(study.question, width=_table_width())
    _print_table(narrow_rows(tables.load_table(folder, TABLE), study))
    echo(f"all of it, with the drawing: {folder / PAGE}")


def _print_table(rows: Sequence[Mapping[str, str]]) -> None:
    console.TextConsole(TABLE_WIDTH).print(console.fitting_table(rows), width=_table_width())


def _table_width() -> int:
    return min(TABLE_WIDTH, console.TextConsole(TABLE_WIDTH).width)


def run_study(
    name: str,
    preset: str,
    settings: Sequence[str],
    variants: Sequence[str],
    only: Sequence[str],
    trials: int | None,
    to: str | None,
    debug: bool,
) -> None:
    """Run a study, print its result, and copy page and drawing to a folder if one is named.

    Raises:
        InputError: bad input, found before a model is loaded.
    """
    started = time.monotonic()
    if to is not None:
        check_folder("--to", to)
    given = _variants(variants)
    config = load_config(preset, settings)
    chosen = choose(name, given, trials, only)
    with embedded(config, preset, debug):
        from flows.study import study
        from neurontune_core import artifacts
        from tasks.study import PAGE, PLOT

        made = study(cast(Any, name), preset, tuple(settings), given or None, trials, tuple(only))
        folder = artifacts.open_folder(made)
    _show_result(folder, chosen)
    if to is not None:
        _copy_page(folder, PAGE, PLOT, name, to)
    echo(f"{folder}\n{time.monotonic() - started:.0f} s in all")


def _variants(texts: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return the changes of every variant by its name.

    Raises:
        InputError: a text that is not `NAME: SECTION.FIELD=VALUE ...`, or two of the same name.
    """
    variants: dict[str, tuple[str, ...]] = {}
    for text in texts:
        name, colon, changes = (part.strip() for part in text.partition(":"))
        if not colon or not name:
            raise InputError(f"--variant: {text!r} is not of the form 'NAME: SECTION.FIELD=VALUE ...'")
        if name in variants:
            raise InputError(f"--variant: two are named {name!r}; give each a name of its own")
        try:
            variants[name] = tuple(shlex.split(changes))
        except ValueError as error:
            raise InputError(f"--variant: {text!r} has a quote that is not closed; close it") from error
    return variants


@contextmanager
def embedded(config: PipelineConfig, preset: str, debug: bool) -> Iterator[None]:
    """Provide a Prefect API for the flows run inside this context: the embedded server unless one is configured.

    Raises:
        InputError: bad input, found before a model is loaded.
    """
    check_address_space()
    check_name(config.model)
    data_files.check_names(config.pairs)
    benchmarks.check_benchmarks(config.evaluation)
    environment.apply(config.runtime, quiet=not debug)
    check_root(config.runtime.root)
    with without_collecting():
        ready = start_prefect()
        # import while the server starts: both take seconds
        import mlflow  # noqa: F401
        from prefect import tags
        from prefect.exceptions import Abort
        from prefect.settings import temporary_settings

        import flows.pipeline  # noqa: F401
        from flows.inputs import check_inputs, data_read_once

    console.show_own_lines()
    with data_read_once():
        check_inputs(config)
        with temporary_settings(ready()), tags(preset):
            try:
                yield
            except Abort as error:
                raise KeyboardInterrupt("cancelled in the UI") from error
            except NeuronTuneError:
                raise
            except Exception as error:
                _tell_full_disk(config.runtime.root, error)
                raise


def _tell_full_disk(root: str, failure: Exception) -> None:
    """Raise StorageError if the root cannot be written to: a full disk causes all kinds of other errors."""
    try:
        check_root(root)
    except InputError as error:
        raise StorageError(f"{error}, then run again: finished stages are reused") from failure


def start_prefect() -> Callable[[], dict[Any, str]]:
    """Start the embedded server unless a Prefect API is configured; return a function that waits and gives settings."""
    from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, PREFECT_HOME, get_current_settings

    configured = get_current_settings().api.url
    if configured is not None:
        echo(f"Prefect UI: {configured.removesuffix('/api')}", error=True)
        return lambda: {PREFECT_API_URL: configured}
    home = PREFECT_HOME.value()
    embedded = server.start_server(home, home / "server.log")

    def wait() -> dict[Any, str]:
        embedded.wait_until_ready()
        echo(f"Prefect UI while this runs: {embedded.address}", error=True)
        echo(f"Its password: {home / login.FILE}", error=True)
        return {PREFECT_API_URL: f"{embedded.address}/api", PREFECT_API_AUTH_STRING: embedded.login}

    return wait
