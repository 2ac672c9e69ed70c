"""The weights and images that the reference values were made with, rebuilt from names and seeds."""

import hashlib
import re

import numpy as np
import torch
from pytorch_lightning.cli import instantiate_module
from torch import Tensor

from glip_pl.training.from_weights import task_of
from glip_pl.training.task import GroundingTask
from glip_pl.weights import Weights
from glip_pl.weights.official.architecture import GLIP_L, GLIP_T, GLIP_T_A
from glip_pl.weights.official.conversion import from_official, to_official

MODELS = {"glip_t_a": GLIP_T_A, "glip_t": GLIP_T, "glip_l": GLIP_L}

# The first pattern found in a name decides. "affine": a + b n; "fan": b n / sqrt(fan_in).
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


def recipe_tensor(name: str, shape: tuple[int, ...]) -> Tensor:
    """Return the value of a parameter, from its official name and its shape."""
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
    noise = np.random.Generator(np.random.PCG64(seed)).standard_normal(shape)
    kind, start, factor = next(
        (rule for pattern, rule in RULES if re.search(pattern, name)), _default_rule(name, shape)
    )
    if kind == "fan":
        factor /= np.sqrt(np.prod(shape[1:]))
    return torch.from_numpy(np.asarray(start + factor * noise, dtype=np.float32))


def recipe_state(model: str) -> dict[str, Tensor]:
    """Make the official state dict of "glip_t_a", "glip_t" or "glip_l" by the recipe."""
    architecture = MODELS[model]
    with torch.device("meta"):
        empty = instantiate_module(GroundingTask, architecture.hyper_parameters()).model
    shapes = to_official(empty, deep=architecture.deep)
    return {
        name: value if _is_constant(name, value) else recipe_tensor(name, tuple(value.shape))
        for name, value in shapes.items()
    }


def recipe_task(model: str) -> GroundingTask:
    """Build the task of a model with the weights of the recipe, read by the converter."""
    architecture = MODELS[model]
    described = architecture.hyper_parameters()
    with torch.device("meta"):
        empty = instantiate_module(GroundingTask, described).model
    conversion = from_official(recipe_state(model), empty, deep=architecture.deep)
    return task_of(Weights(described, conversion.state)).eval()


def recipe_image(height: int, width: int, seed: int) -> np.ndarray:
    """Paint an image of waves and rectangles in integer arithmetic, uint8 [H, W, 3]."""
    y, x = np.mgrid[:height, :width].astype(np.int64)

    def triangle(u: np.ndarray, period: int) -> np.ndarray:
        return 255 * np.abs(u % (2 * period) - period) // period

    channels = []
    for c in range(3):
        first = triangle(5 * x + 3 * y + 37 * c + 11 * seed, 160)
        second = triangle(2 * x - 7 * y + 53 * c + 29 * seed, 211)
        third = triangle((x * y) // (9 + c) + 17 * seed, 97)
        channels.append((2 * first + second + third) // 4)
    image = np.stack(channels, axis=-1)
    state = 1000 + seed
    for _ in range(7):
        drawn = []
        for _ in range(7):
            state = (state * 1103515245 + 12345) % 2**31
            drawn.append((state >> 8) & 0xFFFF)
        box_width = width // 12 + drawn[2] % (width // 3)
        box_height = height // 12 + drawn[3] % (height // 3)
        left, top = drawn[0] % (width - box_width), drawn[1] % (height - box_height)
        place = (slice(top, top + box_height), slice(left, left + box_width))
        image[place] = (image[place] + 3 * np.array([v % 256 for v in drawn[4:7]])) // 4
    return image.astype(np.uint8)


def _default_rule(name: str, shape: tuple[int, ...]) -> tuple[str, float, float]:
    if len(shape) >= 2:
        return "fan", 0.0, 1.0
    return ("affine", 1.0, 0.1) if name.endswith("weight") else ("affine", 0.0, 0.05)


def _is_constant(name: str, value: Tensor) -> bool:
    return name.startswith("rpn.anchor_generator.") or not value.is_floating_point()
