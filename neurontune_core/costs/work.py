"""Amounts of work: tokens that are read, tokens that are differentiated, and steps of generation."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from neurontune_core.model.batches import by_beginning, by_length, shared_length
from neurontune_core.model.generate import generation_batches


@dataclass(frozen=True)
class Work:
    """An amount of work of a model.

    Attributes:
        forward: tokens that are read without gradients.
        gradient: tokens that are read and differentiated.
        steps: forward passes that generate one token for each row.
        rows: sum of the rows of these passes.
        batch: most tokens that are in memory at the same time without gradients.
        kept: most tokens that are in memory at the same time with gradients.
    """

    forward: float = 0.0
    gradient: float = 0.0
    steps: float = 0.0
    rows: float = 0.0
    batch: int = 0
    kept: int = 0

    def __add__(self, other: "Work") -> "Work":
        """Return the work of doing both in succession."""
        return Work(
            self.forward + other.forward,
            self.gradient + other.gradient,
            self.steps + other.steps,
            self.rows + other.rows,
            max(self.batch, other.batch),
            max(self.kept, other.kept),
        )

    def times(self, count: float) -> "Work":
        """Return the same work done `count` times."""
        return replace(
            self,
            forward=self.forward * count,
            gradient=self.gradient * count,
            steps=self.steps * count,
            rows=self.rows * count,
        )


def total(parts: Iterable[Work]) -> Work:
    """Return the sum of all parts."""
    return sum(parts, Work())


def generating(prompts: Sequence[Sequence[int]], new_tokens: int, most_tokens: int) -> Work:
    """Return the work of `generate`, if each answer has its maximum length."""
    return total(
        _written([prompts[i] for i in group], new_tokens)
        for group in generation_batches(prompts, new_tokens, most_tokens)
    )


def _written(group: Sequence[Sequence[int]], new_tokens: int) -> Work:
    steps = max(0, new_tokens - 1)
    batch = len(group) * (max(map(len, group)) + new_tokens)
    return Work(forward=_read(group), steps=steps, rows=steps * len(group), batch=batch)


def reading_work(texts: Sequence[Sequence[int]], batch_tokens: int) -> Work:
    """Return the work of one forward pass over texts."""
    work = Work()
    for alike in by_beginning(texts):
        for group in by_length([len(texts[i]) for i in alike], batch_tokens):
            mine = [texts[alike[i]] for i in group]
            work += Work(forward=_read(mine), batch=len(mine) * max(map(len, mine)))
    return work


def differentiating(texts: Sequence[Sequence[int]], shared: int, batch_tokens: int) -> Work:
    """Return the work of forward and backward passes over texts whose first `shared` tokens run once in each batch."""
    work = Work()
    for group in by_length([len(text) - shared for text in texts], batch_tokens, fullness=0.5):
        tokens = len(group) * max(len(texts[i]) - shared for i in group)
        work += Work(gradient=shared + tokens, kept=shared + tokens)
    return work


def _read(group: Sequence[Sequence[int]]) -> int:
    """Return the tokens of one forward pass over a batch, with padding; a common beginning counts once."""
    shared = shared_length(group)
    return shared + len(group) * (max(map(len, group)) - shared)
