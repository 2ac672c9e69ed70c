"""``glip data``: fetch a data set, check it, convert it, write it as shards, or look at it."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from glip_pl.commands.parser import CommandParser
from glip_pl.system.screen import next_command, write

# Formats that ``--data=folder`` trains on: boxes with categories, an image a file.
_TRAINED_AS_A_FOLDER = ("coco", "openimages", "voc", "yolo", "label_studio", "cvat")


def run(args: list[str]) -> None:
    """Run the command with the arguments that follow its name; status 1 where faults are found."""
    parser = CommandParser(prog="glip data", description="Look after data sets of any format.")
    commands = parser.add_subcommands()
    functions: dict[str, Callable[..., bool | None]]
    functions = {
        "fetch": fetch,
        "check": check,
        "convert": convert,
        "shards": shards,
        "show": show,
    }
    for name, function in functions.items():
        command = CommandParser()
        apart: set[str | int] = {"source_format"}
        command.add_function_arguments(function, as_positional=True, skip=apart)
        if function is convert:  # Python has no argument named "from".
            command.add_argument("--from", type=str | None, help="Format of the source, if unseen.")
        purpose = (function.__doc__ or "").partition("\n")[0]
        commands.add_subcommand(name, command, help=purpose)
    parsed = parser.parse_args(args)
    options = parsed[parsed.subcommand].as_dict()
    if parsed.subcommand == "convert":
        options["source_format"] = options.pop("from")
    unfinished = functions[parsed.subcommand](**options)
    if unfinished:
        raise SystemExit(1)


def fetch(name: str, *, root: str | None = None) -> bool:
    """Fetch a data set as far as its licence allows, and list what is left to do by hand.

    Args:
        name: One of those that `make help` lists, for example coco.
        root: Folder of the data set; that of its YAML by default.

    Returns:
        Whether something is left to do.
    """
    from rich.console import Console

    from glip_pl.configs.names import data_folder, known
    from glip_pl.system.fetch import fetch as download
    from glip_pl.system.fetch import read_source

    source = read_source(name, data_folder() / "sources")
    folder = Path(root or source.root)
    unfinished = bool(download(source, folder, Console()))
    if not unfinished and name in known("data"):
        place = [f"--data.root={root}"] if root else []
        write(next_command("glip", "fit", f"--data={name}", *place))
    return unfinished


def check(path: str, *, format: str | None = None) -> bool:
    """Count what a data set has, and find what is wrong with it; every image is decoded.

    Args:
        path: Folder or annotation file of the data set.
        format: Its format, where it is not seen: coco, lvis, openimages, voc, yolo, label_studio,
            cvat, coco_panoptic, masks, odvg, mdetr, flickr30k, refcoco, captions or webdataset.

    Returns:
        Whether something is wrong.
    """
    from glip_pl.data.auto_splits import nothing_to_learn, trains
    from glip_pl.data.formats.common.image_files import without_broken_images
    from glip_pl.data.report import count_of, describe, list_problems
    from glip_pl.data.upkeep import read_sets

    form, sets = read_sets(path, format)
    write(f"{path}: {form.name}")
    wrong = False
    for split, annotation_set in sets.items():
        usable, oriented = without_broken_images(annotation_set)
        problems = list_problems(usable.problems)
        problems += nothing_to_learn(split, usable)
        write("", f"{split}: {count_of(usable)}", *describe(usable, oriented))
        if not usable.records:
            problems.append("no usable image")
        write(*(f"  {line}" for line in problems or ["no problems"]))
        wrong |= bool(problems)
    as_a_folder = form.name in _TRAINED_AS_A_FOLDER and Path(path).is_dir()
    if not wrong and as_a_folder and trains(sets, Path(path)):
        write("", next_command("glip", "fit", "--data=folder", f"--data.root={path}"))
    return wrong


def convert(
    source: str, target: str, *, to: str, source_format: str | None = None, strict: bool = False
) -> None:
    """Write a data set in another format; what is wrong with it is left out and listed.

    The images are links to those of the source where the disk allows it, else copies.

    Args:
        source: Folder or annotation file of the data set.
        target: The folder to write; it must not exist.
        to: Format to write: coco, lvis, openimages, voc, yolo, label_studio, cvat, odvg, mdetr,
            refcoco, captions or webdataset.
        source_format: Format of the source, where it is not seen.
        strict: Write nothing if anything would be left out, changed or lost, which reading back
            proves.
    """
    from glip_pl.data.formats.common.doubts import refuse_if_nothing_left
    from glip_pl.data.formats.common.image_files import without_broken_images
    from glip_pl.data.report import count_of, list_losses, list_problems
    from glip_pl.data.upkeep import QUARANTINE, named_format, read_sets, write_whole

    place = Path(target)
    if place.exists():
        raise ValueError(f"{target!r} exists already; name a new place, or remove it first")
    writer = named_format(to)
    form, found = read_sets(source, source_format)
    for split, held in found.items():
        refuse_if_nothing_left(held, f"{source} ({split})")
    sets = {split: without_broken_images(held)[0] for split, held in found.items()}
    problems = {split: held.problems for split, held in sets.items() if held.problems}
    sets = {split: held for split, held in sets.items() if held.records}
    told = [f"{s}: {line}" for s, held in problems.items() for line in list_problems(held)]
    told += list_losses(writer, sets)
    if not sets:
        raise ValueError("\n  ".join([f"{source!r} has no usable image", *told]))
    if strict and told:
        raise ValueError(
            "\n  ".join([f"--strict, and {source!r} is not written as {to} without loss", *told])
            + "\nnothing is written; correct the data set, or drop --strict"
        )
    write_whole(writer, sets, place, problems, proven=strict)
    write(f"{source}: {form.name}", f"{target}: {to}")
    told = [*(f"{split}: {count_of(held)}" for split, held in sets.items()), *told]
    if problems:
        told.append(f"all that is left out or to be corrected: {place / QUARANTINE}")
    write(*(f"  {line}" for line in told))
    if to in _TRAINED_AS_A_FOLDER:
        write(next_command("glip", "fit", "--data=folder", f"--data.root={target}"))


def shards(source: str, target: str, *, root: str | None = None) -> None:
    """Write the training sets of a description as shards, and a description that streams them.

    A run that was stopped goes on where it is started again.

    Args:
        source: A YAML that describes data, or a name such as pretrain_t.
        target: The folder to write; it gets data.yaml.
        root: Folder of the data, where it is not the one that the YAML names.
    """
    from glip_pl.data.sharding import write_shards

    place = Path(target)
    place.mkdir(parents=True, exist_ok=True)
    for line in write_shards(source, place, root=root):
        write(line)


def show(
    path: str,
    *,
    output: str = "sheet.png",
    split: str | None = None,
    count: int = 12,
    seed: int = 0,
    format: str | None = None,
) -> None:
    """Draw a sheet of samples with their boxes and phrases.

    Args:
        path: Folder or annotation file of the data set.
        output: The picture to write.
        split: Split to show; the first by default.
        count: How many samples.
        seed: Another one chooses other samples.
        format: Format of the data set, where it is not seen.
    """
    from PIL import Image

    from glip_pl.data.formats.columns.builder import columns_of
    from glip_pl.data.upkeep import read_sets
    from glip_pl.inference import sheet

    _, sets = read_sets(path, format)
    chosen = next(iter(sets)) if split is None else split
    if chosen not in sets:
        raise ValueError(f"{path!r} has no split {split!r}; --split is one of {', '.join(sets)}")
    annotation_set = sets[chosen]
    # Samples without boxes tell little and come last.
    records = columns_of(annotation_set.records)
    places = random.Random(seed).sample(range(len(records)), len(records))
    counts = records.box_counts.tolist()
    places.sort(key=lambda place: not counts[place])
    pictures: list[Any] = []
    for place in places:
        if len(pictures) == count:
            break
        try:
            pictures.append(sheet.picture_of(annotation_set, records[place]))
        except ValueError as error:
            write(str(error))
    if not pictures:
        raise ValueError(f"{path!r} has no image to show in {chosen!r}; run glip data check")
    target = Path(output)
    target.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(sheet.sheet_of(pictures)).save(target)
    write(f"{len(pictures)} samples of {chosen}: see {target}")
