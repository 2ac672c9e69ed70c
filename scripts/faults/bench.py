"""What every fault needs: commands in processes of their own, and what came of them.

Commands run in forks of one process that has imported everything, so that a fault takes seconds.
"""

import os
import re
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from multiprocessing.util import _exit_function as end_children
from pathlib import Path
from typing import NamedTuple

from faults.made_up import write_set

_SHORT = 150  # Characters of a message in the table.


class NotSurvivedError(Exception):
    """What happened in the place of what should have."""


class Fault(NamedTuple):
    """One thing that may go wrong.

    Attributes:
        how: How it is injected.
        inject: Does so on a bench, and returns what happened.
    """

    how: str
    inject: Callable[["Bench"], str]


FAULTS: dict[str, Fault] = {}
# What a command's process does last, whatever ended the command.
AT_END: list[Callable[[], object]] = []


def fault(how: str) -> Callable[[Callable[["Bench"], str]], Callable[["Bench"], str]]:
    """Add a function to the faults, under its name."""

    def register(inject: Callable[["Bench"], str]) -> Callable[["Bench"], str]:
        FAULTS[inject.__name__] = Fault(how, inject)
        return inject

    return register


def expect(condition: object, otherwise: str) -> None:
    """Refuse what should not have happened."""
    if not condition:
        raise NotSurvivedError(otherwise[-1000:])


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit status, and all that it wrote."""

    status: int | None
    said: str

    @property
    def message(self) -> str:
        """The line of ours that says what was wrong, and what to do."""
        found = re.findall(r"^glip: error: (.*)", self.said, re.MULTILINE)
        text = found[-1] if found else (self.said.strip().splitlines() or [""])[-1]
        text = re.sub(r"/\S*/(?=[^/\s])", "", text)
        return text if len(text) <= _SHORT else f"{text[:_SHORT]}..."

    def refused(self, pattern: str = "") -> str:
        """Expect one message and no traceback, and return the message."""
        whole = f"exit {self.status}: {self.said}"
        expect(self.status == 2 and "Traceback" not in self.said, whole)
        expect(re.search(pattern, self.said, re.DOTALL), whole)
        return f"refused: {self.message}"

    def failed(self, pattern: str) -> str:
        """Expect a message of ours after the traceback of a library, and return it."""
        tail = "\n".join(self.said.strip().splitlines()[-3:])
        whole = f"exit {self.status}: {self.said}"
        expect(self.status == 1 and "glip: error: " in tail, whole)
        expect(re.search(pattern, tail, re.DOTALL), whole)
        return f"ended: {self.message}"

    def done(self, pattern: str = "", status: int = 0) -> "Ended":
        """Expect an exit status, and something said."""
        whole = f"exit {self.status}: {self.said}"
        expect(self.status == status and "Traceback" not in self.said, whole)
        expect(re.search(pattern, self.said, re.DOTALL), whole)
        return self


@dataclass
class Bench:
    """A folder to try faults in."""

    folder: Path
    _count: int = field(default=0, repr=False)

    def fresh(self) -> Path:
        """Make a new empty folder."""
        self._count += 1
        place = self.folder / f"{self._count:03d}"
        place.mkdir(parents=True)
        return place

    @cached_property
    def data(self) -> Path:
        """A set of 24 images to train and validate on."""
        return write_set(self.fresh(), 24)

    @cached_property
    def trained(self) -> Path:
        """The checkpoint of a run of six steps."""
        place = self.fresh()
        self.glip(*self.fit(place), "--trainer.max_epochs=1").done()
        return newest(place, "last.ckpt")

    def fit(self, place: Path, root: Path | None = None) -> list[str]:
        """Return a command that trains two epochs of six steps into a folder."""
        return [
            *("fit", "--model=tiny", "--fusion=late", "--data=coco_folder"),
            *(f"--data.root={root or self.data}", "--data.batch_size=4", "--model.num_layers=1"),
            *("--data.train_transform.short_sides=[64]", "--data.eval_transform.short_sides=[64]"),
            *("--trainer.max_epochs=2", f"--trainer.logger.init_args.save_dir={place}"),
        ]

    def glip(
        self,
        *args: str,
        before: Callable[[], object] = lambda: None,
        watch: Callable[[int], object] = lambda pid: None,
        seconds: float = 120,
        cwd: Path | None = None,
    ) -> Ended:
        """Run a command to its end.

        Args:
            args: As typed.
            before: Done in the command's process, before it starts.
            watch: Called with the number of the process from time to time.
            seconds: After so many it counts as hanging.
            cwd: Where it runs; by default a new folder.
        """
        from glip_pl.cli import main

        place = cwd or self.fresh()

        def command() -> None:
            os.chdir(place)
            sys.argv[:] = [str(Path(sys.executable).with_name("glip")), *args]
            before()
            main(list(args))

        return run(command, watch=watch, seconds=seconds)


def run(
    command: Callable[[], object],
    *,
    watch: Callable[[int], object] = lambda pid: None,
    seconds: float = 120,
) -> Ended:
    """Run a function in a process of its own; see `Bench.glip`."""
    (ended,) = run_together([command], watch=watch, seconds=seconds)
    return ended


def run_together(
    commands: Sequence[Callable[[], object]],
    *,
    watch: Callable[[int], object] = lambda pid: None,
    seconds: float = 120,
) -> list[Ended]:
    """Run functions side by side, each in a process of its own."""
    files = [tempfile.TemporaryFile() for _ in commands]
    pids = [_start(command, file) for command, file in zip(commands, files, strict=True)]
    ended: dict[int, int | None] = {}
    end = time.monotonic() + seconds
    while len(ended) < len(pids):
        for pid in set(pids) - set(ended):
            watch(pid)
            if not _is_over(pid, ended) and time.monotonic() > end:
                os.killpg(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                ended[pid] = None
        time.sleep(0.02)
    said = []
    for file in files:
        file.seek(0)
        said.append(file.read().decode(errors="replace"))
    return [Ended(ended[pid], text) for pid, text in zip(pids, said, strict=True)]


def _is_over(pid: int, ended: dict[int, int | None]) -> bool:
    found, status = os.waitpid(pid, os.WNOHANG)
    if found:
        ended[pid] = os.waitstatus_to_exitcode(status)
    return bool(found)


def _start(command: Callable[[], object], file: object) -> int:
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        return pid
    os.setsid()
    os.dup2(file.fileno(), 1)  # type: ignore[attr-defined]
    os.dup2(file.fileno(), 2)  # type: ignore[attr-defined]
    status = 1
    try:
        command()
        status = 0
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        traceback.print_exc()
    for action in AT_END:
        action()
    sys.stdout.flush()
    sys.stderr.flush()
    end_children()
    os._exit(status)


def newest(place: Path, name: str) -> Path:
    """Find the newest file of a name below a folder."""
    found = sorted(place.rglob(name), key=lambda path: path.stat().st_mtime_ns)
    expect(found, f"there is no {name}")
    return found[-1]
