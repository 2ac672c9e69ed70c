"""Faults of machines, runs and inputs, injected one by one; see `scripts/inject_faults.py`."""

from faults import cluster, downloads, inputs, loaders, memory, outputs, resume, runs, sets, weights
from faults.bench import FAULTS

__all__ = [
    "FAULTS",
    "cluster",
    "downloads",
    "inputs",
    "loaders",
    "memory",
    "outputs",
    "resume",
    "runs",
    "sets",
    "weights",
]
