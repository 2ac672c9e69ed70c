"""Labelled shards in the forms that other programs read."""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

from glip_pl.system.aside import file_aside

Record = dict[str, Any]


class LabelFormat(ABC):
    """A file of labelled images, written record by record.

    Attributes:
        name: What users type.
        file: Name of the file below the output.
    """

    name: str
    file: str

    @abstractmethod
    def write(self, file: IO[str], records: Iterable[Record], names: Sequence[str]) -> None:
        """Write all records.

        Args:
            file: Where to.
            records: ``image``, ``height``, ``width`` and ``detections`` with ``phrase``, ``score``
                and ``box``, xyxy pixels.
            names: All phrases, in the order of their ids.
        """


class JsonLines(LabelFormat):
    """A line of JSON per image, as the shards have it, without heads."""

    name, file = "jsonl", "labels.jsonl"

    def write(self, file: IO[str], records: Iterable[Record], names: Sequence[str]) -> None:
        """See `LabelFormat.write`."""
        for record in records:
            file.write(json.dumps(record) + "\n")


class Coco(LabelFormat):
    """COCO's detection annotations, with scores."""

    name, file = "coco", "labels.coco.json"

    def write(self, file: IO[str], records: Iterable[Record], names: Sequence[str]) -> None:
        """See `LabelFormat.write`; images are written twice read, since they stand in two lists."""
        ids = {name: k for k, name in enumerate(names, start=1)}
        categories = [{"id": k, "name": name} for name, k in ids.items()]
        images, annotations = list[str](), 0
        file.write(f'{{"categories": {json.dumps(categories)},\n"annotations": [')
        for image_id, record in enumerate(records, start=1):
            size = {"height": record["height"], "width": record["width"]}
            images.append(json.dumps({"id": image_id, "file_name": record["image"], **size}))
            for found in record["detections"]:
                x0, y0, x1, y1 = found["box"]
                annotations += 1
                row = {
                    "id": annotations,
                    "image_id": image_id,
                    "category_id": ids[found["phrase"]],
                    "bbox": [x0, y0, round(x1 - x0, 2), round(y1 - y0, 2)],
                    "area": round((x1 - x0) * (y1 - y0), 2),
                    "iscrowd": 0,
                    "score": found["score"],
                }
                file.write(("," if annotations > 1 else "") + "\n" + json.dumps(row))
        file.write('],\n"images": [\n' + ",\n".join(images) + "]}\n")


class Odvg(LabelFormat):
    """ODVG's detection lines, as `glip fit` and Grounding DINO's trainers read them."""

    name, file = "odvg", "labels.odvg.jsonl"

    def write(self, file: IO[str], records: Iterable[Record], names: Sequence[str]) -> None:
        """See `LabelFormat.write`."""
        ids = {name: k for k, name in enumerate(names)}
        for record in records:
            instances = [
                {
                    "bbox": found["box"],
                    "label": ids[found["phrase"]],
                    "category": found["phrase"],
                    "score": found["score"],
                }
                for found in record["detections"]
            ]
            line = {
                "filename": record["image"],
                "height": record["height"],
                "width": record["width"],
                "detection": {"instances": instances},
            }
            file.write(json.dumps(line) + "\n")


class LabelStudio(LabelFormat):
    """Tasks with predictions, as Label Studio imports them."""

    name, file = "label_studio", "labels.label_studio.json"

    def write(self, file: IO[str], records: Iterable[Record], names: Sequence[str]) -> None:
        """See `LabelFormat.write`; boxes are in percent of the image."""
        # With its reader come packages of masks, which no other format needs.
        from glip_pl.data.formats.label_studio.regions import write_region

        file.write("[")
        for number, record in enumerate(records):
            size = (record["height"], record["width"])
            result = [
                {**write_region(found["box"], size, found["phrase"]), "score": found["score"]}
                for found in record["detections"]
            ]
            scores = [found["score"] for found in record["detections"]]
            task = {
                "data": {"image": record["image"]},
                "predictions": [
                    {
                        "model_version": "glip_pl",
                        "score": min(scores, default=0.0),
                        "result": result,
                    }
                ],
            }
            file.write(("," if number else "") + "\n" + json.dumps(task))
        file.write("\n]\n")


class Cvat(LabelFormat):
    """CVAT's "images 1.1" XML."""

    name, file = "cvat", "labels.cvat.xml"

    def write(self, file: IO[str], records: Iterable[Record], names: Sequence[str]) -> None:
        """See `LabelFormat.write`."""
        from glip_pl.data.formats.cvat.cvat_xml import TAIL, head, image_text  # Likewise, of XML.

        file.write(head(names))
        for number, record in enumerate(records):
            size = (record["height"], record["width"])
            boxes = [(found["phrase"], found["box"]) for found in record["detections"]]
            file.write(image_text(number, record["image"], size, boxes, source="auto"))
        file.write(TAIL)


LABEL_FORMATS: dict[str, LabelFormat] = {
    form.name: form for form in (JsonLines(), Coco(), Odvg(), LabelStudio(), Cvat())
}


def refuse_without_arrow() -> None:
    """Refuse to write Parquet where what writes it is not installed.

    Raises:
        ValueError: It is not.
    """
    if find_spec("pyarrow") is None:
        raise ValueError('Parquet needs the package pyarrow; run: pip install "glip-pl[label]"')


def write_parquet(path: Path, records: Iterable[Record], head: dict[str, str]) -> None:
    """Write a table with a row per box, and the head of the shard as its metadata.

    Raises:
        ValueError: pyarrow is not installed.
    """
    refuse_without_arrow()
    arrow, parquet = import_module("pyarrow"), import_module("pyarrow.parquet")
    rows = [
        {
            "image": record["image"],
            "height": record["height"],
            "width": record["width"],
            "phrase": found["phrase"],
            "score": found["score"],
            **dict(zip(("x0", "y0", "x1", "y1"), found["box"], strict=True)),
        }
        for record in records
        for found in record["detections"]
    ]
    text, number = arrow.string(), arrow.float64()
    schema = arrow.schema(
        [
            *(("image", text), ("height", arrow.int32()), ("width", arrow.int32())),
            *(("phrase", text), ("score", number)),
            *((side, number) for side in ("x0", "y0", "x1", "y1")),
        ]
    )
    table = arrow.Table.from_pylist(rows, schema=schema.with_metadata(head))
    with file_aside(path) as part:
        parquet.write_table(table, part)
