"""What this process computes on."""

import os
import platform
import subprocess
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


def matrix_units(device: torch.device) -> str:
    """Return in words what a device computes matrix products with: "AVX512, AMX", or "sm_90"."""
    if device.type == "cuda":
        return "sm_{}{}".format(*torch.cuda.get_device_capability(device))
    capability = torch.backends.cpu.get_cpu_capability()  # type: ignore[no-untyped-call]
    more = {"AMX": "_is_amx_tile_supported", "bf16": "_is_avx512_bf16_supported"}
    # An older PyTorch has not all of these.
    units = [name for name, asks in more.items() if getattr(torch.cpu, asks, bool)()]
    return ", ".join([str(capability), *units])


def commit_of(path: Path) -> str:
    """Return the commit that a file or folder of a git checkout is of, and "" elsewhere.

    A "+" after it says that files differ from it.
    """
    folder = path if path.is_dir() else path.parent
    git = ["git", "-C", str(folder)]
    try:
        commit = _said([*git, "rev-parse", "--short=10", "HEAD"])
        changed = _said([*git, "status", "--porcelain", "--untracked-files=no"])
    except (OSError, subprocess.CalledProcessError):
        return ""
    return commit + ("+" if changed else "")


def _said(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def free_cores() -> int:
    """Count the cores that this process may run on: its share, beside others of torchrun."""
    held = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    cores = (os.cpu_count() or 1) if held is None else len(held)
    return max(cores // int(os.environ.get("LOCAL_WORLD_SIZE") or 1), 1)
