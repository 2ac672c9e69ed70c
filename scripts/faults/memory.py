"""Runs whose memory must stay as it is, however long they go on."""

import json
import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from faults.bench import AT_END, Bench, expect, fault, newest
from faults.made_up import write_image, write_set
from glip_pl.training.task import GroundingTask

STEPS, PICTURES = 300, 1000
# Megabytes that memory may grow by once a run is warm; allocators keep some.
MOST = 30


def resident() -> float:
    """Return the memory of this process that lies in RAM, in MB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


@fault(f"{STEPS} steps of training, RSS after 60 of them and at the end")
def memory_of_training(bench: Bench) -> str:
    """Train for long."""
    place, file = bench.fresh(), bench.fresh() / "rss"
    root = write_set(bench.fresh(), 120)

    def patch() -> None:
        start: Any = GroundingTask.on_train_batch_start

        def note(task: Any, *args: Any) -> Any:
            if task.trainer.global_step in (60, STEPS - 1):
                with file.open("a") as notes:
                    notes.write(f"{resident()}\n")
            return start(task, *args)

        GroundingTask.on_train_batch_start = note  # type: ignore[method-assign]

    options = ("--trainer.max_epochs=10", "--trainer.limit_val_batches=2")
    bench.glip(*bench.fit(place, root), *options, before=patch, seconds=600).done()
    return _flat(*map(float, file.read_text().split()))


@fault(f"glip predict on {PICTURES} pictures, RSS after 200 of them and at the end")
def memory_of_predictions(bench: Bench) -> str:
    """Detect for long."""
    folder, place, file = bench.fresh(), bench.fresh(), bench.fresh() / "rss"
    source = write_image(folder / "0.png").read_bytes()
    for k in range(1, PICTURES):
        (folder / f"{k}.png").write_bytes(source)

    def patch() -> None:
        from glip_pl.inference.result import Result

        make, made = Result.of_detections, [0]

        def note(*args: Any, **options: Any) -> Any:
            made[0] += 1
            if made[0] in (PICTURES // 5, PICTURES):
                with file.open("a") as notes:
                    notes.write(f"{resident()}\n")
            return make(*args, **options)

        Result.of_detections = note  # type: ignore[method-assign]

    bench.glip(
        *("predict", f"--weights={bench.trained}", "--prompt=cat.", f"--image={folder}"),
        f"--output={place / 'out'}",
        before=patch,
        seconds=600,
    ).done()
    found = json.loads(newest(place, "predictions.json").read_text())
    entries = found if isinstance(found, list) else found.get("images", found)
    return f"{_flat(*map(float, file.read_text().split()))}, {len(entries)} records"


def _flat(early: float, late: float) -> str:
    told = f"{early:.0f} MB, then {late:.0f} MB"
    expect(late - early < MOST, told)
    return told


@contextmanager
def peak(bench: Bench) -> Iterator[tuple[Callable[[], None], Callable[[], str]]]:
    """Yield what notes the most memory that a command needs, and what tells it afterwards."""
    file = bench.fresh() / "peak"

    def before() -> None:
        def note() -> None:
            own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
            file.write_text(f"{own - start:.0f} MB")

        start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
        AT_END.append(note)

    yield before, lambda: f"{file.read_text()} more than at the start"
