"""Scenes of coloured shapes: what stands where, and which phrases hold.

A *thing* is one drawn shape; its *pair* is its colour and shape. A *scene* is a list of things with
captions of them. Every coordinate is a whole pixel, so boxes are exact; `drawing` paints them.

Two kinds of scene exist. In a *detection* scene things stand apart and are told by their pair. In a
*relation* scene four candidates share one pair, and only "left of the blue square" tells which is
meant: two stand at each of two landmarks, on the same two sides of both.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from glip_pl.prompts import Prompt

Pair = tuple[str, str]

COLORS = ("red", "green", "blue")
SHAPES = ("circle", "square", "triangle")
# The step from a landmark to a thing beside it, in pixels right and down.
SIDES = {"left of": (-1, 0), "right of": (1, 0), "above": (0, -1), "below": (0, 1)}
OPPOSITE_SIDES = (("left of", "right of"), ("above", "below"))
WORDS = ("the", *COLORS, *SHAPES, "left", "right", "of", "above", "below")

PAIRS: tuple[Pair, ...] = tuple((color, shape) for color in COLORS for shape in SHAPES)
# A Latin diagonal: every colour and every shape is held out once, and seen in two other pairs.
HELD_OUT: tuple[Pair, ...] = tuple(
    (color, SHAPES[(k + 1) % len(SHAPES)]) for k, color in enumerate(COLORS)
)
SEEN: tuple[Pair, ...] = tuple(pair for pair in PAIRS if pair not in HELD_OUT)

SMALL, LARGE = (14, 22), (26, 40)
# Large candidates of a relation scene stay near 30 pixels, or six things would not fit.
LARGE_BESIDE = (26, 32)
BESIDE_GAP, APART_GAP = (3, 6), 8
BESIDE_SHIFT = 3
# A candidate further than this from the stated direction does not fit the phrase; 45° is a tie.
CLEAR_ANGLE = 52.0


@dataclass(frozen=True)
class Thing:
    """One drawn shape; `box` is its exact extent, xyxy in whole pixels of the image."""

    color: str
    shape: str
    box: tuple[int, int, int, int]

    @property
    def pair(self) -> Pair:
        """Colour and shape."""
        return self.color, self.shape

    @property
    def center(self) -> tuple[float, float]:
        """Centre of the box, x and y."""
        x1, y1, x2, y2 = self.box
        return (x1 + x2) / 2, (y1 + y2) / 2

    def moved(self, x: int, y: int) -> "Thing":
        """Move by some pixels to the right and down."""
        x1, y1, x2, y2 = self.box
        return Thing(self.color, self.shape, (x1 + x, y1 + y, x2 + x, y2 + y))


@dataclass(frozen=True)
class Scene:
    """Things in an image, and captions that each single out one of them.

    Attributes:
        things: What is drawn; no two overlap.
        captions: Per caption, the prompt with its one phrase and the index of the thing it means.
    """

    things: tuple[Thing, ...]
    captions: tuple[tuple[Prompt, int], ...] = ()


def detection_scene(
    rng: np.random.Generator, size: int, pairs: Sequence[Pair], must_show: Sequence[Pair] = ()
) -> Scene:
    """Scatter four to eight things of random pairs; they keep a gap of two pixels.

    Args:
        rng: Source of randomness.
        size: Side of the image in pixels.
        pairs: Pairs to draw from.
        must_show: Pairs that the scene shows first, once each.
    """
    count = int(rng.integers(4, 9))
    drawn = [*must_show, *(pairs[k] for k in rng.integers(len(pairs), size=count))][:count]

    def attempt() -> list[Thing] | None:
        things: list[Thing] = []
        for color, shape in drawn:
            width = height = _side(rng, SMALL if rng.random() < 0.5 else LARGE)
            spots = (
                (int(rng.integers(size - width + 1)), int(rng.integers(size - height + 1)))
                for _ in range(20)
            )
            placed = (Thing(color, shape, (x, y, x + width, y + height)) for x, y in spots)
            free = next((new for new in placed if all(gap(new, old) >= 2 for old in things)), None)
            if free is None:
                return None
            things.append(free)
        return things

    return Scene(tuple(_retry(attempt)))


def relation_scene(rng: np.random.Generator, size: int, target: Pair) -> Scene:
    """Place four candidates of one pair on opposite sides of two landmarks, each with its caption.

    So the pair alone leaves four choices, and landmark or side alone leave two: only the whole
    phrase tells which is meant.

    Args:
        rng: Source of randomness.
        size: Side of the image in pixels.
        target: The pair of the candidates. Landmarks are two other, seen pairs.
    """
    others = [pair for pair in SEEN if pair != target]
    landmarks = [others[k] for k in rng.choice(len(others), size=2, replace=False)]
    sides = OPPOSITE_SIDES[int(rng.integers(len(OPPOSITE_SIDES)))]
    sizes = SMALL if rng.random() < 0.5 else LARGE_BESIDE
    plan = tuple((mark, side) for mark in (0, 1) for side in sides)

    def attempt() -> list[Thing] | None:
        first, second = (_cluster(rng, mark, target, sizes, sides) for mark in landmarks)
        for _ in range(20 if first and second else 0):
            at, beyond = _anywhere(rng, first, size), _anywhere(rng, second, size)
            things = [*at[1:], *beyond[1:], at[0], beyond[0]]
            if _stand_apart(at, beyond) and _are_clear(things, plan):
                return things
        return None

    captions = tuple(
        (relation_prompt(target, side, landmarks[mark]), k) for k, (mark, side) in enumerate(plan)
    )
    return Scene(tuple(_retry(attempt)), captions)


def relation_prompt(target: Pair, side: str, landmark: Pair) -> Prompt:
    """Return which thing is meant; the phrase is the whole caption."""
    caption = f"the {' '.join(target)} {side} the {' '.join(landmark)}"
    return Prompt(caption, (((0, len(caption)),),))


def gap(one: Thing, other: Thing) -> float:
    """Measure the free pixels between two boxes along the axis that parts them, or less than 0."""
    (ax1, ay1, ax2, ay2), (bx1, by1, bx2, by2) = one.box, other.box
    return max(bx1 - ax2, ax1 - bx2, by1 - ay2, ay1 - by2)


def angle(thing: Thing, side: str, landmark: Thing) -> float:
    """Measure how far a thing is from exactly on a side of a landmark, in degrees from 0 to 180."""
    x, y = (a - b for a, b in zip(thing.center, landmark.center, strict=True))
    along = (x * SIDES[side][0] + y * SIDES[side][1]) / math.hypot(x, y)
    return math.degrees(math.acos(max(-1.0, min(1.0, along))))


def _stand_apart(first: Sequence[Thing], second: Sequence[Thing]) -> bool:
    """Whether two clusters keep their distance."""
    return all(gap(one, other) >= APART_GAP for one in first for other in second)


def _are_clear(things: Sequence[Thing], plan: Sequence[tuple[int, str]]) -> bool:
    """Whether no candidate comes near fitting the phrase of another."""
    candidates, landmarks = things[: len(plan)], things[len(plan) :]
    return all(
        angle(candidate, side, landmarks[mark]) > CLEAR_ANGLE
        for k, (mark, side) in enumerate(plan)
        for other, candidate in enumerate(candidates)
        if other != k
    )


def _cluster(
    rng: np.random.Generator, pair: Pair, target: Pair, sizes: tuple[int, int], sides: Sequence[str]
) -> list[Thing]:
    """Group a landmark and candidates on its sides, from (0, 0) on; empty if candidates meet."""
    width = height = _side(rng, SMALL if rng.random() < 0.5 else LARGE_BESIDE)
    landmark = Thing(*pair, (0, 0, width, height))
    beside = [_beside(rng, target, sizes, landmark, side) for side in sides]
    if len(beside) > 1 and gap(*beside) < BESIDE_GAP[0]:
        return []
    left, top = (min(thing.box[axis] for thing in (landmark, *beside)) for axis in (0, 1))
    return [thing.moved(-left, -top) for thing in (landmark, *beside)]


def _anywhere(rng: np.random.Generator, cluster: Sequence[Thing], size: int) -> list[Thing]:
    """Move a cluster to a random place inside the image."""
    right, bottom = (max(thing.box[axis] for thing in cluster) for axis in (2, 3))
    u, v = rng.random(2)
    x, y = int(u * (size - right + 1)), int(v * (size - bottom + 1))
    return [thing.moved(x, y) for thing in cluster]


def _beside(
    rng: np.random.Generator, pair: Pair, sizes: tuple[int, int], landmark: Thing, side: str
) -> Thing:
    """Put a thing next to a landmark, a few pixels away and nearly in line with it."""
    width = height = _side(rng, sizes)
    x1, y1, x2, y2 = landmark.box
    right, down = SIDES[side]
    free = int(rng.integers(BESIDE_GAP[0], BESIDE_GAP[1] + 1))
    shift = int(rng.integers(-BESIDE_SHIFT, BESIDE_SHIFT + 1))
    if right:
        x = x2 + free if right > 0 else x1 - free - width
        y = (y1 + y2 - height) // 2 + shift
    else:
        x = (x1 + x2 - width) // 2 + shift
        y = y2 + free if down > 0 else y1 - free - height
    return Thing(*pair, (x, y, x + width, y + height))


def _side(rng: np.random.Generator, sizes: tuple[int, int]) -> int:
    """Draw how wide and high a thing is."""
    return int(rng.integers(sizes[0], sizes[1] + 1))


def _retry(attempt: Callable[[], list[Thing] | None]) -> list[Thing]:
    """Try random placements until one holds; at 128 pixels a handful of tries is enough."""
    while (things := attempt()) is None:
        pass
    return things
