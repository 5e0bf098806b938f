"""What trials search, and the settings that a trial has."""

import pytest

from neurontune_core.config import PipelineConfig, change_sections, load_config
from neurontune_core.errors import InputError
from neurontune_core.scaling.settings import MamlSettings
from neurontune_core.studies.search_space import search_space, settings_of_trial


def maml(*settings: str) -> PipelineConfig:
    return load_config("default", ["scaling.method=maml", *settings])


def test_counts_go_from_a_two_hundredth_to_a_third_of_the_attributed_neurons() -> None:
    config = load_config("tiny", ["attribution.first_layer=1", "selection.safety_neurons=0.25"])
    space = search_space(config, [400, 300, 300], "counts")
    assert list(space) == ["selection.safety_neurons", "selection.utility_neurons"]
    safety, utility = space.values()
    assert (safety.low, safety.high, safety.first) == (3, 250, 250)
    assert (utility.first, utility.whole) == (8, True)


def test_settings_of_maml_are_searched_around_what_is_set() -> None:
    space = search_space(maml("scaling.utility_weight=0.5", "scaling.steps=40"), [10], "maml")
    rate = space["scaling.outer_learning_rate"]
    assert (rate.low, rate.high, rate.first, rate.whole) == (0.01, 1.0, 0.1, False)
    assert space["scaling.utility_weight"].first == 0.5
    steps = space["scaling.steps"]
    assert (steps.low, steps.high, steps.first, steps.whole) == (20, 80, 40, True)
    assert all(each.low <= each.first <= each.high for each in space.values())


@pytest.mark.parametrize(
    "settings", [("scaling.steps=1",), ("scaling.utility_weight=0",), ("scaling.support_batch=2",)]
)
def test_every_space_holds_its_first_value(settings: tuple[str, ...]) -> None:
    space = search_space(maml(*settings), [10], "maml")
    assert all(0 < each.low <= each.first <= each.high for each in space.values())


def test_more_steps_have_smaller_batches() -> None:
    """So that a trial draws as many training prompts as the configuration."""
    config = maml("scaling.steps=40", "scaling.harmful_batch=40", "scaling.harmless_batch=20")
    found = change_sections(config, settings_of_trial(config, {"scaling.steps": 80}), ("scaling",)).scaling
    assert isinstance(found, MamlSettings)
    assert (found.steps, found.harmful_batch, found.harmless_batch) == (80, 20, 10)


def test_another_method_has_no_settings_of_maml() -> None:
    with pytest.raises(InputError, match=r"scaling.method: margin_fit, .* set it to maml"):
        search_space(load_config("default"), [10], "maml")
