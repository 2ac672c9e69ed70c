"""Reference arrays of official GLIP, and the recipe that rebuilds their weights from names."""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

FOLDER = Path(__file__).parents[2] / "shared" / "reference" / "golden"

# The first pattern found in a key decides. "affine": a + b n; "fan": b n / sqrt(fan_in).
RULES = (
    (r"relative_position_bias_table$", ("affine", 0.0, 0.5)),
    (r"\.bias0$", ("affine", -2.5, 0.1)),
    (r"\.bias_lang$", ("affine", 0.0, 0.5)),
    (r"log_scale$", ("affine", 0.0, 0.1)),
    (r"\.scales\.\d+\.scale$", ("affine", 1.0, 0.1)),
    (r"\.gamma_v$", ("affine", 0.30, 0.05)),
    (r"\.gamma_l$", ("affine", 0.15, 0.03)),
    (r"\.relu\.fc\.2\.bias$", ("affine", 0.0, 1.0)),
    (r"\.offset\.bias$", ("affine", 0.0, 0.3)),
    (r"\.DyConv\.\d\.bn\.weight$", ("affine", 2.0, 0.2)),
    (r"\.AttnConv\.1\.weight$", ("fan", 0.0, 4.0)),
    (r"\.attention\.output\.dense\.weight$", ("fan", 0.0, 0.3)),
    (r"\.attention\.self\.(query|key)\.weight$", ("fan", 0.0, 1.5)),
    (r"\.attn\.[vl]_proj\.weight$", ("fan", 0.0, 1.5)),
    (r"\.dot_product_projection_text\.weight$", ("fan", 0.0, 12.0)),
    (r"\.bbox_pred\.weight$", ("fan", 0.0, 2.0)),
)


def recipe_tensor(key: str, shape: tuple[int, ...]) -> Tensor:
    """The weight that the reference arrays were made with, from its official key."""
    seed = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "little")
    noise = np.random.Generator(np.random.PCG64(seed)).standard_normal(shape)
    kind, start, factor = next(
        (rule for pattern, rule in RULES if re.search(pattern, key)), _default_rule(key, shape)
    )
    if kind == "fan":
        factor /= np.sqrt(np.prod(shape[1:]))
    return torch.from_numpy(np.asarray(start + factor * noise, dtype=np.float32))


def _default_rule(key: str, shape: tuple[int, ...]) -> tuple[str, float, float]:
    if len(shape) >= 2:
        return "fan", 0.0, 1.0
    return ("affine", 1.0, 0.1) if key.endswith("weight") else ("affine", 0.0, 0.05)


def load_recipe(module: nn.Module, prefix: str, official: Mapping[str, str]) -> None:
    """Fill a module with recipe weights; `official` maps our module paths to official ones."""
    state = {}
    for name, value in module.state_dict().items():
        ours = max((path for path in official if name.startswith(path)), key=len)
        key = prefix + official[ours] + name.removeprefix(ours)
        state[name] = recipe_tensor(key, tuple(value.shape))
    module.load_state_dict(state)


def golden(name: str) -> dict[str, Tensor]:
    """The arrays of one reference file; skips the test where the reference is not at hand."""
    path = FOLDER / f"{name}.npz"
    if not path.exists():
        pytest.skip(f"the reference arrays {path} are not beside this repository")
    with np.load(path) as arrays:
        return {key: torch.from_numpy(arrays[key]) for key in arrays.files}
