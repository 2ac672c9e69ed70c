"""Images that the page offers to whoever has none at hand."""

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from PIL import Image

_LONGEST = 1024  # Pixels of a side; examples travel to every page.
_MOST = 12


@dataclass(frozen=True)
class Examples:
    """What the page shows to be clicked.

    Attributes:
        prompt: What to look for in them.
        images: JPEG files.
    """

    prompt: str = ""
    images: tuple[bytes, ...] = ()


def prompt_of(names: Sequence[str]) -> str:
    """Return the prompt that asks for the first of the names that a model was trained on."""
    return "".join(f"{name}. " for name in names[:10]).strip()


def file_examples(paths: Sequence[Path], names: Sequence[str]) -> Examples:
    """Read images; what is no image is left out.

    Raises:
        ValueError: None of them is one.
    """
    images = list[bytes]()
    for path in paths:
        try:
            with Image.open(path) as file:
                file.thumbnail((_LONGEST, _LONGEST))
                images.append(_jpeg(file.convert("RGB")))
        except (OSError, ValueError, Image.DecompressionBombError):
            continue
        if len(images) == _MOST:
            break
    if not images:
        raise ValueError(
            f"--examples: none of the {len(paths)} files is an image; pass a folder of images"
        )
    return Examples(prompt_of(names), tuple(images))


def drawn_examples(names: Sequence[str], count: int = 6) -> Examples:
    """Draw scenes of coloured shapes, which no training set has."""
    import numpy as np

    from glip_pl.data.shapes.render import render
    from glip_pl.data.shapes.scenes import PAIRS, detection_scene

    rng = np.random.default_rng(99)
    scenes = [detection_scene(rng, 192, PAIRS) for _ in range(count)]
    prompt = prompt_of(names) or prompt_of([" ".join(pair) for pair in PAIRS])
    return Examples(prompt, tuple(_jpeg(render(scene, rng, 192)) for scene in scenes))


def _jpeg(image: Image.Image) -> bytes:
    content = BytesIO()
    image.save(content, "JPEG", quality=90)
    return content.getvalue()
