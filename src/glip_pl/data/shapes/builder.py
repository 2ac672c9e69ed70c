"""The data set `shapes`: made in seconds, easy to learn on a CPU, hard enough to tell models apart.

Two tasks share one folder. *Detection* (COCO format): find every "red circle" of a scene, for six
pairs of colour and shape; ``unseen.json`` asks for the three pairs that no training image shows,
beside seen pairs of the same colour or shape, which count as false alarms. *Referring* (one record
per caption, as MDETR writes them): find "the red circle left of the blue square" among four red
circles; ``referring_unseen.json`` asks the same of the pairs held out. All of it comes from one
seed: the same arguments give the same bytes (with the same JPEG encoder).
"""

import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from glip_pl.data.datasets.base import DatasetBuilder
from glip_pl.data.shapes.render import render
from glip_pl.data.shapes.scenes import (
    HELD_OUT,
    PAIRS,
    SEEN,
    Pair,
    Scene,
    Thing,
    detection_scene,
    relation_scene,
)

# Raise it whenever the same arguments would make other files.
VERSION = 3
FINGERPRINT = "shapes.json"
MIN_SIZE = 128

Maker = Callable[[np.random.Generator], Scene]


class ShapesBuilder(DatasetBuilder):
    """Makes the data set `shapes` in a folder, unless it is already there.

    Args:
        seed: Seed of all randomness.
        num_train: Scenes in each of the two training sets; a referring scene has four captions.
        num_val: Scenes in each validation set.
        num_test: Scenes in each test set, the unseen ones included.
        size: Side of the images in pixels.

    Raises:
        ValueError: `size` leaves no room for the scenes.
    """

    def __init__(
        self,
        *,
        seed: int = 0,
        num_train: int = 600,
        num_val: int = 100,
        num_test: int = 150,
        size: int = MIN_SIZE,
    ) -> None:
        if size < MIN_SIZE:
            raise ValueError(
                f"size {size} leaves no room for a scene of shapes; use at least {MIN_SIZE} pixels"
            )
        self.seed = seed
        self.size = size
        self.counts = {"train": num_train, "val": num_val, "test": num_test, "unseen": num_test}

    def build(self, root: Path) -> None:
        """Write `images/` and `annotations/` below a folder; an interrupted build leaves nothing.

        Raises:
            ValueError: The folder holds something that this builder did not make.
        """
        root = Path(root)
        fingerprint = json.dumps(
            {"version": VERSION, "seed": self.seed, "size": self.size, **self.counts}, indent=2
        )
        mark = root / FINGERPRINT
        if mark.is_file() and mark.read_text() == fingerprint:
            return
        if root.exists() and not mark.is_file() and not (root.is_dir() and not any(root.iterdir())):
            raise ValueError(
                f"{root} holds files that are not the shapes data set (there is no {FINGERPRINT}); "
                "move them away or set data.root to another folder"
            )
        root.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{root.name}-", dir=root.parent) as workshop:
            made = Path(workshop) / "made"
            (made / "images").mkdir(parents=True)
            (made / "annotations").mkdir()
            self._make_detection(made)
            self._make_referring(made)
            (made / FINGERPRINT).write_text(fingerprint)
            if root.exists():
                root.rename(Path(workshop) / "old")
            made.rename(root)

    def _make_detection(self, folder: Path) -> None:
        """Write the four detection sets."""
        for k, (split, count) in enumerate(self.counts.items()):
            unseen = split == "unseen"
            maker = self._unseen_scene if unseen else self._seen_scene
            scenes = self._draw(folder, split, count, maker, stream=k)
            _write(folder, split, _coco(scenes, HELD_OUT if unseen else SEEN, self.size))

    def _make_referring(self, folder: Path) -> None:
        """Write the four referring sets."""
        for k, (split, count) in enumerate(self.counts.items()):
            targets = HELD_OUT if split == "unseen" else SEEN

            def maker(rng: np.random.Generator, targets: Sequence[Pair] = targets) -> Scene:
                return relation_scene(rng, self.size, targets[int(rng.integers(len(targets)))])

            name = f"referring_{split}"
            scenes = self._draw(folder, name, count, maker, stream=len(self.counts) + k)
            _write(folder, name, _mdetr(scenes, self.size))

    def _seen_scene(self, rng: np.random.Generator) -> Scene:
        """Compose a detection scene without held-out pairs."""
        return detection_scene(rng, self.size, SEEN)

    def _unseen_scene(self, rng: np.random.Generator) -> Scene:
        """Compose a scene of one or two held-out pairs among seen ones that resemble them."""
        shown = [HELD_OUT[k] for k in rng.permutation(len(HELD_OUT))[: rng.integers(1, 3)]]
        alike = [pair for pair in SEEN if any(set(pair) & set(other) for other in shown)]
        return detection_scene(rng, self.size, alike, must_show=shown)

    def _draw(
        self, folder: Path, split: str, count: int, maker: Maker, *, stream: int
    ) -> dict[str, Scene]:
        """Make and draw the scenes of a split, by file name, from a random stream of its own."""
        rng = np.random.Generator(np.random.PCG64([self.seed, stream]))
        scenes = {f"{split}_{k:04d}.jpg": maker(rng) for k in range(count)}
        for name, scene in scenes.items():
            picture = render(scene, rng, self.size)
            picture.save(folder / "images" / name, quality=95, subsampling=0)
        return scenes


def _coco(scenes: dict[str, Scene], pairs: Sequence[Pair], size: int) -> dict[str, Any]:
    """Annotate the given pairs as COCO does; their ids are the same in every split."""
    ids = {pair: k + 1 for k, pair in enumerate(PAIRS) if pair in pairs}
    images, annotations = [], []
    for number, (name, scene) in enumerate(scenes.items(), start=1):
        images.append({"id": number, "file_name": name, "height": size, "width": size})
        annotations += [
            {"image_id": number, "category_id": ids[thing.pair], **_box_fields(thing)}
            for thing in scene.things
            if thing.pair in ids
        ]
    return {
        "images": images,
        "annotations": [{"id": k, **each} for k, each in enumerate(annotations, start=1)],
        "categories": [{"id": k, "name": " ".join(pair)} for pair, k in ids.items()],
    }


def _mdetr(scenes: dict[str, Scene], size: int) -> dict[str, Any]:
    """Annotate captions as MDETR does: one image record, with one box, per caption."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for scene_number, (name, scene) in enumerate(scenes.items(), start=1):
        for prompt, meant in scene.captions:
            number = len(images) + 1
            images.append(
                {
                    "id": number,
                    "file_name": name,
                    "height": size,
                    "width": size,
                    "caption": prompt.caption,
                    "original_img_id": scene_number,
                }
            )
            annotations.append(
                {
                    "id": number,
                    "image_id": number,
                    "category_id": 1,
                    "tokens_positive": [list(span) for span in prompt.tokens_positive[0]],
                    **_box_fields(scene.things[meant]),
                }
            )
    categories = [{"id": 1, "name": "object"}]
    return {"images": images, "annotations": annotations, "categories": categories}


def _box_fields(thing: Thing) -> dict[str, Any]:
    """List what COCO stores of a box: corner and size."""
    x1, y1, x2, y2 = thing.box
    width, height = x2 - x1, y2 - y1
    return {"bbox": [x1, y1, width, height], "area": width * height, "iscrowd": 0}


def _write(folder: Path, split: str, content: dict[str, Any]) -> None:
    """Write an annotation file."""
    (folder / "annotations" / f"{split}.json").write_text(json.dumps(content))
