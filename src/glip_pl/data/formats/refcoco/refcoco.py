"""RefCOCO, RefCOCO+, RefCOCOg and gRefCOCO: sentences that each refer to boxes of one picture.

``refs(unc).p``, a pickle, or a JSON file lists references: a split, the ids of annotations in
``instances.json`` (COCO) and sentences. Every sentence becomes a caption whose one phrase is the
whole of it. gRefCOCO's references may have several boxes or none (``ann_id`` -1): a caption
without a box then says that the picture does not show it. See https://github.com/lichengunc/refer
and https://github.com/henghuiding/gRefCOCO.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from glip_pl.data.annotations import Problems
from glip_pl.data.formats.columns.builder import columns_of
from glip_pl.data.formats.common.caption_spans import refuse_unlinked
from glip_pl.data.formats.common.checks import note
from glip_pl.data.formats.common.image_files import place_images
from glip_pl.data.formats.common.json_keys import read_json
from glip_pl.data.formats.common.paths import ImageFolder, reference_files
from glip_pl.data.formats.common.records import Annotation, AnnotationSet, Format, Record
from glip_pl.data.formats.common.values import WRONG
from glip_pl.data.formats.refcoco.instances import Instances, InstanceWriter, read_instances
from glip_pl.data.formats.refcoco.plain_pickle import read_plain_pickle

NO_REFERENCE = "reference without image_id, ann_id and sentences, or of an unknown image"
NO_ANNOTATION = "reference whose annotation is unknown or left out"
NO_SENTENCE = "reference with an empty sentence"


class RefCoco(Format):
    """Referring expressions on COCO's pictures."""

    name: ClassVar[str] = "refcoco"
    holds: ClassVar[frozenset[str]] = frozenset({"categories", "captions", "crowd"})

    def detect(self, path: Path) -> bool:
        """Return whether a path is a file of references, or a folder with one, by its name."""
        return bool(reference_files(path))

    def read(self, path: Path) -> Mapping[str, AnnotationSet]:
        """Read a file of references, or the one in a folder; ``instances.json`` lies beside it.

        What is wrong with ``instances.json`` is told with the first split.

        Raises:
            ValueError: There is no such file or several, or the pickle holds more than plain data.
        """
        files = reference_files(path)
        if len(files) != 1:
            raise ValueError(
                f"{str(path)!r} has {len(files)} files of references {[f.name for f in files]}; "
                f"name the one to read, for example {str(path / 'refs(unc).p')!r}"
            )
        source = files[0]
        problems: Problems = {}
        instances = read_instances(source.parent / "instances.json", problems)
        splits: dict[str, list[tuple[int, Mapping[str, Any]]]] = {}
        for position, reference in enumerate(_read_references(source)):
            splits.setdefault(str(reference.get("split", "all")), []).append((position, reference))
        near = ImageFolder.near(source, (r.file_name for r in instances.images.values()), {})
        sets = {}
        for split, references in splits.items():
            folder = near.for_split(problems)
            read = (r for given in references for r in _records(*given, instances, folder))
            records = folder.certain(columns_of(read))
            sets[split] = AnnotationSet(near.path, records, instances.names, problems=problems)
            problems = {}
        return sets

    def write(self, sets: Mapping[str, AnnotationSet], path: Path) -> None:
        """Write ``refs(unc).json``, or ``grefs(unc).json`` where not every caption has one box.

        Raises:
            ValueError: A record has no caption, or a box shows a part of one only.
        """
        refuse_unlinked(sets, self.name)
        _refuse_parts(sets)
        placed = place_images(sets, path / "images")
        writer = InstanceWriter(placed)
        references = list(_references(placed, writer))
        one_each = all(len(reference["ann_id"]) == 1 for reference in references)
        if one_each:
            for reference in references:
                reference["ann_id"] = reference["ann_id"][0]
                reference["category_id"] = reference["category_id"][0]
        (path / "instances.json").write_text(json.dumps(writer.document))
        name = "refs(unc).json" if one_each else "grefs(unc).json"
        (path / name).write_text(json.dumps(references))


def _read_references(source: Path) -> list[Mapping[str, Any]]:
    if source.suffix == ".p":
        references = read_plain_pickle(source)
    else:
        try:
            references = read_json(source.read_bytes())
        except ValueError as error:
            raise ValueError(f"cannot read {str(source)!r}: {error}; download it anew") from error
    if not isinstance(references, list) or not all(isinstance(r, dict) for r in references):
        raise ValueError(f"{str(source)!r} is no list of references; download it anew")
    return references


def _records(
    position: int, reference: Mapping[str, Any], instances: Instances, folder: ImageFolder
) -> Iterator[Record]:
    """Make a record of each sentence, numbered by the sentence."""
    where = f"reference {reference.get('ref_id', position)}"
    try:
        image = instances.images[int(reference["image_id"])]
        given = reference["ann_id"]
        ids = [int(i) for i in (given if isinstance(given, list | tuple) else [given])]
        sentences = [(int(s["sent_id"]), str(s["sent"])) for s in reference["sentences"]]
    except WRONG:
        note(folder.problems, NO_REFERENCE, where)
        return
    shown = [instances.boxes.get(i) for i in ids if i != -1]
    boxes = [given[1] for given in shown if given is not None and given[0] == image.image_id]
    # With a box left out, the sentence would say that the picture shows less than it does.
    if len(boxes) < len(shown):
        note(folder.problems, NO_ANNOTATION, where)
        return
    found = folder.find(image.file_name)
    if found is None:
        return
    for sentence_id, caption in sentences:
        if not caption.strip():
            note(folder.problems, NO_SENTENCE, f"sentence {sentence_id} of {where}")
            continue
        whole = ((0, len(caption)),)
        links = tuple(Annotation(a.box, a.category, whole, a.crowd) for a in boxes)
        yield Record(sentence_id, found, image.size, links, caption)


def _refuse_parts(sets: Mapping[str, AnnotationSet]) -> None:
    for split, annotation_set in sets.items():
        for record in annotation_set.records:
            whole = ((0, len(record.caption or "")),)
            if any(link.tokens_positive != whole for link in record.annotations):
                raise ValueError(
                    f"image {record.image_id} ({record.file_name}) of {split!r} has a box that "
                    "shows a part of its caption, and refcoco holds whole captions only; write "
                    "mdetr or odvg instead"
                )


def _references(
    sets: Mapping[str, AnnotationSet], writer: InstanceWriter
) -> Iterator[dict[str, Any]]:
    """Make a reference of each record; sentences are numbered anew where ids repeat."""
    pairs = [(split, record) for split, held in sets.items() for record in held.records]
    unique = len({record.image_id for _, record in pairs}) == len(pairs)
    for number, (split, record) in enumerate(pairs, start=1):
        caption = record.caption or ""
        image_id = writer.image_id(record)
        found = [writer.annotation_id(link, image_id) for link in record.annotations]
        sentence_id = record.image_id if unique else number
        sentence = {"sent_id": sentence_id, "sent": caption, "raw": caption}
        yield {
            "ref_id": number,
            "split": split,
            "image_id": image_id,
            "file_name": record.file_name,
            "ann_id": [annotation_id for annotation_id, _ in found] or [-1],
            "category_id": [category for _, category in found] or [-1],
            "sent_ids": [sentence_id],
            "sentences": [{**sentence, "tokens": caption.split()}],
        }
