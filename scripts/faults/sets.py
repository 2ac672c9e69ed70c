"""Data sets of people's own exports: what is wrong is told, and nothing is guessed."""

from collections.abc import Callable
from typing import Any

from faults.bench import Bench, Ended, expect, fault
from faults.made_up import change_set, write_image, write_set


def _checked(bench: Bench, change: Callable[[dict[str, Any]], object]) -> tuple[Ended, Ended]:
    """Check a changed set, and train on it for a step."""
    root = change_set(write_set(bench.fresh(), 8), change)
    check = bench.glip("data", "check", str(root / "annotations/train.json"))
    return check, bench.glip(*bench.fit(bench.fresh(), root), "--trainer.max_steps=1")


@fault("two images of one id")
def repeated_ids(bench: Bench) -> str:
    """Use one number for two images."""

    def change(document: dict[str, Any]) -> None:
        document["images"][1]["id"] = 1

    check, train = _checked(bench, change)
    train.done("id")
    check.done("id", status=1)
    return "both are left out and counted, by check and by training"


@fault("a set whose every box is a crowd")
def all_crowds(bench: Bench) -> str:
    """Leave nothing to learn from."""

    def change(document: dict[str, Any]) -> None:
        for box in document["annotations"]:
            box["iscrowd"] = "1"

    check, train = _checked(bench, change)
    check.done("crowd", status=1)
    return train.refused("crowd|box")


@fault("category ids that begin at 0 in the boxes and at 1 in the names")
def off_by_one(bench: Bench) -> str:
    """Count from elsewhere."""

    def change(document: dict[str, Any]) -> None:
        for box in document["annotations"]:
            box["category_id"] -= 1

    check, train = _checked(bench, change)
    check.refused("off by one")
    return train.refused("off by one")


@fault("a category of null, then of zero-width letters")
def unreadable_names(bench: Bench) -> str:
    """Name things by nothing."""
    said = []
    for name in (None, "\u200b\u200b"):

        def change(document: dict[str, Any], name: str | None = name) -> None:
            document["categories"][0]["name"] = name

        check, train = _checked(bench, change)
        expect(check.status in (1, 2), check.said)
        said.append(train.refused("name"))
    return said[-1]


@fault("two categories of one id with different names")
def repeated_category_ids(bench: Bench) -> str:
    """Name one id twice."""

    def change(document: dict[str, Any]) -> None:
        document["categories"].append({"id": 1, "name": "lynx"})

    check, train = _checked(bench, change)
    expect("lynx" in check.said or "categor" in check.said, check.said)
    return f"check exits {check.status}, training {train.status}: {train.message}"


@fault("a million boxes on one image")
def a_million_boxes(bench: Bench) -> str:
    """Annotate without end."""

    def change(document: dict[str, Any]) -> None:
        box = document["annotations"][0]
        document["annotations"] += [{**box, "id": 100 + k} for k in range(1_000_000)]

    check, train = _checked(bench, change)
    check.done("5,000|5000", status=1)
    train.done("5,000|5000")
    return "the image is left out and counted, by check and by training"


@fault("a VOC folder whose <filename> names a folder, too")
def voc_with_folders(bench: Bench) -> str:
    """Export from a tool that writes its own paths."""
    root = bench.fresh()
    for k in range(4):
        write_image(root / f"JPEGImages/{k}.png", k)
        (root / "Annotations").mkdir(exist_ok=True)
        (root / f"Annotations/{k}.xml").write_text(
            f"<annotation><filename>C:\\\\photos\\\\{k}.png</filename><size><width>60</width>"
            "<height>40</height></size><object><name>cat</name><bndbox><xmin>6</xmin>"
            "<ymin>4</ymin><xmax>36</xmax><ymax>24</ymax></bndbox></object></annotation>"
        )
    bench.glip("data", "check", str(root)).done("4 boxes|4 images")
    return "read: four images with a box each"
