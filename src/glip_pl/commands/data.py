"""``glip data``: fetch a data set, check it, convert it into another format, or look at it."""

from collections.abc import Callable
from pathlib import Path

from glip_pl.commands.parser import CommandParser


def run(args: list[str]) -> None:
    """Run the command with the arguments that follow its name; status 1 where faults are found."""
    parser = CommandParser(prog="glip data", description="Look after data sets of any format.")
    commands = parser.add_subcommands()
    functions: dict[str, Callable[..., bool | None]]
    functions = {"fetch": fetch, "check": check, "convert": convert, "show": show}
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

    from glip_pl.configs.names import data_folder
    from glip_pl.system.fetch import fetch as download
    from glip_pl.system.fetch import read_source

    source = read_source(name, data_folder() / "sources")
    return bool(download(source, Path(root or source.root), Console()))


def check(path: str, *, format: str | None = None) -> bool:
    """Count what a data set has, and find what is wrong with it; every image is decoded.

    Args:
        path: Folder or annotation file of the data set.
        format: Its format, where it is not seen: coco, lvis, openimages, voc, yolo, odvg, mdetr,
            flickr30k, refcoco, captions or webdataset.

    Returns:
        Whether something is wrong.
    """
    from glip_pl.commands import upkeep

    return upkeep.check(path, format=format)


def convert(
    source: str, target: str, *, to: str, source_format: str | None = None, strict: bool = False
) -> None:
    """Write a data set in another format; what is wrong with it is left out and listed.

    The images are links to those of the source where the disk allows it, else copies.

    Args:
        source: Folder or annotation file of the data set.
        target: The folder to write; it must not exist.
        to: Format to write: coco, lvis, openimages, voc, yolo, odvg, mdetr, refcoco, captions or
            webdataset.
        source_format: Format of the source, where it is not seen.
        strict: Write nothing if anything would be left out, changed or lost.
    """
    from glip_pl.commands import upkeep

    upkeep.convert(source, target, to=to, source_format=source_format, strict=strict)


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
    from glip_pl.commands import upkeep

    upkeep.show(path, output=output, split=split, count=count, seed=seed, format=format)
