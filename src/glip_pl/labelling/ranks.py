"""Which of several processes this one is, by torchrun, SLURM or the user's word."""

import os
from collections.abc import Mapping


def rank_and_world(
    rank: int | None, world: int | None, environment: Mapping[str, str] = os.environ
) -> tuple[int, int]:
    """Find out this process's number and how many there are.

    Args:
        rank: What the user says, else None.
        world: Likewise.
        environment: Variables of torchrun (RANK, WORLD_SIZE), of SLURM's arrays
            (SLURM_ARRAY_TASK_ID, ...) and steps (SLURM_PROCID, SLURM_NTASKS).

    Raises:
        ValueError: The number is not below the count.
    """
    if rank is None and world is None:
        rank, world = _of_environment(environment)
    if rank is None or world is None or not 0 <= rank < world:
        raise ValueError(
            f"rank={rank} of world={world} is no place among processes; give both, the rank from 0 "
            "to world - 1"
        )
    return rank, world


def local_device(device: str, environment: Mapping[str, str] = os.environ) -> str:
    """Choose a GPU of its own for each process of a machine, where "auto" was asked for."""
    place = environment.get("LOCAL_RANK") or environment.get("SLURM_LOCALID")
    if device != "auto" or place is None:
        return device
    import torch  # The rest of this module does without.

    count = torch.cuda.device_count()
    return f"cuda:{int(place) % count}" if count else device


def _of_environment(environment: Mapping[str, str]) -> tuple[int, int]:
    def number(name: str, default: int) -> int:
        value = environment.get(name, "")
        return int(value) if value.isdigit() else default

    if "RANK" in environment and "WORLD_SIZE" in environment:
        return number("RANK", 0), number("WORLD_SIZE", 1)
    steps = number("SLURM_NTASKS", 1) if "SLURM_PROCID" in environment else 1
    arrays = number("SLURM_ARRAY_TASK_COUNT", 1)
    step = number("SLURM_ARRAY_TASK_STEP", 1) or 1
    first = number("SLURM_ARRAY_TASK_MIN", 0)
    place = (number("SLURM_ARRAY_TASK_ID", first) - first) // step
    return place * steps + number("SLURM_PROCID", 0), arrays * steps
