"""Episodes: support and query differ in attack, and both roles wear the same one."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from neurontune_core.errors import InputError
from neurontune_core.records import PromptPair
from neurontune_core.scaling.episodes import Episode, EpisodeSampler, answered
from neurontune_core.scaling.settings import MamlSettings

Settings = Callable[..., MamlSettings]


def sampler_of(pairs: list[PromptPair], config: MamlSettings) -> EpisodeSampler:
    return EpisodeSampler(pairs, config, config.support_batch, config.tasks_per_step)


def draws(pairs: list[PromptPair], config: MamlSettings, steps: int = 20) -> list[list[Episode]]:
    sampler = sampler_of(pairs, config)
    return [sampler.draw() for _ in range(steps)]


def attacks_of(batch: list[PromptPair], role: str) -> set[str]:
    return {pair.attack_name for pair in batch if pair.role == role and pair.attack_name}


def test_support_and_query_differ_in_attack_and_roles_share_it(corpus: list[PromptPair], maml: Settings) -> None:
    names = {"translation": {"latin", "greek"}, "sudo_mode": {"root", "admin"}}
    seen = set()
    for episode in (episode for step in draws(corpus, maml()) for episode in step):
        support, query = attacks_of(episode.support, "safety"), attacks_of(episode.query, "safety")
        assert len(support) == len(query) == 1
        assert support | query == names[episode.category]
        assert attacks_of(episode.support, "utility") == support
        assert attacks_of(episode.query, "utility") == query
        seen |= {(episode.category, *support)}
    assert len(seen) == 4  # every attack serves as support at some time


@pytest.mark.parametrize(("harmful", "harmless"), [(4, 4), (3, 2), (1, 1), (5, 8)])
def test_half_of_each_roles_batch_is_plain(
    corpus: list[PromptPair], maml: Settings, harmful: int, harmless: int
) -> None:
    config = maml(support_batch=3, harmful_batch=harmful, harmless_batch=harmless)
    for episode in draws(corpus, config, steps=1)[0]:
        for batch, sizes in ((episode.support, (3, 3)), (episode.query, (harmful, harmless))):
            for role, size in zip(("safety", "utility"), sizes, strict=True):
                mine = [pair for pair in batch if pair.role == role]
                assert sum(bool(pair.attack_name) for pair in mine) == min((size + 1) // 2, 4)
                assert sum(not pair.attack_name for pair in mine) == min(size // 2, 4)
            assert len({pair.id for pair in batch}) == len(batch)


@pytest.mark.parametrize(("share", "attacked"), [(0.0, 0), (0.7, 3), (1.0, 4)])
def test_the_share_of_attacked_prompts_is_chosen(
    corpus: list[PromptPair], maml: Settings, share: float, attacked: int
) -> None:
    config = maml(attacked_share=share, support_batch=4, harmful_batch=4, harmless_batch=4)
    for episode in draws(corpus, config, steps=1)[0]:
        for batch in (episode.support, episode.query):
            for role in ("safety", "utility"):
                mine = [bool(pair.attack_name) for pair in batch if pair.role == role]
                assert (sum(mine), len(mine)) == (attacked, 4)


def test_a_query_batch_carries_several_attacks_in_equal_parts(corpus: list[PromptPair], maml: Settings) -> None:
    third = [replace(p, id=f"{p.id}2", attack_name="norse") for p in corpus if p.attack_name == "latin"]
    config = maml(query_attacks=2, harmful_batch=4, harmless_batch=6)
    for episode in (episode for step in draws([*corpus, *third], config) for episode in step):
        support, query = attacks_of(episode.support, "safety"), attacks_of(episode.query, "safety")
        assert attacks_of(episode.query, "utility") == query and not support & query
        # translation has three attacks, sudo mode two
        assert len(query) == (2 if episode.category == "translation" else 1)
        for role, attacked in (("safety", 2), ("utility", 3)):
            mine = [pair.attack_name for pair in episode.query if pair.role == role and pair.attack_name]
            counts = sorted(mine.count(name) for name in query)
            assert sum(counts) == attacked and counts[-1] - counts[0] <= 1


def test_the_tasks_of_a_step_are_different_categories(corpus: list[PromptPair], maml: Settings) -> None:
    for tasks, expected in ((1, 1), (2, 2), (9, 2)):
        for step in draws(corpus, maml(tasks_per_step=tasks)):
            assert len({episode.category for episode in step}) == len(step) == expected


def test_categories_and_their_attacks_come_in_turn(corpus: list[PromptPair], maml: Settings) -> None:
    queries = [
        (episode.category, *attacks_of(episode.query, "safety"))
        for step in draws(corpus, maml(tasks_per_step=1), steps=12)
        for episode in step
    ]
    for start in (0, 4, 8):
        assert len(set(queries[start : start + 4])) == 4  # two categories of two attacks


def test_the_same_seed_draws_the_same(corpus: list[PromptPair], maml: Settings) -> None:
    assert draws(corpus, maml(seed=3)) == draws(corpus, maml(seed=3))
    assert draws(corpus, maml(seed=3)) != draws(corpus, maml(seed=4))
    steps = draws(corpus, maml(seed=3))
    assert steps[0] != steps[1]


def test_a_category_with_one_attack_uses_it_twice(corpus: list[PromptPair], maml: Settings) -> None:
    pairs = [pair for pair in corpus if pair.attack_name in ("", "latin")]
    for step in draws(pairs, maml()):
        assert [episode.category for episode in step] == ["translation"]
        assert attacks_of(step[0].support, "safety") == attacks_of(step[0].query, "safety") == {"latin"}


def test_an_attack_around_one_role_alone_is_not_used(corpus: list[PromptPair], maml: Settings) -> None:
    pairs = [pair for pair in corpus if not (pair.role == "utility" and pair.attack_name in ("latin", "root", "admin"))]
    for episode in (episode for step in draws(pairs, maml()) for episode in step):
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
    corpus: list[PromptPair], maml: Settings, kept: Callable[[PromptPair], bool]
) -> None:
    with pytest.raises(InputError, match=r"the training split needs plain harmful and plain harmless .*check pairs\."):
        sampler_of([pair for pair in corpus if kept(pair)], maml())


def test_only_answered_pairs_are_drawn_where_no_others_are_given(corpus: list[PromptPair], maml: Settings) -> None:
    silent = ("utility1", "utility2")
    pairs = [replace(pair, response="") if pair.query_id in silent else pair for pair in corpus]
    assert set(answered(pairs)) == {pair for pair in corpus if pair.query_id not in silent}
    for episode in (episode for step in draws(answered(pairs), maml()) for episode in step):
        assert all(pair.response for pair in (*episode.support, *episode.query))


def test_without_support_every_attack_is_for_the_query(corpus: list[PromptPair], maml: Settings) -> None:
    """A category with two attacks gives both at once, and one task is drawn at a time."""
    sampler = EpisodeSampler(corpus, maml(query_attacks=5))
    for _ in range(6):
        (episode,) = sampler.draw()
        assert episode.support == []
        names = {"translation": {"latin", "greek"}, "sudo_mode": {"root", "admin"}}[episode.category]
        assert attacks_of(episode.query, "safety") == attacks_of(episode.query, "utility") == names


def test_without_any_attacked_response_the_setting_is_named(corpus: list[PromptPair], maml: Settings) -> None:
    pairs = [replace(p, response="") if p.role == "utility" and p.attack_name else p for p in corpus]
    with pytest.raises(InputError, match=r"pairs\.responses"):
        sampler_of(answered(pairs), maml())
