"""Faults of machines, runs and inputs, injected one by one; see `scripts/inject_faults.py`."""

from faults import resume
from faults.bench import FAULTS

__all__ = ["FAULTS", "resume"]
