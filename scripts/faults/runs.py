"""Faults that end a training run, or would spoil what it has learned."""

import errno
import os
import resource
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from faults.bench import Bench, expect, fault, newest
from faults.made_up import write_set
from glip_pl.training.checkpoint_io import SafeCheckpointIO
from glip_pl.training.task import GroundingTask


def at_step(step: int, action: Callable[[], object]) -> Callable[[], None]:
    """Return what lets a run do something before a step."""

    def patch() -> None:
        start: Any = GroundingTask.on_train_batch_start

        def start_and_act(task: Any, *args: Any) -> Any:
            if task.trainer.global_step == step:
                action()
            return start(task, *args)

        GroundingTask.on_train_batch_start = start_and_act  # type: ignore[method-assign]

    return patch


def send(number: int) -> Callable[[], None]:
    """Return what sends this process a signal."""
    return lambda: os.kill(os.getpid(), number)


def resumed(bench: Bench, place: Path, *options: str, steps: int = 12) -> str:
    """Resume a run from its last checkpoint, and expect it to end as it should."""
    last = newest(place, "last.ckpt")
    bench.glip(*bench.fit(place), f"--ckpt_path={last}", *options).done()
    done = torch.load(newest(place, "last.ckpt"), weights_only=True)["global_step"]
    expect(done == steps, f"the resumed run ended after {done} steps")
    return f"resumed from last.ckpt, {done} steps in all"


@fault("SIGTERM in step 3")
def sigterm(bench: Bench) -> str:
    """Stop as a job scheduler does."""
    place = bench.fresh()
    bench.glip(*bench.fit(place), before=at_step(2, send(signal.SIGTERM))).done(
        r"signal 15 ended the run after 3 steps; resume it with", status=143
    )
    return f"exit 143 with last.ckpt; {resumed(bench, place)}"


@fault("Ctrl-C (SIGINT) in step 3")
def ctrl_c(bench: Bench) -> str:
    """Stop as a person does."""
    place = bench.fresh()
    bench.glip(*bench.fit(place), before=at_step(2, send(signal.SIGINT))).done(
        "Ctrl-C again stops at once", status=130
    )
    return f"exit 130 with last.ckpt; {resumed(bench, place)}"


@fault("SIGKILL in the second epoch")
def sigkill(bench: Bench) -> str:
    """End as by a power cut."""
    place = bench.fresh()
    ended = bench.glip(*bench.fit(place), before=at_step(8, send(signal.SIGKILL)))
    expect(ended.status == -signal.SIGKILL, str(ended))
    return resumed(bench, place)


@fault("SIGKILL while last.ckpt is written a second time")
def killed_while_a_checkpoint_is_written(bench: Bench) -> str:
    """End between two halves of a file."""
    place, syncs = bench.fresh(), list[int]()

    def patch() -> None:
        sync = os.fsync

        def sync_or_die(number: int) -> None:
            syncs.append(number)
            if len(syncs) > 2:
                os.kill(os.getpid(), signal.SIGKILL)
            sync(number)

        os.fsync = sync_or_die

    ended = bench.glip(*bench.fit(place), before=patch)
    expect(ended.status == -signal.SIGKILL, str(ended))
    return f"the file of before is whole; {resumed(bench, place)}"


@fault("no more bytes may be written after the first checkpoint (RLIMIT_FSIZE)")
def full_disk(bench: Bench) -> str:
    """Run out of disk."""
    place = bench.fresh()

    def patch() -> None:
        save: Any = SafeCheckpointIO.save_checkpoint

        def save_then_fill(*args: Any, **options: Any) -> None:
            save(*args, **options)
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

        SafeCheckpointIO.save_checkpoint = save_then_fill  # type: ignore[method-assign]

    ended = bench.glip(*bench.fit(place), before=patch)
    # TensorBoard's own thread writes a traceback before.
    last = ended.said.strip().splitlines()[-1]
    expect(ended.status == 2 and "make room" in ended.message, f"{ended.status}: {last}")
    return f"ended: {ended.message}; {resumed(bench, place)}"


