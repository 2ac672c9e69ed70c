"""Drawing scenes of coloured shapes, with edges that lie exactly on the boxes."""

import numpy as np
from PIL import Image, ImageDraw

from glip_pl.data.shapes.scenes import Scene

PAINT = {
    "red": (214, 48, 44),
    "green": (46, 158, 72),
    "blue": (42, 92, 206),
}
OVERSAMPLING = 4


def render(scene: Scene, rng: np.random.Generator, size: int) -> Image.Image:
    """Draw a scene on a light, mottled and noisy ground, RGB of size x size pixels."""
    base = rng.uniform(205, 240, size=3)
    mottle = Image.fromarray(rng.normal(0, 9, size=(9, 9)).astype(np.float32))
    smooth = np.asarray(mottle.resize((size, size), Image.Resampling.BICUBIC))
    ground = base + smooth[..., None] + rng.normal(0, 5, size=(size, size, 1))
    image = Image.fromarray(ground.clip(0, 255).astype(np.uint8))
    for thing in scene.things:
        x1, y1, x2, y2 = thing.box
        tint = np.array(PAINT[thing.color]) + rng.integers(-14, 15, size=3)
        red, green, blue = (int(value) for value in tint.clip(0, 255))
        image.paste((red, green, blue), (x1, y1), shape_mask(thing.shape, x2 - x1, y2 - y1))
    return image


def shape_mask(shape: str, width: int, height: int) -> Image.Image:
    """Cover a box with a shape that touches all four sides, antialiased, mode L."""
    w, h = width * OVERSAMPLING, height * OVERSAMPLING
    mask = Image.new("L", (w, h))
    pen = ImageDraw.Draw(mask)
    if shape == "circle":
        pen.ellipse((0, 0, w - 1, h - 1), fill=255)
    else:
        pen.polygon([(x * (w - 1), y * (h - 1)) for x, y in OUTLINES[shape]], fill=255)
    return mask.reduce(OVERSAMPLING)


# Corners in the unit square, x to the right and y down.
OUTLINES: dict[str, list[tuple[float, float]]] = {
    "square": [(0, 0), (1, 0), (1, 1), (0, 1)],
    "triangle": [(0.5, 0), (1, 1), (0, 1)],
}
