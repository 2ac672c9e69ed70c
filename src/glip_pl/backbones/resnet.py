"""ResNet of torchvision as a backbone."""

from typing import TYPE_CHECKING, Literal

from torch import nn

from glip_pl.backbones.backbone import ConvBackbone, load_weights

if TYPE_CHECKING:  # Importing it takes seconds, which other backbones do not need.
    from torchvision.models import ResNet

Name = Literal["resnet18", "resnet34", "resnet50", "resnet101", "resnet152"]


class ResNetBackbone(ConvBackbone):
    """A residual network that returns C3, C4 and C5.

    Args:
        name: Which of torchvision's networks.
        weights: A local file with torchvision's ImageNet weights (``.pth`` or ``.safetensors``),
            the word "download" to let torchvision fetch them, or None for random weights.
        freeze: Parts to freeze: 0 nothing, 1 the stem, 2 the stem and the first stage, ...
        frozen_norm: Keep the statistics and the scale of every batch norm as loaded.

    Raises:
        ValueError: The weights do not exist or belong to another network.
    """

    strides = (8, 16, 32)

    def __init__(
        self,
        name: Name = "resnet50",
        weights: str | None = None,
        *,
        freeze: int = 2,
        frozen_norm: bool = True,
    ) -> None:
        super().__init__()
        body = _build(name, weights)
        self.stem = nn.Sequential(body.conv1, body.bn1, body.relu, body.maxpool)
        self.stages = nn.ModuleList([body.layer1, body.layer2, body.layer3, body.layer4])
        widest = body.fc.in_features
        self.channels = (widest // 4, widest // 2, widest)
        self._freeze_start(freeze, frozen_norm=frozen_norm)


def _build(name: Name, weights: str | None) -> "ResNet":
    """Make torchvision's network with its weights."""
    import torchvision

    if weights == "download":
        try:
            return torchvision.models.get_model(name, weights="DEFAULT")
        except OSError as error:
            raise ValueError(
                f"the weights of {name} could not be downloaded ({error}); give a local file as "
                "backbone.init_args.weights, or null to start from random weights"
            ) from error
    body = torchvision.models.get_model(name, weights=None)
    if weights is not None:
        load_weights(body, weights, may_lack=r"^fc\.|num_batches_tracked$", may_add=r"^fc\.")
    return body
