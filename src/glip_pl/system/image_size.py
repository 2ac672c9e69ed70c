"""The size at which a model sees an image: pure arithmetic, shared with the runtime."""

# Sides of padded images are multiples of it: pixels per cell of the coarsest map of a backbone.
PAD_MULTIPLE = 32


def keep_ratio_size(size: tuple[int, int], short_side: int, max_side: int) -> tuple[int, int]:
    """Give the size after a resize that keeps the ratio, rounded as official GLIP rounds.

    Args:
        size: (height, width) before.
        short_side: The shorter side wanted.
        max_side: Bound of the longer side; images twenty times longer than wide exceed it by a few
            pixels, since the shorter side is rounded first.

    Returns:
        (height, width) after.
    """
    short, long = min(size), max(size)
    if long / short * short_side > max_side:
        short_side = max(round(max_side * short / long), 1)
    if short == short_side:
        return size
    long_side = int(short_side * long / short)
    return (long_side, short_side) if size[0] > size[1] else (short_side, long_side)
