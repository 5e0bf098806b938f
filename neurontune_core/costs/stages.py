"""The work of every stage that runs the model in its working number format, counted from the settings and the pairs."""

from collections.abc import Sequence
from dataclasses import dataclass

from neurontune_core.baselines.fit import attempts
from neurontune_core.baselines.settings import AdapterSettings, SearchedSettings, SystemPromptSettings
from neurontune_core.config import PipelineConfig
from neurontune_core.costs.work import Work, differentiating, generating, reading_work, total
from neurontune_core.evaluation import ability, answers, benchmarks, over_refusal
from neurontune_core.evaluation.public_sets import Library
from neurontune_core.model.batches import shared_length
from neurontune_core.model.chat import encode_response
from neurontune_core.model.likelihood import TokenSequence
from neurontune_core.model.load import ChatModel
from neurontune_core.records import Conversation, PromptPair
from neurontune_core.scaling import own_refusals
from neurontune_core.scaling.episodes import EpisodeSampler, answered
from neurontune_core.scaling.examples import encode_examples
from neurontune_core.scaling.losses import Example, micro_batches
from neurontune_core.scaling.margin_fit.measure import openings_of, parts_of
from neurontune_core.scaling.problem import training_pairs
from neurontune_core.scaling.settings import ChoosingSettings, DialSettings, MamlSettings, MarginFitSettings
from neurontune_core.scaling.validation import draw_prompts, validated_steps
from neurontune_core.selection import knockout

EVALUATIONS = 1.25
"""Evaluations of a solve's objective for each of its iterations."""


@dataclass(frozen=True)
class Scaling:
    """The work of the scaling stage, the bytes that its solves read, and examples for timing a gradient."""

    work: Work
    solved_bytes: float
    trained: Sequence[TokenSequence]


@dataclass(frozen=True)
class Evaluated:
    """The work of each stage that generates answers, the number of prompts, and the tokens of the prompts."""

    work: dict[str, Work]
    answers: int
    asked: Sequence[Sequence[int]]


def scaling_work(config: PipelineConfig, pairs: Sequence[PromptPair], chat: ChatModel, neurons: int) -> Scaling:
    """Return the work of learning the factors, or of fitting the baseline that replaces them."""
    settings = config.scaling
    train = training_pairs(pairs, own_refusals.commonest_refusal(pairs) if settings.refusal == "own" else "", None)
    if isinstance(settings, DialSettings):
        trained = encode_examples(chat, [pair for pair in train if pair.response][:64], 16)
        tries = len(settings.safety_factors) * len(settings.utility_factors)
        work, solved = Work(), 0.0
    elif isinstance(settings, MamlSettings):
        work, trained = _maml(settings, train, chat)
        tries, solved = len(validated_steps(settings.steps, settings)), 0.0
    else:
        work, trained, solved = _margin_fit(settings, pairs, train, chat, neurons)
        tries = len(validated_steps(settings.steps, settings))
    baseline = config.baseline
    if isinstance(baseline, AdapterSettings):
        work, solved, tries = work.times(attempts(baseline)), 0.0, tries * attempts(baseline)
    elif isinstance(baseline, SearchedSettings):
        work, solved, tries = Work(), 0.0, attempts(baseline)
    elif isinstance(baseline, SystemPromptSettings):
        work, solved, tries = Work(), 0.0, 0
    validation = _validation(settings, pairs, chat, tries) if tries else Work()
    return Scaling(work + validation, solved, [example.sequence for example in trained if example.sequence.response])


