"""`neurontune evaluate`: evaluate any model on benchmarks of the user's choice."""

import json

from flows.commands.console import echo
from neurontune_core.storage import check_file


def evaluate_folder(model: str, benchmarks: str, settings: list[str], to: str | None) -> None:
    """Let a model answer, judge its answers and print the rates as JSON; `to` is a file for answers and verdicts.

    Raises:
        InputError: an unknown benchmark, judge or setting, a model that cannot be loaded, or a file that cannot be
            written.
    """
    from neurontune_core.config import load_config
    from neurontune_core.data_names import own_files

    config = load_config(None, [f"evaluation.benchmarks={benchmarks}", *settings], model)
    if to is not None:
        check_file("--to", to, own_files(config.evaluation.benchmarks))
    from neurontune_core.data.library import PublicLibrary
    from neurontune_core.evaluation.answered_by import answered_by
    from neurontune_core.evaluation.judging import judge_digests
    from neurontune_core.evaluation.one_model import as_plain, check_public, evaluate_one_model
    from neurontune_core.evaluation.vllm_engine import check_engine
    from neurontune_core.model.load import load_model
    from neurontune_core.run_name import leaves
    from tasks.progress import tracker

    check_public(config.evaluation)
    check_engine(config, working=False)
    judge_digests(config.evaluation)
    runtime = config.runtime
    chat = load_model(config.model.evaluated, runtime.device, runtime.root, runtime.batch_tokens, runtime.max_memory)
    library = PublicLibrary(config.evaluation)
    table, rates, left_out = evaluate_one_model(chat, config.evaluation, library, tracker("evaluate"))
    if to is not None:
        table.to_json(to, orient="records", lines=True, force_ascii=False)
    echo(json.dumps(as_plain(rates, left_out, answered_by(dict(leaves(config)))), indent=1))
