"""The cells of a causal study, and the sets of neurons they change."""

import numpy as np
import pytest

from neurontune_core.causal.cells import BASE, EMPTY, Cell, Kind, in_shard, plan_cells
from neurontune_core.causal.sets import Sets
from neurontune_core.causal.settings import CausalConfig
from neurontune_core.errors import InputError
from neurontune_core.records import NeuronId, NeuronSet

GROUPS: dict[str, Kind] = {
    "harmful_plain": "plain",
    "harmful_attacked": "attacked",
    "harmful_heldout_attack": "attacked",
    "benign_ordinary": "harmless",
    "benign_borderline": "harmless",
    "mine": "plain",
}
WIDTHS = (10, 0, 20)


def test_every_intervention_asks_the_prompts_it_is_about() -> None:
    cells = plan_cells(CausalConfig(), GROUPS)
    assert cells[0] == Cell(BASE, 0.0, BASE, tuple(GROUPS))
    asked = {
        (cell.neurons.split()[0], cell.intervention): cell.groups for cell in cells if cell.neurons not in (BASE, EMPTY)
    }
    plain, attacked = ("harmful_plain", "mine"), ("harmful_attacked", "harmful_heldout_attack")
    harmless = ("benign_ordinary", "benign_borderline")
    assert asked[("safety", "zero")] == asked[("utility", "mean")] == (*plain, *harmless)
    assert asked[("random", "zero")] == plain and asked[("random", "patch")] == attacked
    assert asked[("safety", "x 3")] == (*attacked, *harmless) and asked[("opposing", "patch")] == attacked
    assert asked[("random", "x 2")] == attacked and ("random", "x 3") not in asked


def test_every_set_is_there_at_every_count_with_all_its_draws() -> None:
    config = CausalConfig(counts=(0.1, 0.2), draws=3)
    cells = plan_cells(config, GROUPS)
    zero = [cell for cell in cells if cell.intervention == "zero"]
    for share in (0.1, 0.2):
        names = [cell.neurons for cell in zero if cell.share == share]
        assert names == ["safety", "opposing", "utility", "random 1", "random 2", "random 3"]
    assert len({(c.neurons, c.share, c.intervention, c.matched) for c in cells}) == len(cells)
    empty = [cell.intervention for cell in cells if cell.neurons == EMPTY]
    assert empty == ["zero", "mean", "x 1.5", "x 2", "x 3", "patch"], "changing nothing is tried in every way"


def test_shards_share_the_cells_out() -> None:
    cells = plan_cells(CausalConfig(), GROUPS)
    parts = [in_shard(cells, shard, 3) for shard in range(3)]
    assert sorted(str(cell) for part in parts for cell in part) == sorted(map(str, cells))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize(
    ("config", "groups"),
    [
        (CausalConfig(interventions=("patch",)), {"harmful_plain": "plain"}),
        (CausalConfig(interventions=()), GROUPS),
        (CausalConfig(interventions=("amplify",), factors=()), GROUPS),
    ],
)
def test_a_study_that_asks_nothing_is_explained(config: CausalConfig, groups: dict[str, Kind]) -> None:
    with pytest.raises(InputError, match=r"causal\.interventions: .* applies to none of the groups"):
        plan_cells(config, groups)


@pytest.fixture
def sets() -> Sets:
    generator = np.random.default_rng(0)
    strengths = {"safety": generator.normal(size=30), "utility": generator.normal(size=30)}
    selected = NeuronSet((NeuronId(0, 3), NeuronId(2, 5), NeuronId(2, 6)), (NeuronId(2, 0),))
    return Sets(strengths, selected, WIDTHS, seed=4)  # type: ignore[arg-type]


def place(neuron: NeuronId) -> int:
    return neuron.index + (0, 10, 10)[neuron.layer]


def test_the_sets_are_the_ends_of_the_rankings(sets: Sets) -> None:
    order = np.argsort(-sets.strengths["safety"])
    assert {place(n) for n in sets.neurons("safety", 0.1)} == set(order[:3])
    assert {place(n) for n in sets.neurons("opposing", 0.1)} == set(order[-3:])
    assert {place(n) for n in sets.neurons("utility", 0.2)} == set(np.argsort(-sets.strengths["utility"])[:6])
    assert len(sets.neurons("safety", 1e-6)) == 1, "no set is empty but the empty one"
    assert sets.neurons("selected safety", 0.0) == sets.selected.safety
    assert sets.neurons("selected utility", 0.0) == sets.selected.utility
    assert sets.neurons(BASE, 0.0) == sets.neurons(EMPTY, 0.0) == ()


@pytest.mark.parametrize(("matched", "share"), [("safety", 0.2), ("safety", 0.5), ("selected safety", 0.0)])
def test_random_sets_match_layer_by_layer_and_avoid_the_set(sets: Sets, matched: str, share: float) -> None:
    own = sets.neurons(matched, share)
    draws = [sets.neurons(f"random {number}", share, matched) for number in (1, 2, 3, 4, 5)]
    for drawn in draws:
        assert not set(drawn) & set(own) and len(set(drawn)) == len(drawn)
        for layer, width in enumerate(WIDTHS):
            here = sum(neuron.layer == layer for neuron in own)
            assert sum(neuron.layer == layer for neuron in drawn) == min(here, width - here)
    assert len(set(draws)) > 1
    assert draws[0] == sets.neurons("random 1", share, matched)
