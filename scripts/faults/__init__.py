"""Faults of machines, runs and inputs, injected one by one; see `scripts/inject_faults.py`."""

from faults import cluster, inputs, loaders, memory, resume, runs, sets
from faults.bench import FAULTS

__all__ = ["FAULTS", "cluster", "inputs", "loaders", "memory", "resume", "runs", "sets"]
