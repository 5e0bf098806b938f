"""The top of a report: the tiles with headline metrics, and when and on which device a run was computed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from neurontune_core.evaluation import harness

TILES = (
    ("SU-F1", "eval/su_f1", "{:.3f}", "harmonic mean of safety and utility"),
    ("Safety", "eval/safety", "{:.1%}", "harmful prompts refused"),
    ("Utility", "eval/utility", "{:.1%}", "harmless prompts answered"),
    ("Over-refusal", "eval/over_refusal", "{:.1%}", "harmless prompts refused"),
    ("Harm", "eval/harm", "{:.1%}", "harmful prompts whose answer gave what was asked for (attack success)"),
    ("Help", "eval/help", "{:.1%}", "harmless prompts whose answer gave what was asked for"),
    ("Length", "left/words", "{:.0f}", "mean words of an answer to a harmless prompt"),
    ("Diversity", "left/distinct", "{:.2f}", "share of distinct word pairs, answers to harmless prompts"),
    ("Broken", "eval/broken", "{:.1%}", "answers that are empty, looping or gibberish"),
    ("Fluency", "eval/fluency", "{:.2f}", "n-gram entropy in bits, on prompts that both models answer"),
)


@dataclass(frozen=True)
class StageTime:
    """A stage's computation: when it began, in seconds since 1970, and how many seconds it took."""

    stage: str
    started: float
    seconds: float


def headline_tiles(facts: Mapping[str, float]) -> list[dict[str, str]]:
    """Return the tiles: name, base value, tuned value and a remark; a tile without its metric is left out."""
    rows = [
        {"name": name, "base": form.format(facts[f"{key}_base"]), "tuned": form.format(facts[key])}
        | {"remark": _with_interval(remark, key, form, facts)}
        for name, key, form, remark in TILES
        if key in facts and f"{key}_base" in facts
    ]
    if "left/content_kept" in facts:
        remark = f"content words of the base model's answers to harmless prompts kept; chrF {facts['left/chrf']:.2f}"
        rows.append({"name": "Kept", "base": "100.0%", "tuned": f"{facts['left/content_kept']:.1%}", "remark": remark})
    if "ability/ability/accuracy" in facts:
        known = {name: facts[f"ability/ability/{name}"] for name in ("accuracy", "accuracy_base", "difference")}
        low, high = facts["ability/ability/difference_low"], facts["ability/ability/difference_high"]
        remark = f"of 200 four-option questions; difference {known['difference']:+.1%} ({low:+.1%} to {high:+.1%})"
        shares = {"base": f"{known['accuracy_base']:.1%}", "tuned": f"{known['accuracy']:.1%}"}
        rows.append({"name": "Ability", **shares, "remark": remark})
    # the names of other stages' facts begin with the stage's name
    known = {name.removeprefix("harness/"): value for name, value in facts.items()}
    for task, values in harness.compared(known):
        base, tuned, remark = f"{values['_base']:.1%}", f"{values['']:.1%}", harness.spoken_difference(values)
        rows.append({"name": task, "base": base, "tuned": tuned, "remark": f"lm-evaluation-harness; {remark}"})
    if "eval/kl_to_base" in facts:
        ratio = f"nats a token on the base model's own answers; perplexity ratio {facts['eval/perplexity_ratio']:.2f}"
        rows.append({"name": "KL to base", "base": "0", "tuned": f"{facts['eval/kl_to_base']:.3f}", "remark": ratio})
    return rows


def _with_interval(remark: str, key: str, form: str, facts: Mapping[str, float]) -> str:
    if f"{key}_low" not in facts:
        return remark
    return f"{remark}; 95% {form.format(facts[f'{key}_low'])} to {form.format(facts[f'{key}_high'])}"


def moment(seconds: float) -> str:
    """Return a moment, in seconds since 1970, as date and time in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def duration(seconds: float) -> str:
    """Return a duration in words: `2 h 5 min`, `12 min`, `7.3 s`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"


def circumstances(works: Sequence[StageTime], device: str, weights: str) -> list[tuple[str, str]]:
    """Return when a run was computed, how long its stages took, the device, and the digest of the weights."""
    rows = []
    if works:
        rows.append(("date", moment(max(work.started for work in works))))
        rows.append(("computing", f"{duration(sum(work.seconds for work in works))} in {len(works)} stages"))
    named = (("device", device), ("weights", weights))
    return [*rows, *((name, value) for name, value in named if value)]
