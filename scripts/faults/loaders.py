"""Faults of loader processes, and of processes that train together."""

import ctypes
import os
import resource
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from faults.bench import Bench, expect, fault

_NEW_MOUNTS = 0x00020000  # CLONE_NEWNS of unshare.
WORKERS = ("--data.num_workers=2", "--trainer.max_epochs=30")
GLOO = (
    "--recipe=ddp",
    "--trainer.accelerator=cpu",
    "--trainer.strategy.process_group_backend=gloo",
)


def small_disk(folder: str, kilobytes: int) -> Callable[[], None]:
    """Return what puts a small disk in the place of a folder, for this process alone."""

    def mount() -> None:
        if ctypes.CDLL("libc.so.6").unshare(_NEW_MOUNTS):
            raise PermissionError("a small /dev/shm takes the rights of root")
        subprocess.run(["mount", "--make-rprivate", "/"], check=True)
        size = f"size={kilobytes}k"
        subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", folder], check=True)

    return mount


@fault("/dev/shm of 32 kB, then of 200 kB, two workers")
def full_shared_memory(bench: Bench) -> str:
    """Run out of shared memory when workers start, and when they hand over a batch."""
    for size in (32, 200):
        ended = bench.glip(
            *bench.fit(bench.fresh()), *WORKERS, before=small_disk("/dev/shm", size), seconds=60
        )
        said = ended.failed("--shm-size")
    return said


@fault("ulimit -n 20, then 40 and 70, two workers")
def too_many_open_files(bench: Bench) -> str:
    """Run out of file handles at three moments."""
    for most in (20, 40, 70):

        def limit(most: int = most) -> None:
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

        ended = bench.glip(*bench.fit(bench.fresh()), *WORKERS, before=limit, seconds=60)
        said = ended.failed("ulimit -n")
    return said


@fault("SIGKILL of one of two workers")
def killed_worker(bench: Bench) -> str:
    """Lose a worker, as to the system's hunt for memory."""
    place = bench.fresh()
    watch = _Killer(_children, signal.SIGKILL, wait=0.5, at_least=2)
    ended = bench.glip(*bench.fit(place), *WORKERS, watch=watch, seconds=120)
    return ended.failed("a loader process (was killed|ended)")


@fault("SIGKILL of the second of two gloo processes, in training")
def killed_rank(bench: Bench) -> str:
    """Lose a process of several."""
    place = bench.fresh()
    watch = _Killer(lambda pid: _trained(place) and _ranks(pid), signal.SIGKILL)
    options = [*bench.fit(place), *GLOO, "--trainer.max_epochs=300"]
    ended = bench.glip(*options, watch=watch, seconds=200)
    said = ended.failed("another process of this run")
    expect("resume it with --ckpt_path=" in ended.said, ended.said)
    return said


@fault("SIGKILL of the second of two gloo processes, while it starts")
def rank_killed_at_the_start(bench: Bench) -> str:
    """Lose a process that the first one waits for."""
    watch = _Killer(_ranks, signal.SIGKILL)
    ended = bench.glip(*bench.fit(bench.fresh()), *GLOO, watch=watch, seconds=100)
    expect("was killed by signal 9, so that the others are ended" in ended.said, str(ended))
    return f"ended: {ended.message}"


@fault("SIGKILL of the first of two gloo processes, while the second waits for it")
def killed_first_rank(bench: Bench) -> str:
    """Lose the process that started the other."""
    started: list[int] = []

    def watch(pid: int) -> None:
        if not started and (children := _ranks(pid)):
            started.extend(children)
            os.kill(pid, signal.SIGKILL)

    bench.glip(*bench.fit(bench.fresh()), *GLOO, watch=watch, seconds=100)
    end = time.monotonic() + 90
    while time.monotonic() < end and any(Path(f"/proc/{pid}").exists() for pid in started):
        time.sleep(0.5)
    expect(not any(Path(f"/proc/{pid}").exists() for pid in started), "the second goes on waiting")
    return "the second ends by itself, after some seconds"


@fault("SIGTERM to both of two gloo processes")
def sigterm_of_two(bench: Bench) -> str:
    """Stop all processes, as a job scheduler does."""
    place = bench.fresh()

    def everyone(pid: int) -> list[int]:
        return [pid, *_ranks(pid)] if _trained(place) else []

    options = [*bench.fit(place), *GLOO, "--trainer.max_epochs=300"]
    ended = bench.glip(*options, watch=_Killer(everyone, signal.SIGTERM), seconds=200)
    expect(ended.status == 143, str(ended))
    last = resumed_alone(bench, place)
    return f"exit 143 with last.ckpt, which one process resumes ({last})"


def resumed_alone(bench: Bench, place: Path) -> str:
    """Resume a run of several processes by one, for a step."""
    import torch

    from faults.bench import newest

    last = newest(place, "last.ckpt")
    step = torch.load(last, weights_only=True)["global_step"] + 1
    ended = bench.glip(
        *bench.fit(place), f"--ckpt_path={last}", f"--trainer.max_steps={step}",
        "--trainer.max_epochs=-1",
    )  # fmt: skip
    ended.done("a step sees 4 images")
    return "told that a step sees 4 images, after 8"


class _Killer:
    """Sends a signal once to processes, so long after they are there."""

    def __init__(
        self,
        victims: Callable[[int], list[int] | bool],
        number: int,
        *,
        wait: float = 0.0,
        at_least: int = 1,
    ) -> None:
        self._victims, self._number = victims, number
        self._wait, self._at_least = wait, at_least
        self._since: float | None = None
        self._done = False

    def __call__(self, pid: int) -> None:
        if self._done:
            return
        victims = self._victims(pid) or []
        if isinstance(victims, bool) or len(victims) < self._at_least:
            return
        self._since = self._since or time.monotonic()
        if time.monotonic() - self._since < self._wait:
            return
        self._done = True
        chosen = victims[-1:] if self._number == signal.SIGKILL else victims
        for victim in chosen:
            os.kill(victim, self._number)


def _trained(place: Path) -> bool:
    return any(place.rglob("last.ckpt"))


def _children(pid: int) -> list[int]:
    """List the processes that one has started, by any of its threads."""
    found: list[int] = []
    for tasks in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += [int(child) for child in tasks.read_text().split()]
        except OSError:  # The thread has ended.
            continue
    return sorted(found)


def _ranks(pid: int) -> list[int]:
    """List the processes that one has started to train together."""
    return [child for child in _children(pid) if _has_rank(child)]


def _has_rank(pid: int) -> bool:
    try:
        return b"LOCAL_RANK=1" in Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False