@fault("the runs' folder lies in a file")
def nowhere_to_write(bench: Bench) -> str:
    """Name a folder that cannot be."""
    file = bench.fresh() / "file"
    file.touch()
    return bench.glip(*bench.fit(file / "runs")).refused(os.strerror(errno.ENOTDIR))


def _spoil(*steps: int) -> Callable[[], None]:
    def patch() -> None:
        def spoil(task: Any) -> None:
            if task.trainer.global_step in steps:
                task.model.head.token_bias.grad[0] = torch.nan

        GroundingTask.on_after_backward = spoil  # type: ignore[method-assign]

    return patch


@fault("a gradient of NaN in step 3")
def nan_step(bench: Bench) -> str:
    """Spoil one step."""
    place = bench.fresh()
    bench.glip(*bench.fit(place), before=_spoil(2)).done("step 2 has a loss or gradient that is")
    newest(place, "step2-process0.pt")
    return f"skipped, its batch kept; {_finite(place)}"


@fault("a gradient of NaN in every step from the third on")
def nan_for_good(bench: Bench) -> str:
    """Spoil all steps."""
    place = bench.fresh()
    said = bench.glip(*bench.fit(place), before=_spoil(*range(2, 9))).refused("3 steps in a row")
    return f"{said}; {_finite(place)}"


def _finite(place: Path) -> str:
    state = torch.load(newest(place, "last.ckpt"), weights_only=True)["state_dict"]
    whole = all(v.isfinite().all() for v in state.values() if v.is_floating_point())
    expect(whole, "weights are not finite")
    return "last.ckpt is finite"


@fault("a validation image cut off at half its length")
def truncated_validation_image(bench: Bench) -> str:
    """Break the data before a run."""
    root = write_set(bench.fresh(), 24)
    path = root / "images/7.png"
    path.write_bytes(path.read_bytes()[:3000])
    said = bench.glip(*bench.fit(bench.fresh(), root)).done()
    expect("1 left out: truncated image file (7.png)" in said.said, "it was not told")
    bench.glip(*bench.fit(bench.fresh(), root), "--data.strict=true").refused(r"7\.png")
    return "left out of the validation and told before the first step; refused by --data.strict"


@fault("a validation image that breaks off during the first epoch")
def image_that_breaks_later(bench: Bench) -> str:
    """Break the data during a run."""
    root, place = write_set(bench.fresh(), 24), bench.fresh()
    path = root / "images/7.png"
    whole = path.read_bytes()
    breaking = at_step(5, lambda: path.write_bytes(whole[:3000]))
    said = bench.glip(*bench.fit(place, root), before=breaking).refused(r"7\.png")
    path.write_bytes(whole)
    return f"{said}; {resumed(bench, place, f'--data.root={root}')}"


@fault("--ckpt_path=last where nothing was trained, for fit and test")
def nothing_to_resume(bench: Bench) -> str:
    """Ask for what is not there."""
    place = bench.fresh()
    bench.glip(*bench.fit(place), "--ckpt_path=last").refused("no run in")
    return bench.glip("test", *bench.fit(place)[3:5], "--ckpt_path=last").refused("no run in")


@fault("a resume on data of other names")
def another_vocabulary(bench: Bench) -> str:
    """Mix up two runs."""
    root = write_set(bench.fresh(), 24, ["lorry", "van"])
    return bench.glip(*bench.fit(bench.fresh(), root), f"--ckpt_path={bench.trained}").refused(
        r"--new=\[vocabulary\]"
    )


@fault("a resume with --model.optimizer.lr of another run")
def overridden_option(bench: Bench) -> str:
    """Ask for what the checkpoint decides."""
    ended = bench.glip(
        *bench.fit(bench.fresh()), f"--ckpt_path={bench.trained}", "--model.optimizer.lr=0.5"
    )
    ended.done(r"have no effect.*--model\.optimizer\.lr=0\.5")
    return "told that it has no effect"
