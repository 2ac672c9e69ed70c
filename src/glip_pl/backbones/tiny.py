"""A small residual network for CPUs, trained from scratch."""

from torch import Tensor, nn

from glip_pl.backbones.backbone import ConvBackbone

GROUPS = 8


class TinyBackbone(ConvBackbone):
    """Four residual stages; the last three, at 8, 16 and 32 pixels per cell, are returned.

    Group norm takes the place of batch norm, since batches on a CPU are small.

    Args:
        width: Channels of the first stage, a multiple of 8; the next two double them.
    """

    strides = (8, 16, 32)

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        if width <= 0 or width % GROUPS:
            raise ValueError(
                f"width={width} of TinyBackbone must be a positive multiple of {GROUPS}"
            )
        self.channels = (2 * width, 4 * width, 4 * width)
        self.stem = nn.Sequential(
            _conv(3, width // 2, 3, 2),
            nn.ReLU(),
            _conv(width // 2, width, 3, 2),
            nn.GroupNorm(GROUPS, width),
            nn.ReLU(),
        )
        self.stages = nn.ModuleList(
            [
                ResidualBlock(width, width, 1),
                ResidualBlock(width, 2 * width, 2),
                ResidualBlock(2 * width, 4 * width, 2),
                ResidualBlock(4 * width, 4 * width, 2),
            ]
        )


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.convs = nn.Sequential(
            _conv(before, after, 3, stride),
            nn.GroupNorm(GROUPS, after),
            nn.ReLU(),
            _conv(after, after, 3, 1),
            nn.GroupNorm(GROUPS, after),
        )
        self.shortcut = (
            nn.Identity()
            if before == after and stride == 1
            else nn.Sequential(_conv(before, after, 1, stride), nn.GroupNorm(GROUPS, after))
        )

    def forward(self, x: Tensor) -> Tensor:
        """[B, before, H, W] to [B, after, H / stride, W / stride]."""
        out: Tensor = self.convs(x) + self.shortcut(x)
        return out.relu()


def _conv(before: int, after: int, kernel: int, stride: int) -> nn.Conv2d:
    """Make a convolution without bias, since a norm follows."""
    conv = nn.Conv2d(before, after, kernel, stride, kernel // 2, bias=False)
    nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
    return conv
