"""What a test run saw, image by image: ``predictions.json``, written here and read again.

For every test set the file holds the images, the true boxes and the detections. The latter two are
lists of records in the form of COCO's results: ``image_id``, ``category_id`` (or ``phrase`` with
its ``phrase_index`` in the caption), ``bbox`` as [x, y, width, height] in pixels of the image file,
and ``score``, or ``iscrowd`` for a true box. Where images are labelled for a part of the categories
only, each says for which, as in LVIS's files. With the truth beside them, the detections can be
judged anew wherever the data are not.
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from glip_pl.data import GroundingDataset
from glip_pl.prompts import Prompt
from glip_pl.structures import Detections, Question, Truth

FILE = "predictions.json"
# COCO's files have two; scores closer than seven digits are equal in single precision.
_BOX_DIGITS, _SCORE_DIGITS = 3, 7
_KEYS = ("images", "truth", "detections")


@dataclass(frozen=True)
class Seen:
    """One image of a test set, with what is there and what was found; on the CPU.

    Attributes:
        image_id: The data set's id.
        phrases: The K phrases of the prompt; none where they are names of categories.
        phrase_ids: [K], category ids; -1 for free text.
        true_boxes: [G, 4], xyxy pixels of the image file.
        shows: Boolean [G, K], True where true box g shows phrase k.
        crowd: Boolean [G].
        found: The detections.
    """

    image_id: int
    phrases: tuple[str, ...]
    phrase_ids: Tensor
    true_boxes: Tensor
    shows: Tensor
    crowd: Tensor
    found: Detections

    def question(self) -> Question:
        """Return what was asked in the form that metrics take, without a caption's tokens."""
        starts = np.cumsum([0, *(len(phrase) + 1 for phrase in self.phrases)])
        spans = [((int(a), int(a) + len(p)),) for a, p in zip(starts, self.phrases, strict=False)]
        return Question(
            prompt=Prompt(" ".join(self.phrases), tuple(spans)),
            positive_map=torch.zeros(len(self.phrases), 0, dtype=torch.bool),
            weights=torch.zeros(len(self.phrases), 0),
            phrase_ids=self.phrase_ids,
            size=(1, 1),  # Equal sizes: the boxes are in pixels of the image file already.
            original_size=(1, 1),
        )

    def truth(self) -> Truth:
        """Return what is there in the form that metrics take."""
        return Truth(self.true_boxes, self.shows, self.crowd, self.image_id)


def image_records(dataset: GroundingDataset, folder: Path) -> dict[int, dict[str, Any]]:
    """Return the file of each image id below a folder, and what it was labelled for."""
    return {
        record.image_id: {
            "file_name": dataset.image_path(record).relative_to(folder).as_posix(),
            **dataset.labels_of(record),
        }
        for record in dataset.records
    }


def write_predictions(
    path: Path,
    sets: Mapping[str, Sequence[Seen]],
    images: Mapping[str, Mapping[int, Mapping[str, Any]]],
) -> None:
    """Write what was seen of every set, one record per line.

    Args:
        path: The file to write.
        sets: By name, the images in the order of their ids.
        images: By name, what `image_records` gave.
    """
    with path.open("w") as file:
        for number, (name, seen) in enumerate(sets.items()):
            file.write(f"{',' if number else '{'}\n{json.dumps(name)}: {{")
            parts = (_images(seen, images[name]), _truth(seen), _detections(seen))
            for place, (key, records) in enumerate(zip(_KEYS, parts, strict=True)):
                file.write(f'{"," if place else ""}\n"{key}": [')
                for row, record in enumerate(records):
                    file.write(("," if row else "") + "\n" + json.dumps(record))
                file.write("\n]")
            file.write("\n}")
        file.write("\n}\n" if sets else "{}\n")


