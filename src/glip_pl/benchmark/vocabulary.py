"""Names to detect, as many as wanted: those of COCO, then made-up ones as long as LVIS's are."""

from itertools import islice, product

COCO_NAMES = (
    "person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, "
    "fire hydrant, stop sign, parking meter, bench, bird, cat, dog, horse, sheep, cow, elephant, "
    "bear, zebra, giraffe, backpack, umbrella, handbag, tie, suitcase, frisbee, skis, snowboard, "
    "sports ball, kite, baseball bat, baseball glove, skateboard, surfboard, tennis racket, "
    "bottle, wine glass, cup, fork, knife, spoon, bowl, banana, apple, sandwich, orange, broccoli, "
    "carrot, hot dog, pizza, donut, cake, chair, couch, potted plant, bed, dining table, toilet, "
    "tv, laptop, mouse, remote, keyboard, cell phone, microwave, oven, toaster, sink, "
    "refrigerator, book, clock, vase, scissors, teddy bear, hair drier, toothbrush"
).split(", ")

_QUALITIES = (
    "red blue green white black wooden metal plastic glass paper old new small large round square "
    "broken clean open closed"
).split()


def names_to_detect(count: int) -> list[str]:
    """Return so many different names: 1,203 of them take 1.9 tokens on average, as LVIS's do.

    Raises:
        ValueError: There are not so many.
    """
    single = [name for name in COCO_NAMES if " " not in name]
    most = len(COCO_NAMES) + len(_QUALITIES) * len(single)
    if not 1 <= count <= most:
        raise ValueError(f"--names={count} is not between 1 and {most}")
    made_up = (f"{quality} {name}" for quality, name in product(_QUALITIES, single))
    return [*COCO_NAMES[:count], *islice(made_up, max(0, count - len(COCO_NAMES)))]
