"""Measure all rows of the table of one device, and write them down.

First the rates of matrix products and of copies, then row by row; each row is kept as soon as it is
done, in one JSON file that names machine, versions and commit. `make gpu` runs it after the tests::

    python scripts/benchmark_all.py --device=cuda --output=docs/benchmarks
    python scripts/benchmark_all.py --device=cpu --rehearsal
    python scripts/benchmark_all.py --write  # the table of docs/performance.md, from what is kept

A rehearsal runs the same code with a small model and small images, and measures nothing.
"""

import argparse
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from benchmarks.kept import KEPT, read_kept
from benchmarks.rows import REHEARSAL, ROWS, Row
from benchmarks.tables import PAGE, write_table

from glip_pl.benchmark import pairs, run
from glip_pl.benchmark.limits import measure_limits
from glip_pl.benchmark.published import describe, random_task
from glip_pl.benchmark.vocabulary import names_to_detect
from glip_pl.system.machine import choose_device, device_name


def measured(row: Row, device: torch.device, repeats: int) -> dict[str, Any]:
    """Run one row, and return what `glip benchmark --json_file` would write."""
    described = describe(row.model, row.fusion)
    task = random_task(described).to(device)
    asked = run.Asked(
        model=row.name,
        names=names_to_detect(row.names),
        size=row.size,
        batch_size=row.batch,
        precision=row.precision,
        train=row.train,
        compiled=row.compiled,
        repeats=repeats,
    )
    if row.baseline and task.model.fusion.own_head() is not None:
        return asdict(pairs.time_pairs(task, described, asked))
    return asdict(run.time_model(task, asked, baseline=row.baseline))


def measure_all(args: argparse.Namespace) -> int:
    """Measure every row that the time allows; return how many failed."""
    device, start, failed = choose_device(args.device), time.monotonic(), 0
    rows = REHEARSAL if args.rehearsal else ROWS
    for precision in ("fp32", "bf16"):
        limits = measure_limits(device, precision)
        print(f"{device_name(device)}, {precision}: {limits}", flush=True)
    date = time.strftime("%Y-%m-%d", time.gmtime())
    name = device_name(device).replace("/", " ").split("@")[0].split()
    folder = Path(args.output or (KEPT.parents[1] / "build/rehearsal" if args.rehearsal else KEPT))
    file = folder / f"{date}-{'-'.join(name)}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    found: list[dict[str, Any]] = []
    for row in rows:
        if time.monotonic() - start > args.seconds:
            print(f"left out, since {args.seconds} s are over: {row}")
            continue
        try:
            found.append(measured(row, device, args.repeats))
        except (RuntimeError, ValueError) as error:
            failed += 1
            print(f"failed: {row}: {str(error).splitlines()[0]}", flush=True)
            continue
        finally:
            if device.type == "cuda":
                torch.cuda.empty_cache()
        file.write_text(json.dumps(found, indent=1) + "\n")
        print(f"{time.monotonic() - start:5.0f} s: {row}", flush=True)
    print(f"wrote {file}; now `python scripts/benchmark_all.py --write`" if found else "nothing")
    return failed


def main() -> int:
    """Run; the status is 1 where a row failed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--output", help="folder of the JSON file, by default docs/benchmarks")
    parser.add_argument("--repeats", type=int, default=5, help="timed runs of each row")
    parser.add_argument("--seconds", type=float, default=300, help="begin no row after so long")
    parser.add_argument("--rehearsal", action="store_true", help="a small model on small images")
    parser.add_argument("--write", action="store_true", help="only write the table of the docs")
    args = parser.parse_args()
    if args.write:
        write_table(PAGE, read_kept(KEPT))
        return 0
    return int(measure_all(args) > 0)


if __name__ == "__main__":
    sys.exit(main())