def _margin_fit(
    settings: MarginFitSettings,
    pairs: Sequence[PromptPair],
    train: Sequence[PromptPair],
    chat: ChatModel,
    neurons: int,
) -> tuple[Work, list[Example], float]:
    """Return the work of the measurements, the first step's examples, and the bytes that the solves read."""
    sampler = EpisodeSampler(train, settings)
    drawn = [episode.query for _ in range(settings.steps) for episode in sampler.draw()]
    used = {pair.id: pair for query in drawn for pair in query}
    examples = {each.id: each for each in encode_examples(chat, list(used.values()), settings.response_tokens)}
    refusals = openings_of(chat, settings.refusal_openings or own_refusals.USUAL_OPENINGS, settings.opening_tokens)
    work, bytes_read, known = Work(), 0.0, set()
    every = settings.finished_every
    for step, query in enumerate(drawn):
        parts = parts_of([examples[pair.id] for pair in query], settings.kept_share, bool(every) and step % every == 0)
        for part in parts:
            shared = 0 if part.kind == "keep" else part.examples[0].shared
            texts = [example.sequence.tokens for example in part.examples]
            if part.kind is None:
                texts = [
                    example.sequence.prompt
                    + (example.sequence.response[: refusals.tokens] if example.role == "safety" else refusals.longest)
                    for example in part.examples
                ]
            work += differentiating(texts, shared, chat.batch_tokens // 2)
            known |= {(example.id, part.kind) for example in part.examples}
        bytes_read += 2 * 4 * len(known) * neurons * EVALUATIONS * settings.iterations
    if not settings.refusal_openings:
        asked = [pair for pair in pairs if pair.role == "safety" and pair.split == "validation"]
        work += _answering([pair.conversation for pair in asked], own_refusals.TOKENS, chat)
    return work, [examples[pair.id] for query in drawn[:1] for pair in query], bytes_read


def _maml(settings: MamlSettings, train: Sequence[PromptPair], chat: ChatModel) -> tuple[Work, list[Example]]:
    sampler = EpisodeSampler(answered(train), settings, settings.support_batch, settings.tasks_per_step)
    episodes = [episode for _ in range(settings.steps) for episode in sampler.draw()]
    used = {pair.id: pair for episode in episodes for pair in episode.support + episode.query}
    examples = {each.id: each for each in encode_examples(chat, list(used.values()), settings.response_tokens)}
    # a second derivative needs one more backward pass through the inner steps
    inner = settings.inner_steps * (2 if settings.order == "second" else 1)

    def batch(members: Sequence[PromptPair]) -> Work:
        work = Work()
        for group in micro_batches([examples[pair.id] for pair in members], chat.batch_tokens):
            shared = shared_length([example.sequence.prompt for example in group])
            work += differentiating([example.sequence.tokens for example in group], shared, chat.batch_tokens)
        return work

    work = total(batch(episode.support).times(inner) + batch(episode.query) for episode in episodes)
    return work, [examples[pair.id] for episode in episodes[:1] for pair in episode.query]


def _validation(settings: ChoosingSettings, pairs: Sequence[PromptPair], chat: ChatModel, tries: int) -> Work:
    """Return the work of validating `tries` times on one half of the prompts, and once on the other half."""
    work = Work()
    for prompts, times in zip(draw_prompts(pairs, settings), (tries, 1), strict=True):
        plain = list(dict.fromkeys(pair.plain_conversation for pair in prompts if pair.role == "utility"))
        tokens = settings.validation_tokens
        answers = _answering(plain, tokens, chat)
        compared = Work(forward=answers.forward + answers.rows, batch=chat.batch_tokens)
        work += answers + compared
        work += (_answering([pair.conversation for pair in prompts], tokens, chat) + compared).times(times)
    return work


def selection_work(config: PipelineConfig, pairs: Sequence[PromptPair], chat: ChatModel) -> Work:
    """Return the work of silencing the safety set and the random sets."""
    settings = config.selection
    prompts = knockout.knockout_prompts(pairs, settings.knockout_prompts, settings.seed)
    each = _answering([pair.conversation for pair in prompts], knockout.TOKENS, chat)
    return each.times(2 + knockout.DRAWS)


def evaluation_work(
    config: PipelineConfig, pairs: Sequence[PromptPair], chat: ChatModel, library: Library | None
) -> Evaluated:
    """Return the work of the stages that generate answers."""
    every = benchmarks.test_prompts(pairs, config.evaluation, library)
    prompts, _ = answers.prompts_that_fit(every, config.evaluation, chat)
    members = [pair for group in prompts.values() for pair in group]
    ordinary = [pair for pair in members if pair.role == "utility" and not pair.attack_name]
    asked = [chat.prompt_tokens(pair.conversation) for pair in members]
    tokens = config.evaluation.max_new_tokens
    base = generating(asked, tokens, chat.generation_tokens)
    compared = sum(len(chat.prompt_tokens(pair.conversation)) + tokens for pair in ordinary)
    questions = [
        chat.prompt_tokens(each.question) + encode_response(chat.tokenizer, option, None)
        for each in ability.shipped_questions()
        for option in each.options
    ]
    harmless = sorted((pair for pair in members if pair.role == "utility"), key=lambda pair: pair.id)
    words = [pair.conversation for pair in harmless[: over_refusal.PROMPTS] for _ in range(over_refusal.WORDS)]
    # both models read the texts on which they are compared
    tuned = base + Work(forward=2 * compared, batch=chat.batch_tokens)
    knowledge = reading_work(questions, chat.batch_tokens)
    work = {
        "base": base,
        "tuned": tuned,
        "base-ability": knowledge,
        "ability": knowledge,
        "triggers": _answering(words, over_refusal.OPENING_TOKENS, chat),
    }
    return Evaluated(work, len(members), asked)


def _answering(asked: Sequence[Conversation], new_tokens: int, chat: ChatModel) -> Work:
    return generating([chat.prompt_tokens(each) for each in asked], new_tokens, chat.generation_tokens)
