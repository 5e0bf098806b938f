"""What `neurontune export` does."""

from collections.abc import Sequence
from pathlib import Path

from flows import environment
from neurontune_core.errors import InputError
from neurontune_core.export.target import check_target
from neurontune_core.shown_text import printable

FORMATS = ("folder", "alpha")


def export_model(run: str, to: str, form: str, settings: Sequence[str], debug: bool) -> None:
    """Write the tuned model of a run to a new folder and say what was checked.

    Raises:
        InputError: no such run or format, or the folder is in use.
        NumericalError: a check failed; nothing was written.
    """
    target = Path(to)
    if form not in FORMATS:
        raise InputError(f"--format: {form!r} is unknown; choose {' or '.join(FORMATS)}")
    check_target(target)
    runtime = environment.ready(settings, debug)
    from transformers.utils import logging as transformers_logging

    from neurontune_core.export.alpha import write_alpha
    from neurontune_core.export.folder import write_folder
    from tasks.tuned import card_of, find_tuned

    transformers_logging.disable_progress_bar()
    tuned = find_tuned(run, runtime)
    if form == "alpha":
        write_alpha(target, tuned.scaling, tuned.base, tuned.origin)
        print(printable(f"{len(tuned.scaling.alpha)} factors of {tuned.run.name} for {tuned.base.name}: {target}"))
        return
    root = tuned.run.config.runtime.root
    check = write_folder(target, tuned.scaling, tuned.base, root, tuned.origin, card_of(tuned))
    print(f"hooked against folded logits  {check.folded:.1e} (computed in float32: {check.float32:.1e})")
    print(f"hooked against written logits {check.written:.1e} ({check.dtype})")
    print(f"base against tuned logits     {check.effect:.1e}")
    print(printable(f"{tuned.run.name} as an ordinary model folder: {target}"))
