"""Names of points: in the frame, and clear of each other and of the points."""

from itertools import combinations

from neurontune_core.label_places import Box, place_labels

FRAME = Box(0, 0, 100, 100)


def test_names_keep_clear_of_each_other_and_of_points() -> None:
    points = [(50.0, 50.0), (52.0, 50.0), (50.0, 53.0), (99.0, 99.0), (1.0, 1.0)]
    boxes = place_labels(points, [(20.0, 8.0)] * 5, [2.0] * 5, FRAME, [Box(0, 60, 100, 70)])
    found = [box for box in boxes if box]
    assert len(found) == 5
    for box in found:
        assert box.within(FRAME) and not box.overlaps(Box(0, 60, 100, 70))
        assert not any(box.overlaps(Box(x - 2, y - 2, x + 2, y + 2)) for x, y in points)
    assert not any(one.overlaps(other) for one, other in combinations(found, 2))


def test_without_room_a_point_has_no_name_and_the_first_come_first() -> None:
    boxes = place_labels([(50.0, 50.0)] * 60, [(40.0, 15.0)] * 60, [2.0] * 60, FRAME)
    assert boxes[0] is not None and boxes[-1] is None
    assert place_labels([(50.0, 50.0)], [(200.0, 5.0)], [1.0], FRAME) == [None]
