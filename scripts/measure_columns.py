"""Measure time and memory of a set of Objects365's size: read, read again, and in loader workers.

    python scripts/measure_columns.py /tmp/columns

A set of random boxes is written into the folder, with image files that are empty: what is measured
is the annotations, and no pixels are read. Each load is a process of its own. Memory of a process
is its peak resident set (RSS) while it reads, and what it shares with no other (USS) afterwards; of
a worker, USS beside that of a worker whose set has one image, since libraries alone take more than
annotations may.
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

CATEGORIES, PER_FOLDER = 365, 34_000
STEPS = ("first", "later", "workers")


def main() -> None:
    """Write the set, then run every step in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="where the set and its cache go")
    parser.add_argument("--images", type=int, default=1_700_000)
    parser.add_argument("--boxes", type=int, default=25_000_000)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    os.environ["GLIP_CACHE"] = str(options.folder / "cache")
    if options.step:
        {"first": load, "later": load, "workers": share}[options.step](options)
        return
    for name, count in (("one", 1), ("many", options.images)):
        write_set(options.folder / name, count, options.boxes if count > 1 else 1)
    size = (options.folder / "many" / "a.json").stat().st_size
    print(f"{options.images} images, {options.boxes} boxes, {size / 1e9:.2f} GB of JSON")
    for step in STEPS:
        command = [sys.executable, __file__, str(options.folder), f"--workers={options.workers}"]
        subprocess.run([*command, f"--step={step}"], check=True)


def write_set(root: Path, images: int, boxes: int) -> None:
    """Write COCO's JSON, boxes in no order, and empty image files; nothing if it is there."""
    if (root / "a.json").exists():
        return
    generator = np.random.default_rng(0)
    names = [f"patch{i // PER_FOLDER}/objects365_v1_{i:08d}.jpg" for i in range(images)]
    for name in names:
        if name.endswith(f"{0:08d}.jpg") or int(name[-12:-4]) % PER_FOLDER == 0:
            (root / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(root / "images" / name, os.O_CREAT | os.O_WRONLY))
    with (root / "new.json").open("w") as file:
        entries = (
            {"id": i, "file_name": n, "height": 480, "width": 640} for i, n in enumerate(names)
        )
        file.write('{"images": [' + ", ".join(map(json.dumps, entries)) + '], "annotations": [')
        for start in range(0, boxes, 100_000):
            count = min(100_000, boxes - start)
            numbers = zip(
                range(start, start + count),
                generator.integers(images, size=count).tolist(),
                generator.integers(1, CATEGORIES + 1, size=count).tolist(),
                *(generator.uniform(1, 300, (4, count)).round(2).tolist()),
                strict=True,
            )
            file.write(", " * (start > 0))
            file.write(
                ", ".join(
                    f'{{"id": {i}, "image_id": {image}, "category_id": {category}, "iscrowd": 0, '
                    f'"area": {w * h:.2f}, "bbox": [{x}, {y / 2:.2f}, {w}, {h / 2:.2f}]}}'
                    for i, image, category, x, y, w, h in numbers
                )
            )
        categories = [{"id": i, "name": f"thing {i}"} for i in range(1, CATEGORIES + 1)]
        file.write(f'], "categories": {json.dumps(categories)}}}')
    (root / "new.json").rename(root / "a.json")


def loaded(root: Path):
    """Load a set as training does."""
    from glip_pl.data import CategoryDetection

    dataset = CategoryDetection("a.json", "images")
    dataset.load(root, training=True)
    return dataset


def load(options: argparse.Namespace) -> None:
    """Load the set, and say how long it took and what it needed."""
    loaded(options.folder / "one")  # Which imports all that there is.
    before = private()
    begin, busy = time.perf_counter(), time.process_time()
    dataset = loaded(options.folder / "many")
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
        records = loaded(options.folder / name).records
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
