"""The judge that earlier stages use. They get it as an argument, so that they do not import `evaluation`."""

from collections.abc import Sequence

from neurontune_core.evaluation.judges import Completion, Verdict, judge_by_name

JUDGE = "rules"


def labels(prompts: Sequence[str], responses: Sequence[str], judge: str = JUDGE) -> list[str]:
    """Return the label of each response, `refusal`, `partial`, `compliance` or `broken`: what `learn_scaling` asks.

    Args:
        prompts: the prompts.
        responses: the response to each prompt, in the same order.
        judge: `rules` or `keyword`.
    """
    return [verdict.label for verdict in _verdicts(prompts, responses, judge)]


def judge_version(judge: str = JUDGE) -> str:
    """Return the judge's name and version; they are part of the content key of results that use its labels."""
    return f"{judge} {judge_by_name(judge).version}"


def _verdicts(prompts: Sequence[str], responses: Sequence[str], judge: str) -> list[Verdict]:
    batch = [Completion(str(i), *each) for i, each in enumerate(zip(prompts, responses, strict=True))]
    return judge_by_name(judge)(batch)
