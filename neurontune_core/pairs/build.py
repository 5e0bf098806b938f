"""Build the pairs: queries plain and attacked, each with the desired response."""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import cache

import pandas as pd

from neurontune_core.data.categories import UNCATEGORISED
from neurontune_core.data.corpus import Query
from neurontune_core.data.queries import Rejected
from neurontune_core.model.chat import boundary_holds, thinking_mode, without_thought
from neurontune_core.model.generate import decode, generate
from neurontune_core.model.load import ChatModel
from neurontune_core.pairs.own_refusals import find_own_refusals
from neurontune_core.pairs.prepare import Prepared, prepare
from neurontune_core.pairs.ranking import rank_attacks
from neurontune_core.pairs.room import (
    Room,
    check_system_prompts,
    room_for,
    shortest,
    without_long_attacks,
    without_long_prompts,
)
from neurontune_core.pairs.settings import PairsConfig
from neurontune_core.pairs.wrapping import wrap_queries
from neurontune_core.progress import Track, silent
from neurontune_core.records import LabelJudge, PromptPair

VERSION = 6
BOUNDARY_SAMPLE = 1000


@dataclass(frozen=True)
class BuiltPairs:
    """The pairs; the ranking of the attacks; rows not used (`source, row, reason`); the sources; and counts.

    The row of a public dataset in `sources` has its origin (`repository@commit` or digest) and counts of its rows
    (`load.Source`). `own_refusals` has a row a safety training pair under a selected attack (`OwnRefusals`).
    """

    pairs: list[PromptPair]
    ranking: pd.DataFrame
    rejected: pd.DataFrame
    sources: pd.DataFrame
    own_refusals: pd.DataFrame
    facts: dict[str, float]


def build_pairs(
    config: PairsConfig,
    chat: ChatModel,
    track: Track = silent,
    judge: LabelJudge | None = None,
    prepared: Prepared | None = None,
) -> BuiltPairs:
    """Build all pairs of a configuration, under the attacks that move the model furthest (section 3.1 of the paper).

    Harmful prompts should be refused: their response is their dataset's safe response, or a configured refusal. The
    response to a harmless training prompt is the model's own, or none (`responses`). Harmless prompts of the other
    splits have no response, because validation and evaluation let the models answer them. The pairs that can be
    attributed also have the model's own refusal (`find_own_refusals`).

    Args:
        config: datasets, held-out categories, split fractions, sizes.
        chat: the model.
        track: progress of the batches.
        judge: labels responses, for own refusals; without one no pair has an own refusal.
        prepared: the result of `prepare(config)`, if the input was checked before, so that nothing is read again.

    Returns:
        `pairs`; `ranking`, a row an attack, with how far it lowers the log-probability of refusals, in nats; `rejected`
        and `sources`, the unused rows and the counts of rows of each dataset; `own_refusals`, which pairs can be
        attributed; `facts`, counts.

    Raises:
        InputError: unknown dataset or category, a split without queries, near copies in two splits, a system message
            the model's template does not take, or no attack that leaves room for a query.
    """
    check_system_prompts(config, chat)
    prepared = prepared or prepare(config)
    refusals = prepared.refusals
    room = room_for(chat, config, refusals)
    unfit = cache(room.unfit)
    if any(unfit(query) for query in prepared.queries):
        # without these queries, their duplicates are kept, and near copies and splits change
        prepared = prepare(config, unfit, prepared.data)
    prepared = without_long_attacks(prepared, room)
    ranking = _ranking(prepared, config, refusals[0], room, track)
    names = set(ranking.loc[ranking["selected"], "attack_name"])
    chosen = [attack for attack in prepared.seen if attack.name in names]
    pairs = wrap_queries(prepared.queries, prepared.splits, prepared.seen, prepared.unseen, chosen, config)
    pairs = _with_refusals(pairs, prepared.queries, refusals[0])
    pairs, too_long = without_long_prompts(pairs, prepared.queries, room)
    own = find_own_refusals(pairs, judge, chat, track)
    pairs = own.pairs
    asked = _asked([pair for pair in pairs if pair.role == "utility" and pair.split == "train"], config)
    pairs = _with_own_responses(pairs, asked, config.response_tokens, chat, track)
    empty = {pair.id for pair in pairs if not pair.response} & {pair.id for pair in asked}
    rejected = [
        *prepared.rejected,
        *too_long,
        *_silences([pair for pair in pairs if pair.id in empty], prepared.queries),
    ]
    pairs = [pair for pair in pairs if pair.id not in empty]
    return BuiltPairs(
        pairs,
        ranking,
        pd.DataFrame([asdict(each) for each in rejected], columns=[each.name for each in fields(Rejected)]),
        pd.DataFrame([asdict(source) for source in prepared.sources]),
        own.table,
        _pair_facts(pairs) | own.facts | _source_facts(prepared) | _chat_facts(pairs, chat),
    )


