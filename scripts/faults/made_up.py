"""Made-up data that faults are injected into."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

NAMES = ("cat", "dog", "bird", "cow", "fox")


def write_image(path: Path, seed: int = 0, size: tuple[int, int] = (40, 60)) -> Path:
    """Write a picture of noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def write_set(root: Path, count: int, names: Sequence[object] = NAMES) -> Path:
    """Write a COCO set of noise with one box an image, whose three splits are the same."""
    images, boxes = [], []
    for k in range(count):
        write_image(root / f"images/{k}.png", k)
        images.append({"id": k + 1, "file_name": f"{k}.png", "height": 40, "width": 60})
        box = {"id": k + 1, "image_id": k + 1, "bbox": [6, 4, 30, 20], "iscrowd": 0}
        boxes.append({**box, "category_id": 1 + k % len(names)})
    categories = [{"id": i, "name": name} for i, name in enumerate(names, 1)]
    document = {"images": images, "annotations": boxes, "categories": categories}
    return write_splits(root, document)


def write_splits(root: Path, document: object) -> Path:
    """Write one document, or its text, for each of the three splits."""
    text = document if isinstance(document, str) else json.dumps(document)
    (root / "annotations").mkdir(parents=True, exist_ok=True)
    for split in ("train", "val", "test"):
        (root / f"annotations/{split}.json").write_text(text)
    return root


def change_set(root: Path, change: Callable[[dict], object]) -> Path:  # type: ignore[type-arg]
    """Change the document of a set."""
    document = json.loads((root / "annotations/train.json").read_text())
    change(document)
    return write_splits(root, document)
