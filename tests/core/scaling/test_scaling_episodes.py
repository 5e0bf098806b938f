"""Episodes: support and query differ in attack, and both roles wear the same one."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from neurontune_core.config import ScalingConfig
from neurontune_core.errors import InputError
from neurontune_core.model.load import ChatModel
from neurontune_core.records import PromptPair
from neurontune_core.scaling.episodes import Episode, EpisodeSampler, answered, encode


def draws(pairs: list[PromptPair], config: ScalingConfig, seed: int = 0, steps: int = 20) -> list[list[Episode]]:
    sampler = EpisodeSampler(pairs, config, seed)
    return [sampler.draw() for _ in range(steps)]


def attacks_of(batch: list[PromptPair], role: str) -> set[str]:
    return {pair.attack_name for pair in batch if pair.role == role and pair.attack_name}


def test_support_and_query_differ_in_attack_and_roles_share_it(
    corpus: list[PromptPair], settings: Callable[..., ScalingConfig]
) -> None:
    names = {"translation": {"latin", "greek"}, "sudo_mode": {"root", "admin"}}
    seen = set()
    for episode in (episode for step in draws(corpus, settings()) for episode in step):
        support, query = attacks_of(episode.support, "safety"), attacks_of(episode.query, "safety")
        assert len(support) == len(query) == 1
        assert support | query == names[episode.category]
        assert attacks_of(episode.support, "utility") == support
        assert attacks_of(episode.query, "utility") == query
        seen |= {(episode.category, *support)}
    assert len(seen) == 4  # every attack serves as support at some time


@pytest.mark.parametrize(("harmful", "benign"), [(4, 4), (3, 2), (1, 1), (5, 8)])
def test_half_of_each_roles_batch_is_plain(
    corpus: list[PromptPair], settings: Callable[..., ScalingConfig], harmful: int, benign: int
) -> None:
    config = settings(support_batch=3, harmful_batch=harmful, benign_batch=benign)
    for episode in draws(corpus, config, steps=1)[0]:
        for batch, sizes in ((episode.support, (3, 3)), (episode.query, (harmful, benign))):
            for role, size in zip(("safety", "utility"), sizes, strict=True):
                mine = [pair for pair in batch if pair.role == role]
                assert sum(bool(pair.attack_name) for pair in mine) == min((size + 1) // 2, 4)
                assert sum(not pair.attack_name for pair in mine) == min(size // 2, 4)
            assert len({pair.id for pair in batch}) == len(batch)


@pytest.mark.parametrize(("share", "attacked"), [(0.0, 0), (0.7, 3), (1.0, 4)])
def test_the_share_of_attacked_prompts_is_chosen(
    corpus: list[PromptPair], settings: Callable[..., ScalingConfig], share: float, attacked: int
) -> None:
    config = settings(attacked_share=share, support_batch=4, harmful_batch=4, benign_batch=4)
    for episode in draws(corpus, config, steps=1)[0]:
        for batch in (episode.support, episode.query):
            for role in ("safety", "utility"):
                mine = [bool(pair.attack_name) for pair in batch if pair.role == role]
                assert (sum(mine), len(mine)) == (attacked, 4)


def test_a_query_batch_carries_several_attacks_in_equal_parts(
    corpus: list[PromptPair], settings: Callable[..., ScalingConfig]
) -> None:
    third = [replace(p, id=f"{p.id}2", attack_name="norse") for p in corpus if p.attack_name == "latin"]
    config = settings(query_attacks=2, harmful_batch=4, benign_batch=6)
    for episode in (episode for step in draws([*corpus, *third], config) for episode in step):
        support, query = attacks_of(episode.support, "safety"), attacks_of(episode.query, "safety")
        assert attacks_of(episode.query, "utility") == query and not support & query
        # translation has three attacks, sudo mode two
        assert len(query) == (2 if episode.category == "translation" else 1)
        for role, attacked in (("safety", 2), ("utility", 3)):
            mine = [pair.attack_name for pair in episode.query if pair.role == role and pair.attack_name]
            counts = sorted(mine.count(name) for name in query)
            assert sum(counts) == attacked and counts[-1] - counts[0] <= 1


def test_the_tasks_of_a_step_are_different_categories(
    corpus: list[PromptPair], settings: Callable[..., ScalingConfig]
) -> None:
    for tasks, expected in ((1, 1), (2, 2), (9, 2)):
        for step in draws(corpus, settings(tasks_per_step=tasks)):
            assert len({episode.category for episode in step}) == len(step) == expected


def test_categories_and_their_attacks_come_in_turn(
    corpus: list[PromptPair], settings: Callable[..., ScalingConfig]
) -> None:
    queries = [
        (episode.category, *attacks_of(episode.query, "safety"))
        for step in draws(corpus, settings(tasks_per_step=1), steps=12)
        for episode in step
    ]
    for start in (0, 4, 8):
        assert len(set(queries[start : start + 4])) == 4  # two categories of two attacks


def test_the_same_seed_draws_the_same(corpus: list[PromptPair], settings: Callable[..., ScalingConfig]) -> None:
    config = settings()
    assert draws(corpus, config, seed=3) == draws(corpus, config, seed=3)
    assert draws(corpus, config, seed=3) != draws(corpus, config, seed=4)
    steps = draws(corpus, config, seed=3)
    assert steps[0] != steps[1]


def test_a_category_with_one_attack_uses_it_twice(
    corpus: list[PromptPair], settings: Callable[..., ScalingConfig]
) -> None:
    pairs = [pair for pair in corpus if pair.attack_name in ("", "latin")]
    for step in draws(pairs, settings()):
        assert [episode.category for episode in step] == ["translation"]
        assert attacks_of(step[0].support, "safety") == attacks_of(step[0].query, "safety") == {"latin"}


def test_an_attack_around_one_role_alone_is_not_used(
    corpus: list[PromptPair], settings: Callable[..., ScalingConfig]
) -> None:
    pairs = [pair for pair in corpus if not (pair.role == "utility" and pair.attack_name in ("latin", "root", "admin"))]
    for episode in (episode for step in draws(pairs, settings()) for episode in step):
        assert episode.category == "translation"
        assert attacks_of(episode.support, "safety") == attacks_of(episode.query, "safety") == {"greek"}


@pytest.mark.parametrize(
    "kept",
    [
        lambda pair: pair.role == "safety",
        lambda pair: pair.role == "utility",
        lambda pair: pair.attack_name,
        lambda pair: not pair.attack_name,
        lambda pair: pair.role == "safety" or pair.attack_name,
        lambda pair: (pair.role == "safety") == (pair.attack_name == "latin") or not pair.attack_name,
        lambda pair: False,
    ],
    ids=["no utility", "no safety", "no plain", "no attacked", "no plain utility", "no shared attack", "nothing"],
)
def test_what_is_missing_is_explained(
    corpus: list[PromptPair], settings: Callable[..., ScalingConfig], kept: Callable[[PromptPair], bool]
) -> None:
    with pytest.raises(InputError, match=r"the training split needs plain harmful and plain harmless .*check pairs\."):
        EpisodeSampler([pair for pair in corpus if kept(pair)], settings(), 0)


def test_support_has_responses_and_query_need_not(
    corpus: list[PromptPair], settings: Callable[..., ScalingConfig]
) -> None:
    plain = next(pair for pair in corpus if pair.role == "utility" and not pair.attack_name)
    kept = [plain, *(pair for pair in corpus if pair.role == "utility" and pair.attack_name in ("latin", "root"))]
    pairs = [pair if pair.role == "safety" or pair in kept else replace(pair, response="") for pair in corpus]
    assert set(answered(pairs)) == {pair for pair in corpus if pair.role == "safety" or pair in kept}
    met: set[str] = set()
    for episode in (episode for step in draws(pairs, settings()) for episode in step):
        assert all(pair.response for pair in episode.support)
        assert attacks_of(episode.support, "safety") == attacks_of(episode.support, "utility") <= {"latin", "root"}
        met |= {pair.id for pair in episode.query}
    assert met == {pair.id for pair in corpus}


def test_without_any_attacked_response_the_setting_is_named(
    corpus: list[PromptPair], settings: Callable[..., ScalingConfig]
) -> None:
    pairs = [replace(p, response="") if p.role == "utility" and p.attack_name else p for p in corpus]
    with pytest.raises(InputError, match=r"pairs\.responses"):
        EpisodeSampler(pairs, settings(), 0)


def test_a_harmless_pair_without_a_response_has_no_response_tokens(chat: ChatModel, corpus: list[PromptPair]) -> None:
    empty = [replace(pair, response="") for pair in corpus]
    expected = [[256] if pair.role == "safety" else [] for pair in corpus]
    assert [example.sequence.response for example in encode(chat, empty, 99)] == expected