def _ranking(
    prepared: Prepared,
    config: PairsConfig,
    refusal: str,
    room: Room,
    track: Track,
) -> pd.DataFrame:
    """Rank the attacks of training on a sample of harmful training queries."""
    harmful = [q for q in prepared.queries if q.role == "safety" and prepared.splits[q.id] == "train"]
    drawn = random.Random(f"{config.seed}/ranking").sample(harmful, min(config.ranking_queries, len(harmful)))
    fitting = [q for q in drawn if room.takes(q, prepared.seen)] or [shortest(prepared)]
    sample = [query.conversation for query in fitting]
    return rank_attacks(room.chat, prepared.seen, sample, refusal, track)


def _with_refusals(pairs: Sequence[PromptPair], queries: Sequence[Query], refusal: str) -> list[PromptPair]:
    """Fill in the refusal of every harmful query: its dataset's safe response, or the one that is configured."""
    responses = {query.id: query.response or refusal for query in queries if query.role == "safety"}
    return [replace(pair, response=responses.get(pair.query_id, "")) for pair in pairs]


def _asked(harmless: Sequence[PromptPair], config: PairsConfig) -> list[PromptPair]:
    """Return the harmless training prompts that get the model's own response.

    First the prompts for attribution, then plain ones: scaling trains the plain query's answer for wrapped queries.
    """
    if not config.responses:
        return list(harmless)
    shuffled = random.Random(f"{config.seed}/responses").sample(list(harmless), len(harmless))
    selected = [pair for pair in shuffled if pair.selected]
    plain = [pair for pair in shuffled if not pair.selected and not pair.attack_name]
    return [*selected, *plain[: max(0, config.responses - len(selected))]]


def _with_own_responses(
    pairs: Sequence[PromptPair],
    asked: Sequence[PromptPair],
    tokens: int,
    chat: ChatModel,
    track: Track,
) -> list[PromptPair]:
    """Fill in the model's own response to the prompts `asked`, without its reasoning."""
    prompts = [chat.prompt_tokens(pair.conversation) for pair in asked]
    texts = decode(chat, generate(chat, prompts, tokens, track))
    responses = {pair.id: without_thought(text) for pair, text in zip(asked, texts, strict=True)}
    return [replace(pair, response=responses.get(pair.id, pair.response)) for pair in pairs]


def _silences(pairs: Sequence[PromptPair], queries: Sequence[Query]) -> list[Rejected]:
    rows = {query.id: query.row for query in queries}
    reason = "prompt {} is not used: the model's own response to it is empty"
    return [Rejected(pair.source, rows[pair.query_id], reason.format(pair.id)) for pair in pairs]


def _pair_facts(pairs: Sequence[PromptPair]) -> dict[str, float]:
    counts: Counter[str] = Counter()
    for pair in pairs:
        counts.update(("pairs", f"pairs_{pair.split}", f"pairs_{pair.role}"))
    return {name: float(count) for name, count in counts.items()}


def _source_facts(prepared: Prepared) -> dict[str, float]:
    """Return the counts of rows in and out of every dataset, and of near copies."""
    facts = {
        f"{name}/{source.name}_{source.role}": float(getattr(source, name))
        for source in prepared.sources
        for name in ("rows", "queries", "rejected")
    }
    unknown = sum(query.category == UNCATEGORISED for query in prepared.queries)
    copies = sum(size for size in Counter(prepared.groups).values() if size > 1)
    return facts | {
        "queries": float(len(prepared.queries)),
        "queries_uncategorised": float(unknown),
        "near_copies": float(copies),
    }


def _chat_facts(pairs: Sequence[PromptPair], chat: ChatModel) -> dict[str, float]:
    """Return how thinking is switched off, and the share of pairs whose response would merge with the prompt's end.

    The share is taken over at most about `BOUNDARY_SAMPLE` pairs, evenly spread.
    """
    answered = [pair for pair in pairs if pair.response]
    sample = answered[:: max(1, len(answered) // BOUNDARY_SAMPLE)]
    holds = [
        boundary_holds(chat.tokenizer, pair.prompt, pair.response, chat.system_message(pair.conversation), pair.history)
        for pair in sample
    ]
    return {"boundary_merged_share": 1 - sum(holds) / len(holds), f"thinking_{thinking_mode(chat.tokenizer)}": 1.0}
