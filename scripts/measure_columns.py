"""Measure time and memory of a set of Objects365's size: read, read again, and in loader workers.

    python scripts/measure_columns.py /tmp/columns
    python scripts/measure_columns.py /tmp/columns --form=yolo --images=200000

A set of random boxes is written into the folder, with image files that are empty: what is measured
is the annotations, and no pixels are read. Each load is a process of its own. Memory of a process
is its peak resident set (RSS) while it reads, and what it shares with no other (USS) afterwards; of
a worker, USS beside that of a worker whose set has one image, since libraries alone take more than
annotations may. YOLO and VOC have a label file for each image, of one box, and images of a few
pixels, whose sizes are read; all are links to a few files.
"""

import argparse
import json
import multiprocessing
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

CATEGORIES, PER_FOLDER, FIRST_IMAGE = 365, 34_000, 1_000_000
STEPS = ("first", "later", "workers")
LINKS = 60_000  # To one file; file systems limit them.
YOLO = "names: [cat]\ntrain: images\n"
OBJECT = "<object><name>cat</name><bndbox>{}</bndbox></object>"
SIDES = "<xmin>3</xmin><ymin>3</ymin><xmax>9</xmax><ymax>7</ymax>"
VOC = f"<annotation>{OBJECT.format(SIDES)}</annotation>"
# Of a form: where labels lie, how they end, and what they hold.
LABELS = {
    "yolo": ("labels", "txt", "0 0.5 0.5 0.25 0.25\n"),
    "voc": ("Annotations", "xml", VOC),
}


def main() -> None:
    """Write the set, then run every step in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="where the set and its cache go")
    parser.add_argument("--images", type=int, default=1_700_000)
    parser.add_argument("--boxes", type=int, default=25_000_000)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--form", choices=("coco", *LABELS), default="coco")
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    os.environ["GLIP_CACHE"] = str(options.folder / "cache")
    if options.step:
        {"first": load, "later": load, "workers": share}[options.step](options)
        return
    for name, count in (("one", 1), ("many", options.images)):
        root = options.folder / name
        if options.form == "coco":
            write_set(root, count, options.boxes if count > 1 else 1)
        elif not root.exists():
            write_folder(root, count, options.form)
    if options.form == "coco":
        size = (options.folder / "many" / "a.json").stat().st_size
        print(f"{options.images} images, {options.boxes} boxes, {size / 1e9:.2f} GB of JSON")
    for step in STEPS:
        command = [sys.executable, __file__, str(options.folder), f"--workers={options.workers}"]
        subprocess.run([*command, f"--form={options.form}", f"--step={step}"], check=True)


def write_set(root: Path, images: int, boxes: int) -> None:
    """Write COCO's JSON, boxes in no order, and empty image files; nothing if it is there."""
    if (root / "a.json").exists():
        return
    names = [f"patch{i // PER_FOLDER}/objects365_v1_{i:08d}.jpg" for i in range(images)]
    for folder in dict.fromkeys(name.partition("/")[0] for name in names):
        (root / "images" / folder).mkdir(parents=True, exist_ok=True)
    for name in names:
        os.close(os.open(root / "images" / name, os.O_CREAT | os.O_WRONLY))
    size = {"height": 480, "width": 640}
    entries = ({"id": FIRST_IMAGE + i, "file_name": n} | size for i, n in enumerate(names))
    categories = [{"id": i, "name": f"thing {i}"} for i in range(100, 100 + CATEGORIES)]
    with (root / "new.json").open("wb") as file:
        file.write(b'{"images": [' + ", ".join(map(json.dumps, entries)).encode())
        file.write(b'], "annotations": [')
        for start in range(0, boxes, 1_000_000):
            count = min(1_000_000, boxes - start)
            file.write(box_entries(start, count, images)[2 * (start == 0) :])
        file.write(f'], "categories": {json.dumps(categories)}}}'.encode())
    (root / "new.json").rename(root / "a.json")


