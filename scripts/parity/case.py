"""A case of reference values, and what a check says of it."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Stage:
    """How far one stage of a case is from the reference.

    Attributes:
        name: What was compared.
        deviation: The largest absolute difference, or a count of things that differ.
        tolerance: What is allowed.
    """

    name: str
    deviation: float
    tolerance: float

    @property
    def passed(self) -> bool:
        """Whether the deviation is a number, and small enough."""
        return self.deviation <= self.tolerance


@dataclass(frozen=True)
class Case:
    """A reference file: its JSON, and its arrays where it has some.

    A case may lack some of the arrays that its check knows; then these stages are left out.
    """

    path: Path

    @cached_property
    def facts(self) -> dict[str, Any]:
        """What the JSON says."""
        facts: dict[str, Any] = json.loads(self.path.read_text())
        return facts

    @cached_property
    def arrays(self) -> dict[str, Tensor]:
        """The arrays of the file beside it, or those written into the JSON as numbers."""
        if "values" in self.facts:
            return {name: torch.tensor(value) for name, value in self.facts["values"].items()}
        if not self.path.with_suffix(".npz").is_file():
            return {}
        with np.load(self.path.with_suffix(".npz")) as arrays:
            return {key: torch.from_numpy(arrays[key]) for key in arrays.files}

    def compare(self, name: str, ours: Tensor, *, atol: float | None = None) -> Stage:
        """Compare a tensor with the array of a name.

        Without a tolerance, 1e-4 of the largest reference value is allowed.
        """
        return compare(name, ours, self.arrays[name], atol=atol)


def compare(name: str, ours: Tensor, reference: Tensor, *, atol: float | None = None) -> Stage:
    """Compare two tensors by their largest difference; unlike shapes are infinitely far apart."""
    if ours.shape != reference.shape:
        return Stage(f"{name} {list(ours.shape)} not {list(reference.shape)}", float("inf"), 0.0)
    if not reference.numel():
        return Stage(name, 0.0, 0.0)
    reference = reference.double()
    tolerance = 1e-4 * float(reference.abs().max()) if atol is None else atol
    return Stage(name, float((ours.detach().double() - reference).abs().max()), tolerance)


def differing(name: str, pairs: Iterator[tuple[object, object]]) -> Stage:
    """Count the pairs that are not equal; none may be."""
    return Stage(name, float(sum(ours != reference for ours, reference in pairs)), 0.0)
