"""The shipped studies, and how many trials each has."""

import pytest

from neurontune_core.config import check_dial, load_config
from neurontune_core.errors import InputError
from neurontune_core.studies.catalogue import SEARCHED, STUDIES
from neurontune_core.studies.choice import choose

VARIANTS = [(name, changes) for name, study in STUDIES.items() for changes in study.variants.values()]
SEARCHING = {name: study for name, study in STUDIES.items() if study.searched}


def test_only_a_study_that_searches_has_trials_and_it_says_what_it_tries() -> None:
    assert {name: study.trials for name, study in SEARCHING.items()} == {
        "baselines": 8,
        "robustness": 0,
        "automatic-count": 8,
        "scaling-methods": 8,
    }
    assert {study.searched for study in SEARCHING.values()} == set(SEARCHED)
    for study in STUDIES.values():
        assert study.searched or not (study.trials or study.tried)
        assert not study.tried or study.tried in study.variants


@pytest.mark.parametrize(("name", "changes"), VARIANTS)
def test_a_variant_that_turns_the_dial_has_its_sets(name: str, changes: tuple[str, ...]) -> None:
    check_dial(load_config("tiny", changes))


@pytest.mark.parametrize("preset", ["llama-3.1-8b", "smollm2"])
def test_every_variant_fits_a_preset_of_any_method(preset: str) -> None:
    for _, changes in VARIANTS:
        load_config(preset, changes)
    assert load_config(preset).scaling.method == ("maml" if preset == "llama-3.1-8b" else "margin_fit")


@pytest.mark.parametrize(("name", "changes"), VARIANTS)
def test_every_variant_takes_the_settings_that_all_variants_share(name: str, changes: tuple[str, ...]) -> None:
    common = ["scaling.steps=33", "scaling.response_weight=0.21", "evaluation.judge=keyword", "attribution.nodes=3"]
    config = load_config("tiny", common, variant=changes)
    changed = {change.partition("=")[0] for change in changes}
    left = {"scaling.steps": 33, "scaling.response_weight": 0.21}
    for setting, value in left.items():
        field = setting.removeprefix("scaling.")
        if field in type(config.scaling).model_fields and setting not in changed:
            assert getattr(config.scaling, field) == value
    assert config.evaluation.judge.method == "keyword"


@pytest.mark.parametrize("preset", ["default", "qwen2.5-coder-0.5b", "smollm2", "tiny"])
@pytest.mark.parametrize("name", ["frontier", "margin-fit"])
def test_the_first_variant_is_the_preset_as_it_is(name: str, preset: str) -> None:
    assert load_config(preset, STUDIES[name].variants["as set"]) == load_config(preset)


def test_the_dial_is_drawn_beside_learned_factors_of_as_many_neurons() -> None:
    configs = {name: load_config("tiny", changes) for name, changes in STUDIES["dial"].variants.items()}
    methods = [config.scaling.method for config in configs.values()]
    assert methods.count("dial") == 6 and methods.count("margin_fit") == len(STUDIES["frontier"].variants)
    assert len({(each.selection.safety_neurons, each.selection.utility_neurons) for each in configs.values()}) == 1


@pytest.mark.parametrize("name", list(SEARCHING))
@pytest.mark.parametrize("trials", [0, 3])
def test_a_given_number_of_trials_is_taken(name: str, trials: int) -> None:
    assert choose(name, None, trials).trials == trials
    assert choose(name, None) == STUDIES[name]


@pytest.mark.parametrize("name", ["seeds", "causal", "own"])
def test_trials_of_a_study_that_searches_nothing_are_an_error(name: str) -> None:
    variants = {"one": ()} if name == "own" else None
    assert choose(name, variants, 0).trials == 0
    with pytest.raises(InputError, match=f"trials: 3, but study '{name}' searches nothing; .* robustness, automatic-"):
        choose(name, variants, 3)


def test_without_the_variant_that_trials_change_nothing_is_searched() -> None:
    kept = {"maml, first order": ("scaling.method=maml",), "other": ()}
    assert choose("scaling-methods", kept, 3).searched == "maml"
    assert choose("scaling-methods", {"other": ()}, 3).searched == ""
    assert choose("baselines", {"other": ()}, 3).searched == "baselines"


@pytest.mark.parametrize("name", ["base model", "mean", "standard deviation", "", " ", "a\nb", "a\x1b[2J"])
def test_a_variant_has_a_name_that_a_table_can_show(name: str) -> None:
    with pytest.raises(InputError, match=r"variant: .*; choose"):
        choose("own", {name: ("scaling.steps=2",), "other": ()})