def write_folder(root: Path, images: int, form: str) -> None:
    """Write images with a label file each."""
    from PIL import Image

    labels, suffix, text = LABELS[form]
    pictures = {"yolo": "images", "voc": "JPEGImages"}[form]
    (root / labels).mkdir(parents=True)
    (root / pictures).mkdir()
    if form == "yolo":
        (root / "data.yaml").write_text(YOLO)
    for start in range(0, images, LINKS):
        picture, label = (
            root / pictures / f"{start:07d}.png",
            root / labels / f"{start:07d}.{suffix}",
        )
        Image.new("RGB", (16, 12)).save(picture)
        label.write_text(text)
        for i in range(start + 1, min(start + LINKS, images)):
            os.link(picture, root / pictures / f"{i:07d}.png")
            os.link(label, root / labels / f"{i:07d}.{suffix}")


def box_entries(start: int, count: int, images: int) -> bytes:
    """Write random boxes, each behind a comma: numbers of so many digits, filled in by columns."""
    generator = np.random.default_rng(start)
    text = (
        ', {"id": 000000000, "image_id": 0000000, "category_id": 000, "iscrowd": 0, '
        '"area": 00000.00, "bbox": [000.00, 000.00, 000.00, 000.00]}'
    )
    sides = generator.integers(10_000, (30_000, 20_000, 30_000, 28_000), (count, 4)).T
    columns = [
        (9, np.arange(start, start + count) + 100_000_000),
        (7, generator.integers(images, size=count) + FIRST_IMAGE),
        (3, generator.integers(CATEGORIES, size=count) + 100),
        (1, np.zeros(count, np.int64)),  # No crowd.
        (7, sides[2] * sides[3] // 100),
        *((5, side) for side in sides),
    ]
    table = np.tile(np.frombuffer(text.encode(), np.uint8), (count, 1))
    places = iter([place for place, letter in enumerate(text) if letter == "0"])
    for width, numbers in columns:
        for power in range(width - 1, -1, -1):
            table[:, next(places)] = 48 + numbers // 10**power % 10
    return table.tobytes()


def loaded(root: Path, form: str):
    """Load a set as training does."""
    from glip_pl.data import CategoryDetection

    if form == "coco":
        dataset = CategoryDetection("a.json", "images")
    else:
        dataset = CategoryDetection(".", split="all" if form == "voc" else "train", format=form)
    dataset.load(root, training=True)
    return dataset


def load(options: argparse.Namespace) -> None:
    """Load the set, and say how long it took and what it needed."""
    loaded(options.folder / "one", options.form)  # Which imports all that there is.
    before = private()
    begin, busy = time.perf_counter(), time.process_time()
    dataset = loaded(options.folder / "many", options.form)
    seconds, worked = time.perf_counter() - begin, time.process_time() - busy
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{options.step} load: {seconds:.1f} s ({worked:.1f} s of CPU), peak RSS {peak:.0f} MB, "
        f"USS {private():.0f} MB ({before:.0f} MB before), {len(dataset.records)} images"
    )


def share(options: argparse.Namespace) -> None:
    """Start workers that make samples of the set, and say what each has for itself."""
    context = multiprocessing.get_context("spawn")
    for name in ("one", "many"):
        records = loaded(options.folder / name, options.form).records
        results, done = context.Queue(), context.Event()
        workers = [
            context.Process(target=work, args=(records, seed, results, done))
            for seed in range(options.workers)
        ]
        for worker in workers:
            worker.start()
        # All are alive when each looks at its memory, or nothing would be shared.
        ready = [results.get() for _ in workers]
        done.set()
        shares = [results.get() for _ in workers]
        for worker in workers:
            worker.join()
        told = ", ".join(f"{uss:.0f}" for uss in sorted(shares))
        print(f"{len(ready)} workers with {len(records)} images: USS {told} MB")


def work(records, seed: int, results, done) -> None:
    """Make records of images in no order, as a loader's worker does, and measure."""
    import torch

    import glip_pl.data.datasets  # noqa: F401

    for index in np.random.default_rng(seed).integers(len(records), size=20_000).tolist():
        record = records[index]
        torch.tensor([annotation.box for annotation in record.annotations]).reshape(-1, 4)
    results.put(seed)
    done.wait()
    results.put(private())


def private() -> float:
    """Return the memory in MB that this process shares with no other."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1024


if __name__ == "__main__":
    main()
