"""What `neurontune export` does."""

from collections.abc import Sequence
from pathlib import Path

from flows.commands.console import echo
from flows.services import environment
from neurontune_core.errors import InputError
from neurontune_core.export.target import check_target
from neurontune_core.shown_text import one_line
from tasks.importing import without_collecting

FORMATS = ("folder", "alpha")


def export_model(
    run: str, to: str, form: str, repository: str | None, gguf: str | None, settings: Sequence[str], debug: bool
) -> None:
    """Write the tuned model of a run to a new folder, print what was checked, and push it to a hub if asked.

    Raises:
        InputError: no such run or format, the folder is in use, or the model cannot be pushed.
        NumericalError: a check failed; nothing was written.
        SendError: the folder is written, but the hub did not accept it.
    """
    target = Path(to)
    if form not in FORMATS:
        raise InputError(f"--format: {form!r} is unknown; choose {' or '.join(FORMATS)}")
    if form == "alpha" and (repository or gguf):
        raise InputError(
            "--format: 'alpha' has only the factors, which can be neither pushed nor converted; use folder"
        )
    check_target(target)
    from neurontune_core.export import send

    if repository is not None:
        send.check_repository(repository)
    converter = send.find_converter(Path(gguf)) if gguf is not None else None
    runtime = environment.ready(settings, debug)
    from tasks.recording.runs import find_run

    found = find_run(run, runtime, finished=True)  # a bad name is told before torch is imported
    with without_collecting():
        import mlflow  # noqa: F401
        from transformers.utils import logging as transformers_logging

        from neurontune_core.export.alpha import write_alpha
        from neurontune_core.export.folder import write_folder
        from tasks.recording.tuned import card_of, tuned_of

    transformers_logging.disable_progress_bar()
    tuned = tuned_of(found)
    if form == "alpha":
        write_alpha(target, tuned.scaling, tuned.base, tuned.origin)
        echo(f"{len(tuned.scaling.alpha)} factors of {one_line(tuned.run.name)} for {tuned.base.name}: {target}")
        return
    root = tuned.run.config.runtime.root
    check = write_folder(target, tuned.scaling, tuned.base, root, tuned.origin, card_of(tuned))
    echo(f"difference of logits, hooked and folded factors:  {check.folded:.1e} (in float32: {check.float32:.1e})")
    echo(f"difference of logits, hooked and written factors: {check.written:.1e} ({check.dtype})")
    echo(f"difference of logits, base and tuned model:       {check.effect:.1e}")
    echo(f"{one_line(tuned.run.name)} as an ordinary model folder: {target}")
    if converter is not None:
        send.convert_to_gguf(target, Path(str(gguf)), converter)
        echo(f"as a GGUF file: {gguf}")
    if repository is not None:
        echo(f"pushed: {send.push(target, repository)}")
