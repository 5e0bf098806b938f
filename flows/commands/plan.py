"""`neurontune plan`: the estimated cost of every stage of a run, as a table or as JSON."""

from typing import TYPE_CHECKING

from flows.commands.console import echo, json_text
from flows.commands.run import embedded
from neurontune_core.config import PipelineConfig

if TYPE_CHECKING:
    from neurontune_core.costs.plan import Plan, StageCost

HEADINGS = ("stage", "seconds", "MiB", "GPU MiB", "disk MiB", "price")
WIDTHS = (12, 9, 9, 9, 9, 7)


def run_plan(config: PipelineConfig, as_json: bool, debug: bool) -> None:
    """Print the estimated cost of a run; the pairs are built if they do not exist, and the run reuses them.

    Raises:
        InputError: bad input, found before a model is loaded.
    """
    with embedded(config, config.runtime.preset, debug):
        from flows.first_stages import pairs_only
        from neurontune_core import artifacts, tables
        from neurontune_core.costs.plan import plan
        from neurontune_core.data.library import PublicLibrary
        from neurontune_core.model.load import conversion
        from neurontune_core.model.source import stored_bytes
        from tasks.models import describe, loaded

        model = describe(config.model)
        converted = conversion(model, config.runtime.root)  # before the pairs, whose seconds would have it too
        made = pairs_only(config)
        manifest = artifacts.read_manifest(made)
        own = (float(manifest["seconds"]), sum(int(file["bytes"]) for file in manifest["files"].values()))
        found = plan(
            config,
            tables.load_pairs(artifacts.open_folder(made)),
            own,
            lambda working: loaded(model, config.runtime, working),
            stored_bytes(config.model, model),
            PublicLibrary(config.evaluation),
            None if model.evaluated == model else lambda: loaded(model.evaluated, config.runtime, True),
            converted,
        )
    echo(json_text(found.as_plain()) if as_json else plan_text(found))


def plan_text(plan: "Plan") -> str:
    """Return a plan as a table of at most 60 columns; the columns for GPU memory and money appear only if filled."""
    counts = f"{plan.pairs} pairs in {plan.shards} shards, {plan.flops:.3g} operations of attribution"
    rows = [*plan.stages, plan.total, plan.export]
    shown = [True, True, True, any(row.card_bytes for row in rows), True, plan.export.money is not None]
    lines = [_line(HEADINGS, shown)]
    lines += [_line(_cells(row), shown) for row in plan.stages]
    rule = "-" * len(lines[0])
    lines += [rule, _line(_cells(plan.total), shown), _line(_cells(plan.export), shown)]
    if plan.uncounted:
        lines += ["", "Not counted in evaluation, the models of these judges:", *plan.uncounted]
    return "\n".join([counts, "", *lines])


def _cells(row: "StageCost") -> tuple[str, ...]:
    sizes = (f"{size / 2**20:.0f}" for size in (row.memory_bytes, row.card_bytes))
    money = "" if row.money is None else f"{row.money:.2f}"
    return (row.stage, f"{row.seconds:.1f}", *sizes, f"{(row.disk_bytes + row.temporary_bytes) / 2**20:.2f}", money)


def _line(cells: tuple[str, ...], shown: list[bool]) -> str:
    first, *rest = (
        f"{cell:<{width}}" if place == 0 else f"{cell:>{width}}"
        for place, (cell, width, show) in enumerate(zip(cells, WIDTHS, shown, strict=True))
        if show
    )
    return first + "".join(rest)
