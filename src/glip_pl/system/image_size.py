"""The size at which a model sees an image: pure arithmetic, shared with the runtime."""

# Sides of padded images are multiples of it: pixels per cell of the coarsest map of a backbone.
PAD_MULTIPLE = 32

# By so much official GLIP exceeds its bound at most on photographs, since it rounds the shorter
# side first; beyond, an image is a strip, and one of 1 x 4000 pixels would fill the memory.
_ROUNDING = 1.05


def keep_ratio_size(size: tuple[int, int], short_side: int, max_side: int) -> tuple[int, int]:
    """Return the size after a resize that keeps the ratio, rounded as official GLIP rounds.

    Args:
        size: (height, width) before.
        short_side: The shorter side wanted.
        max_side: Bound of the longer side; images twenty times longer than wide exceed it by a few
            pixels, since the shorter side is rounded first.

    Returns:
        (height, width) after, each at least 1.
    """
    short, long = min(size), max(size)
    if long / short * short_side > max_side:
        short_side = max(round(max_side * short / long), 1)
    if short == short_side and long <= max_side * _ROUNDING:
        return size
    long_side = int(short_side * long / short)
    if long_side > max_side * _ROUNDING:
        long_side = max_side
    return (long_side, short_side) if size[0] > size[1] else (short_side, long_side)
