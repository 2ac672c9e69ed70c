"""Flickr30k Entities: marked sentences, and the boxes of what they mention in XML.

A folder with ``Sentences/ID.txt`` (five lines: "[/EN#283585/people A man] in a hat"),
``Annotations/ID.xml`` and the lists ``train.txt``, ``val.txt`` and ``test.txt``. The number in a
mark is the entity, 0 where the phrase is nothing that can be seen; the words after it are its
types. Boxes are used as they stand in the XML, as in the evaluation of MDETR and GLIP; the
authors' later tool subtracts 1. See https://github.com/BryanPlummer/flickr30k_entities.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import ClassVar
from xml.etree import ElementTree

from glip_pl.data.annotations import Box
from glip_pl.data.formats.columns.builder import columns_of
from glip_pl.data.formats.common import checks
from glip_pl.data.formats.common.checks import note
from glip_pl.data.formats.common.paths import ImageFolder
from glip_pl.data.formats.common.records import Annotation, AnnotationSet, Format, Record, Splits
from glip_pl.prompts import Span

_MARK = re.compile(r"\[/EN#(\d+)/(\S+)")
NO_ANNOTATIONS = "picture without readable Annotations and Sentences"
OPEN_MARK = "phrase whose bracket is not closed"


@dataclass(frozen=True)
class _Phrase:
    """A marked phrase of a sentence: its entity, types and place."""

    entity: str
    types: tuple[str, ...]
    span: Span


class FlickrEntities(Format):
    """Flickr30k Entities as its authors publish it; read only."""

    name: ClassVar[str] = "flickr30k"
    holds: ClassVar[frozenset[str]] = frozenset({"captions", "phrase_types"})

    def detect(self, path: Path) -> bool:
        """Return whether a folder has sentences and annotations."""
        return (path / "Sentences").is_dir() and (path / "Annotations").is_dir()

    def read(self, path: Path) -> Mapping[str, AnnotationSet]:
        """Read the pictures that the lists name; without lists all of them, as the split "all"."""
        if not self.detect(path):
            raise ValueError(
                f"{str(path)!r} has no folders Sentences and Annotations, so it is not Flickr30k "
                "Entities; name the folder that annotations.zip was unpacked in"
            )
        lists = [path / f"{split}.txt" for split in ("train", "val", "test")]
        splits = {file.stem: file.read_text().split() for file in lists if file.is_file()}
        if not splits:
            splits = {"all": sorted(file.stem for file in (path / "Annotations").glob("*.xml"))}
        return Splits(
            {split: partial(_read_split, path, pictures) for split, pictures in splits.items()}
        )

    def write(self, sets: Mapping[str, AnnotationSet], path: Path) -> None:
        """Refuse: whole pixels and phrases side by side are less than other sets hold.

        Raises:
            ValueError: Always.
        """
        raise ValueError(f"the format {self.name} is read only; write mdetr or odvg instead")


def _read_split(root: Path, pictures: Sequence[str]) -> AnnotationSet:
    folder = ImageFolder.near(root, (f"{picture}.jpg" for picture in pictures), {})
    unread: Counter[str] = Counter()
    records = folder.certain(columns_of(_records(root, pictures, folder, unread)))
    return AnnotationSet(folder.path, records, problems=folder.problems, unread=dict(unread))


def _records(
    root: Path, pictures: Sequence[str], folder: ImageFolder, unread: Counter[str]
) -> Iterator[Record]:
    """Walk over the sentences of pictures, which are numbered on."""
    number = count(1)
    for picture in pictures:
        try:
            entities = ElementTree.parse(root / "Annotations" / f"{picture}.xml").getroot()
            text = (root / "Sentences" / f"{picture}.txt").read_text(encoding="utf-8")
            size = (int(_text(entities, "size/height")), int(_text(entities, "size/width")))
        except (OSError, ValueError, ElementTree.ParseError) as error:
            note(folder.problems, NO_ANNOTATIONS, f"{picture} ({error})")
            continue
        found = folder.find(f"{picture}.jpg")
        if found is None:
            continue
        boxes, scenes = _boxes(entities, size, picture, folder)
        for n, sentence in enumerate(line for line in text.splitlines() if line.strip()):
            caption, phrases, left_open = _parse(sentence)
            if left_open:
                note(folder.problems, OPEN_MARK, f"sentence {n} of {picture}")
            for phrase in phrases:
                if phrase.entity not in boxes:
                    unread[_without_box(phrase, scenes)] += 1
            links = tuple(
                Annotation(box, tokens_positive=(phrase.span,), phrase_types=phrase.types)
                for phrase in phrases
                for box in boxes.get(phrase.entity, ())
            )
            yield Record(next(number), found, size, links, caption)


def _without_box(phrase: _Phrase, scenes: set[str]) -> str:
    if phrase.entity == "0":
        return "phrase of nothing that can be seen"
    return "phrase of the whole scene" if phrase.entity in scenes else "phrase without a box"


def _text(element: ElementTree.Element, path: str) -> str:
    text = element.findtext(path)
    if text is None:
        raise ValueError(f"no {path}")
    return text


def _boxes(
    entities: ElementTree.Element, size: tuple[int, int], picture: str, folder: ImageFolder
) -> tuple[dict[str, list[Box]], set[str]]:
    """Read the boxes of each entity, of which one box may show several, and the scenes."""
    boxes: defaultdict[str, list[Box]] = defaultdict(list)
    scenes = set()
    for shown in entities.iter("object"):
        ids = [name.text or "" for name in shown.findall("name")]
        corners = shown.find("bndbox")
        if corners is not None:
            values = [corners.findtext(key) for key in ("xmin", "ymin", "xmax", "ymax")]
            box, kind = checks.checked_box(values, size)
            note(folder.problems, kind, f"entity {', '.join(ids)} of {picture}")
            if box is not None:
                for entity in ids:
                    boxes[entity].append(box)
        elif shown.findtext("scene", "0").strip() == "1":
            scenes.update(ids)
    return dict(boxes), scenes


def _parse(sentence: str) -> tuple[str, list[_Phrase], bool]:
    """Take a sentence's marks away: caption, phrases, and whether a bracket is left open."""
    words: list[str] = []
    phrases: list[_Phrase] = []
    length = 0  # Of the words so far, each with the space behind it.
    mark, start = None, 0
    for token in sentence.split():
        opened = _MARK.fullmatch(token) if mark is None else None
        if opened is not None:
            mark, start = opened, length
            continue
        closes = mark is not None and token.endswith("]")
        word = token[:-1] if closes else token
        if word:
            words.append(word)
            length += len(word) + 1
        if mark is not None and closes:
            if length > start:
                types = tuple(mark[2].split("/"))
                phrases.append(_Phrase(mark[1], types, (start, length - 1)))
            mark = None
    return " ".join(words), phrases, mark is not None
