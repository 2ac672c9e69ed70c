"""Outputs that are not one command's alone: two writers of one, and disks that are full."""

import json
import sys
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

from faults.bench import Bench, expect, fault, run_together
from faults.loaders import small_disk
from faults.made_up import write_image

_IMAGES = 24


@fault("two calls of glip label with one --output and one prompt, side by side")
def two_writers(bench: Bench) -> str:
    """Let two processes do the same work."""
    folder, place = pictures(bench), bench.fresh()
    for ended in run_together([partial(label, bench, folder, place, "cat.")] * 2):
        ended.done()
    labelled = Counter(record["image"] for record in records(place))
    expect(len(labelled) == _IMAGES and set(labelled.values()) == {1}, str(labelled))
    return "both end with 0, every image stands there once"


@fault("two calls of glip label with one --output and two prompts, side by side")
def two_questions(bench: Bench) -> str:
    """Let two processes write answers to two questions to one place."""
    folder, place = pictures(bench), bench.fresh()
    ended = run_together(
        [partial(label, bench, folder, place, prompt) for prompt in ("cat.", "dog.")]
    )
    refused = [one for one in ended if one.status != 0]
    expect(refused, "both wrote to one place")
    told = [one.refused("labelled with other prompt") for one in refused]
    heads = {_head(path) for path in (place / "shards").glob("*.jsonl")}
    expect(len(heads) == 1 or len(refused) == 2, f"{len(heads)} questions in one result")
    return told[0]


@fault("glip label --output on a disk that is full")
def full_disk_of_label(bench: Bench) -> str:
    """Run out of disk while shards are written."""
    folder, place = pictures(bench), bench.fresh()
    full = small_disk(str(place), 4)
    (ended,) = run_together([partial(label, bench, folder, place, "cat.", before=full)])
    return ended.refused("No space left on device")


def pictures(bench: Bench) -> Path:
    """Write some pictures into a new folder, beside weights that are there before the forks."""
    folder = bench.trained and bench.fresh()
    for k in range(_IMAGES):
        write_image(folder / f"{k:02}.png", k)
    return folder


def label(
    bench: Bench,
    folder: Path,
    place: Path,
    prompt: str,
    *,
    before: Callable[[], object] = lambda: None,
) -> None:
    """Run `glip label` in this process; shards of two images, so that there are many to share."""
    from glip_pl.cli import main

    asked = [f"--images=[{folder}]", f"--prompt={prompt}", f"--weights={bench.trained}"]
    sys.argv[:] = [str(Path(sys.executable).with_name("glip")), "label"]
    before()
    main(["label", *asked, f"--output={place}", "--shard_size=2", "--threshold=0.01"])


def records(place: Path) -> list[dict[str, object]]:
    """Read what was labelled."""
    return [json.loads(line) for line in (place / "labels.jsonl").read_text().splitlines()]


def _head(path: Path) -> str:
    return str(json.loads(path.read_text().splitlines()[0])["prompt"])
