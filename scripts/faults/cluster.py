"""Runs of two processes that another program starts: SLURM with its warning, FSDP2."""

import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import torch

from faults.bench import Bench, Ended, expect, fault, newest, run_together
from faults.loaders import GLOO
from faults.runs import at_step, send


def together(
    args: list[str],
    place: Path,
    environment: Callable[[int], dict[str, str]],
    before: Callable[[int], Callable[[], object]] = lambda rank: lambda: None,
) -> list[Ended]:
    """Run a command in two processes, each with variables of its own."""
    from glip_pl.cli import main

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])

    def process(rank: int) -> Callable[[], None]:
        def train() -> None:
            os.chdir(place)
            os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=port, **environment(rank))
            before(rank)()
            main(args)

        return train

    return run_together([process(rank) for rank in range(2)], seconds=200)


def by_hand(rank: int) -> dict[str, str]:
    """Return the variables by which Lightning knows that it need not start processes."""
    return {"LOCAL_RANK": str(rank), "NODE_RANK": "0", "WORLD_SIZE": "2"}


@fault("SLURM's warning (SIGUSR1) to one of two gloo processes, with a made-up scontrol")
def slurm_warning(bench: Bench) -> str:
    """Come to the end of a job's time."""
    place, programs = bench.fresh(), bench.fresh()
    asked = programs / "asked"
    (programs / "scontrol").write_text(f'#!/bin/sh\necho "$@" >> {asked}\n')
    (programs / "scontrol").chmod(0o755)

    def job(rank: int) -> dict[str, str]:
        return {
            "PATH": f"{programs}:{os.environ['PATH']}",
            "SLURM_JOB_ID": "77",
            "SLURM_JOB_NAME": "train",
            "SLURM_NTASKS": "2",
            "SLURM_NTASKS_PER_NODE": "2",
            "SLURM_JOB_NUM_NODES": "1",
            "SLURM_NODELIST": "localhost",
            "SLURM_PROCID": str(rank),
            "SLURM_LOCALID": str(rank),
            "SLURM_NODEID": "0",
        }

    args = [*bench.fit(place), *GLOO, f"--trainer.default_root_dir={place}"]
    warning = at_step(2, send(signal.SIGUSR1))
    ended = together(args, place, job, lambda rank: warning if rank else lambda: None)
    expect([one.status for one in ended] == [128 + signal.SIGUSR1] * 2, str(ended))
    expect(asked.read_text().strip() == "requeue 77", asked.read_text())
    newest(place, "hpc_ckpt_*.ckpt")
    anew = place / "anew"
    began = at_step(0, anew.touch)
    again = together(args, place, job, lambda rank: began)
    expect([one.status for one in again] == [0, 0], str(again))
    expect(not anew.exists(), "the job began anew")
    done = torch.load(newest(place, "last.ckpt"), weights_only=True)["global_step"]
    expect(done == 6, f"{done} steps")
    return "saved, requeued by scontrol; the job started again goes on at step 3 and ends at 6"


@fault("the same run by DDP and by FSDP2, two gloo processes; resumed by either")
def sharded_run(bench: Bench) -> str:
    """Deal a model out, and compare."""
    states = []
    for recipe in ("ddp", "fsdp2"):
        place = bench.fresh()
        args = [*bench.fit(place), *GLOO[1:], f"--recipe={recipe}"]
        ended = together(args, place, by_hand)
        expect([one.status for one in ended] == [0, 0], str(ended))
        path = newest(place, "last.ckpt")
        states.append(torch.load(path, weights_only=True)["state_dict"])
    one, other = states
    apart = max(float((one[name].double() - other[name].double()).abs().max()) for name in one)
    expect(apart < 1e-5, f"weights differ by {apart}")
    for recipe in ("ddp", "fsdp2"):
        args = [*bench.fit(place), *GLOO[1:], f"--recipe={recipe}", f"--ckpt_path={path}"]
        again = together([*args, "--trainer.max_epochs=3"], place, by_hand)
        expect([one.status for one in again] == [0, 0], str(again))
    return f"weights within {apart:.1e}; the checkpoint of FSDP2 is resumed by both"
