"""Modulated deformable 3x3 convolution, fast on a CPU.

Every output position looks at nine *taps*; each tap is moved by a learned offset, read bilinearly
between its four *corners* and scaled by a modulation. See Deformable ConvNets v2
(https://arxiv.org/abs/1811.11168).

On a CPU, and elsewhere in half precision, feature maps become a *table* with one row per cell, so
that reading all taps of all maps is one weighted `embedding_bag` (four rows a tap) and the
convolution one matrix product. In float32 on a GPU torchvision's kernel does the same, map by map.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from glip_pl.layers.device import on_cpu
from glip_pl.layers.precision import at_least_fp32
from glip_pl.layers.table_convolution import (
    TAPS,
    gathered_convolution,
    table_convolution,
)


@dataclass(frozen=True)
class SampledMaps:
    """Maps made ready to be read by several deformable convolutions.

    Attributes:
        maps: Each [B, C, H_l, W_l].
        table: Their cells as rows [R, C], map by map and image by image, each with a ring of zero
            rows around it; None in float32 on a GPU.
    """

    maps: tuple[Tensor, ...]
    table: Tensor | None

    @classmethod
    def of(cls, maps: Sequence[Tensor]) -> "SampledMaps":
        """Prepare maps, [B, C, H, W] each; under autocast the table takes the autocast dtype."""
        if torch.compiler.is_exporting():  # Other runtimes know the convolution, not the table.
            return cls(tuple(maps), None)
        dtype = _dtype(maps[0])
        if not on_cpu(maps[0]) and dtype not in (torch.float16, torch.bfloat16):
            return cls(tuple(maps), None)
        rows = [F.pad(x.permute(0, 2, 3, 1).to(dtype), (0, 0, 1, 1, 1, 1)) for x in maps]
        return cls(tuple(maps), torch.cat([x.flatten(0, 2) for x in rows]))


def deformable_conv2d(
    x: Tensor, offset: Tensor, mask: Tensor, weight: Tensor, bias: Tensor, *, stride: int = 1
) -> Tensor:
    """Convolve with a 3x3 kernel whose taps are moved and scaled; padding 1, dilation 1.

    A tap is read bilinearly and cells outside the map count as zero. Under autocast features and
    kernel take the autocast dtype; positions stay in float32 or wider.

    Args:
        x: Features, [B, C, H, W].
        offset: Cells that each tap moves, [B, 18, H_o, W_o]; channel 2t is the (downward) y and
            2t + 1 the x of tap t = 3 * row + column.
        mask: Modulation of each tap, [B, 9, H_o, W_o].
        weight: Kernel, [C_o, C, 3, 3].
        bias: [C_o].
        stride: Cells between neighbouring outputs.

    Returns:
        [B, C_o, H_o, W_o]; on a CPU in channels-last memory format, the cheapest for `x` too.

    Raises:
        ValueError: `offset` or `mask` does not fit `x` and `stride`.
    """
    (out,) = deformable_conv2d_maps(
        SampledMaps.of([x]), [0], [offset], [mask], weight, bias, stride=stride
    )
    return out


def deformable_conv2d_maps(
    source: SampledMaps,
    chosen: Sequence[int],
    offsets: Sequence[Tensor],
    masks: Sequence[Tensor],
    weight: Tensor,
    bias: Tensor,
    *,
    stride: int = 1,
) -> list[Tensor]:
    """Convolve several maps with one kernel, as `deformable_conv2d` does with one.

    Args:
        source: The maps.
        chosen: Which of them to convolve.
        offsets: Of each, [B, 18, H_o, W_o].
        masks: Of each, [B, 9, H_o, W_o].
        weight: Kernel, [C_o, C, 3, 3].
        bias: [C_o].
        stride: Cells between neighbouring outputs.

    Raises:
        ValueError: An offset or a mask does not fit its map and `stride`.
    """
    for m, offset, mask in zip(chosen, offsets, masks, strict=True):
        x = source.maps[m]
        size = tuple((side - 1) // stride + 1 for side in x.shape[-2:])
        for name, given, channels in (("offset", offset, 2 * TAPS), ("mask", mask, TAPS)):
            if given.shape != (x.shape[0], channels, *size):
                raise ValueError(
                    f"{name} has the shape {tuple(given.shape)}, but features {tuple(x.shape)} "
                    f"with stride {stride} need {(x.shape[0], channels, *size)}"
                )
    if source.table is None:
        return [
            torchvision_conv2d(source.maps[m], offset, mask, weight, bias, stride=stride)
            for m, offset, mask in zip(chosen, offsets, masks, strict=True)
        ]
    dtype = source.table.dtype
    kernel = weight.permute(0, 2, 3, 1).flatten(1)  # [C_o, 9 * C], like the rows of sampled taps
    convolve = table_convolution if on_cpu(source.table) else gathered_convolution
    out = convolve(
        source.table,
        torch.cat([_by_position(at_least_fp32(offset)) for offset in offsets]),
        torch.cat([_by_position(at_least_fp32(mask)) for mask in masks]),
        kernel.to(dtype),
        bias.to(dtype),
        window_places(source.maps, chosen, stride),
    )
    parts = torch.split(out, [len(o) * o.shape[2] * o.shape[3] for o in offsets])
    return [
        part.view(len(o), *o.shape[-2:], -1).permute(0, 3, 1, 2)
        for part, o in zip(parts, offsets, strict=True)
    ]


def window_places(maps: Sequence[Tensor], chosen: Sequence[int], stride: int) -> Tensor:
    """Return for every output position where its window stands, int32 [n, 5].

    The columns are row and column of the window's centre, height and width of the map, and the row
    of the table that the map's first cell has, ring included.
    """
    firsts = [0]
    for x in maps:
        firsts.append(firsts[-1] + len(x) * (x.shape[2] + 2) * (x.shape[3] + 2))
    places = []
    for m in chosen:
        (batch, _, height, width), device = maps[m].shape, maps[m].device
        rows = torch.arange(0, height, stride, dtype=torch.int32, device=device)
        columns = torch.arange(0, width, stride, dtype=torch.int32, device=device)
        images = torch.arange(batch, dtype=torch.int32, device=device)
        # Filled in, not copied from the host: a GPU would wait for the copy.
        of_map = rows.new_empty(batch, len(rows), len(columns), 5)
        of_map[..., 0], of_map[..., 1] = rows[:, None], columns
        of_map[..., 2], of_map[..., 3] = height, width
        of_map[..., 4] = (images * ((height + 2) * (width + 2)) + firsts[m])[:, None, None]
        places.append(of_map.flatten(0, 2))
    return torch.cat(places)


def torchvision_conv2d(
    x: Tensor, offset: Tensor, mask: Tensor, weight: Tensor, bias: Tensor, *, stride: int = 1
) -> Tensor:
    """Compute `deformable_conv2d`, [B, C, H, W], by torchvision's operator.

    It has no bfloat16; official GLIP runs it in float32 as well.
    """
    # On a CPU only exporting comes here; the package takes seconds to import.
    from torchvision.ops import deform_conv2d

    inputs = [at_least_fp32(given) for given in (x, offset, weight, bias)]
    moved: Tensor = deform_conv2d(*inputs, stride, padding=1, mask=at_least_fp32(mask))
    return moved.to(x.dtype)


def _dtype(x: Tensor) -> torch.dtype:
    device = x.device.type
    enabled = torch.is_autocast_enabled(device)
    return torch.get_autocast_dtype(device) if enabled else x.dtype


def _by_position(maps: Tensor) -> Tensor:
    """[B, C, H, W] to [B * H * W, C]."""
    return maps.permute(0, 2, 3, 1).flatten(0, 2)
