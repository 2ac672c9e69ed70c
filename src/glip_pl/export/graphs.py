"""The three graphs of an exported model: image to levels, caption to tokens, both to scores.

They are the three public steps of `GLIP`, with tensors for arguments. An image is encoded once for
many prompts and a prompt once for many images, in every runtime as here; the vocabulary stays an
input. Each graph becomes an `ExportedProgram`, which every format starts from.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from glip_pl.export.same_padding import with_fixed_padding
from glip_pl.fusion import PyramidFeatures, TextFeatures
from glip_pl.model import GLIP
from glip_pl.prompts.tokens import TokenBatch
from glip_pl.system.image_size import PAD_MULTIPLE

# What a graph is traced with. Sizes of one would be taken for constants, so that the coarsest of
# all levels still has two cells along each side.
_BATCH, _HEIGHT, _WIDTH, _TOKENS = 3, 416, 544, 7


class ImageGraph(nn.Module):
    """`GLIP.encode_image`: images and mask to the levels of the pyramid."""

    def __init__(self, model: GLIP) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor, mask: Tensor) -> tuple[Tensor, ...]:
        """Encode images, uint8 [B, 3, H, W], of which [B, H, W] is real.

        Both sides are multiples of the padding, as `collate` and the runtime make them.
        """
        # Said to the tracer in this way: its terms for the sizes of coarser maps stay short.
        for axis in (-2, -1):
            whole = images.shape[axis] // PAD_MULTIPLE * PAD_MULTIPLE
            images, mask = images.narrow(axis, 0, whole), mask.narrow(axis, 0, whole)
        return self.model.encode_image(images, mask).levels


class TextGraph(nn.Module):
    """`GLIP.encode_text`: token ids and mask to token features."""

    def __init__(self, model: GLIP) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: Tensor, text_mask: Tensor) -> Tensor:
        """Encode token ids [B, M] as [B, M, d_text]."""
        # No encoder looks at the characters behind its tokens.
        return self.model.encode_text(TokenBatch(ids, text_mask, ids[..., None])).hidden


class GroundGraph(nn.Module):
    """`GLIP.ground`: levels and token features to scores and boxes."""

    def __init__(self, model: GLIP, strides: tuple[int, ...]) -> None:
        super().__init__()
        self.model = model
        self.strides = strides

    def forward(
        self, levels: tuple[Tensor, ...], mask: Tensor, hidden: Tensor, text_mask: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Compare; boxes are pixels of the padded input.

        Returns:
            Logits [B, N, M], boxes [B, N, 4], centerness [B, N], and how many of the N regions each
            pyramid level holds.
        """
        image = PyramidFeatures(levels, self.strides, mask)
        output = self.model.ground(image, TextFeatures(hidden, text_mask))
        if output.centerness is None:
            raise ValueError(
                f"the plugin {type(self.model.fusion).__name__} has no centerness, and cannot be "
                "exported yet; export a model with late, deep or query fusion"
            )
        sizes = torch.stack([torch.scalar_tensor(n, dtype=torch.long) for n in output.level_sizes])
        return output.logits, output.boxes, output.centerness, sizes


@dataclass(frozen=True)
class Graph:
    """A graph that is ready for every format.

    Attributes:
        name: "image", "text" or "ground".
        program: The traced graph.
        inputs: Names of the inputs, in order.
        outputs: Names of the outputs, in order.
    """

    name: str
    program: ExportedProgram
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@torch.no_grad()
def trace(model: GLIP) -> tuple[Graph, Graph, Graph]:
    """Trace the graphs of image, text and grounding, with every size dynamic.

    Args:
        model: In evaluation mode, in fp32 on a CPU.
    """
    images = torch.zeros(_BATCH, 3, _HEIGHT, _WIDTH, dtype=torch.uint8)
    mask = torch.ones(_BATCH, _HEIGHT, _WIDTH, dtype=torch.bool)
    ids = torch.ones(_BATCH, _TOKENS, dtype=torch.long)
    text_mask = torch.ones(_BATCH, _TOKENS, dtype=torch.bool)
    image = model.encode_image(images, mask)
    hidden = model.encode_text(TokenBatch(ids, text_mask, ids[..., None])).hidden
    # A runtime hands over plain memory; the strides of these maps would become part of the graph.
    levels = tuple(level.contiguous() for level in image.levels)
    names = tuple(f"level_{k}" for k in range(len(levels)))
    d = Dim.DYNAMIC
    pixels, pixel_mask, per_token = {0: d, 2: d, 3: d}, {0: d, 1: d, 2: d}, {0: d, 1: d}
    return (
        Graph(
            "image",
            _export(ImageGraph(with_fixed_padding(model)), (images, mask), (pixels, pixel_mask)),
            ("images", "mask"),
            names,
        ),
        Graph(
            "text",
            _export(TextGraph(model), (ids, text_mask), (per_token, per_token)),
            ("ids", "text_mask"),
            ("hidden",),
        ),
        Graph(
            "ground",
            _export(
                GroundGraph(model, image.strides),
                (levels, mask, hidden, text_mask),
                ((pixels,) * len(names), pixel_mask, per_token, per_token),
            ),
            (*names, "mask", "hidden", "text_mask"),
            ("logits", "boxes", "centerness", "level_sizes"),
        ),
    )


def _export(
    graph: nn.Module, inputs: tuple[object, ...], dynamic: tuple[object, ...]
) -> ExportedProgram:
    """Trace a graph; how sizes depend on each other is left to the one who calls it."""
    return torch.export.export(
        graph,
        inputs,
        dynamic_shapes=dynamic,
        strict=False,
        prefer_deferred_runtime_asserts_over_guards=True,
    )
