"""What this process computes on."""

import os
import platform
from pathlib import Path

import torch


def choose_device(asked: str) -> torch.device:
    """Take the device that was asked for; "auto" takes a GPU where there is one.

    Raises:
        ValueError: There is no such device here.
    """
    if asked == "auto":
        asked = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(asked)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"there is no device {asked!r} here ({reason}); pass --device=cpu, or leave it out"
        ) from error
    return device


def device_name(device: torch.device) -> str:
    """Return in words which GPU or processor a device is."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cpus = Path("/proc/cpuinfo")
    lines = cpus.read_text().splitlines() if cpus.is_file() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def free_cores() -> int:
    """Count the cores that this process may run on."""
    held = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    return (os.cpu_count() or 1) if held is None else len(held)