def read_predictions(path: Path) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Read the lists of every set.

    Raises:
        ValueError: The file is missing or another one.
    """
    try:
        held = json.loads(path.read_bytes())
        if isinstance(held, dict) and all(
            isinstance(lists[key], list) for lists in held.values() for key in _KEYS
        ):
            read: dict[str, dict[str, list[dict[str, Any]]]] = held
            return read
    except FileNotFoundError:
        raise ValueError(
            f"there is no {str(path)!r}; run `glip test` again, which writes it"
        ) from None
    except (ValueError, KeyError, TypeError):
        pass
    raise ValueError(f"{str(path)!r} is not what `glip test` writes; run `glip test` again")


def seen_again(records: Mapping[str, list[dict[str, Any]]]) -> Iterator[Seen]:
    """Turn the lists of one set of free phrases back into images, in the order of the file."""
    truth, found = (_by_image(records[key]) for key in ("truth", "detections"))
    for image in records["images"]:
        phrases = tuple(image.get("phrases", ()))
        shown: dict[tuple[float, ...], list[dict[str, Any]]] = defaultdict(list)
        for entry in truth[image["id"]]:
            shown[tuple(entry["bbox"])].append(entry)
        shows = torch.zeros(len(shown), len(phrases), dtype=torch.bool)
        for g, entries in enumerate(shown.values()):
            shows[g, [entry["phrase_index"] for entry in entries]] = True
        entries = found[image["id"]]
        yield Seen(
            image_id=image["id"],
            phrases=phrases,
            phrase_ids=torch.full((len(phrases),), -1),
            true_boxes=corners(list(shown)),
            shows=shows,
            crowd=torch.tensor([any(e["iscrowd"] for e in es) for es in shown.values()]).bool(),
            found=Detections(
                corners([entry["bbox"] for entry in entries]),
                torch.tensor([entry["score"] for entry in entries]),
                torch.tensor([entry["phrase_index"] for entry in entries], dtype=torch.long),
            ),
        )


def corners(bboxes: Sequence[Sequence[float]]) -> Tensor:
    """Turn COCO's [x, y, width, height] into xyxy, [n, 4]."""
    boxes = torch.tensor(bboxes, dtype=torch.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return boxes


def _images(
    seen: Sequence[Seen], records: Mapping[int, Mapping[str, Any]]
) -> Iterator[dict[str, Any]]:
    for image in seen:
        record = {"id": image.image_id, **records[image.image_id]}
        # Names of categories stand in the manifest, once for all images.
        yield {**record, "phrases": image.phrases} if image.phrases else record


def _truth(seen: Sequence[Seen]) -> Iterator[dict[str, Any]]:
    for image in seen:
        box, phrase = image.shows.nonzero().unbind(1)
        crowd = image.crowd[box].long().tolist()
        for record, is_crowd in zip(
            _rows(image, image.true_boxes[box], phrase), crowd, strict=True
        ):
            yield {**record, "iscrowd": is_crowd}


def _detections(seen: Sequence[Seen]) -> Iterator[dict[str, Any]]:
    for image in seen:
        found = image.found
        scores = found.scores.tolist()
        for record, score in zip(_rows(image, found.boxes, found.phrases), scores, strict=True):
            yield {**record, "score": round(score, _SCORE_DIGITS)}


def _rows(image: Seen, boxes: Tensor, phrases: Tensor) -> Iterator[dict[str, Any]]:
    """Return each box [n, 4] xyxy, which shows the phrase [n], the form of COCO's results."""
    sides = torch.cat([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], 1).tolist()
    for k, sizes in zip(phrases.tolist(), sides, strict=True):
        category = int(image.phrase_ids[k])
        what: dict[str, Any] = {"category_id": category}
        if category < 0:
            what = {"phrase": image.phrases[k], "phrase_index": k}
        bbox = [round(side, _BOX_DIGITS) for side in sizes]
        yield {"image_id": image.image_id, **what, "bbox": bbox}


def _by_image(records: Sequence[dict[str, Any]]) -> dict[int, list[dict[str, Any]]]:
    grouped: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for record in records:
        grouped[record["image_id"]].append(record)
    return grouped
