"""Place the names of points in a drawing, so that none covers another name or a point, or leaves the frame."""

from collections.abc import Sequence
from typing import NamedTuple

GAP = 3.0


class Box(NamedTuple):
    """A rectangle in the drawing's units; whether y points up or down does not matter."""

    left: float
    bottom: float
    right: float
    top: float

    def overlaps(self, other: "Box") -> bool:
        """Tell whether two rectangles share more than an edge."""
        return (
            self.left < other.right and other.left < self.right and self.bottom < other.top and other.bottom < self.top
        )

    def within(self, frame: "Box") -> bool:
        """Tell whether the rectangle lies in a frame."""
        return (
            self.left >= frame.left
            and self.right <= frame.right
            and self.bottom >= frame.bottom
            and self.top <= frame.top
        )


def place_labels(
    points: Sequence[tuple[float, float]],
    sizes: Sequence[tuple[float, float]],
    radii: Sequence[float],
    frame: Box,
    taken: Sequence[Box] = (),
) -> list[Box | None]:
    """Return a rectangle for the name of each point, None where there is no room; earlier points choose first.

    Args:
        points: places of the points.
        sizes: width and height of their names.
        radii: half the size of their marks.
        frame: what the names must stay in.
        taken: further rectangles to stay clear of.
    """
    marks = [Box(x - r, y - r, x + r, y + r) for (x, y), r in zip(points, radii, strict=True)]
    used: list[Box] = [*taken, *marks]
    places: list[Box | None] = []
    for (x, y), (width, height), radius in zip(points, sizes, radii, strict=True):
        found = next(
            (
                box
                for box in _candidates(x, y, width, height, radius + GAP)
                if box.within(frame) and not any(box.overlaps(other) for other in used)
            ),
            None,
        )
        places.append(found)
        if found:
            used.append(found)
    return places


def _candidates(x: float, y: float, width: float, height: float, gap: float) -> list[Box]:
    """Return rectangles around a point: beside, above and below it, at its corners, then the same further off."""
    boxes = []
    for far in (gap, gap + height, gap + 2 * height):
        for left, bottom in (
            (x + far, y - height / 2),
            (x - far - width, y - height / 2),
            (x - width / 2, y + far),
            (x - width / 2, y - far - height),
            (x + far / 2, y + far),
            (x + far / 2, y - far - height),
            (x - far / 2 - width, y + far),
            (x - far / 2 - width, y - far - height),
        ):
            boxes.append(Box(left, bottom, left + width, bottom + height))
    return boxes
