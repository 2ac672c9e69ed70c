"""Image encoders and the feature pyramid above them."""

from glip_pl.backbones.backbone import Backbone
from glip_pl.backbones.efficientnet import EfficientNetLite0Backbone
from glip_pl.backbones.fpn import FPN
from glip_pl.backbones.neck import ChannelMapper, Neck
from glip_pl.backbones.resnet import ResNetBackbone
from glip_pl.backbones.swin import SwinBackbone
from glip_pl.backbones.timm_backbone import TimmBackbone
from glip_pl.backbones.tiny import TinyBackbone

__all__ = [
    "FPN",
    "Backbone",
    "ChannelMapper",
    "EfficientNetLite0Backbone",
    "Neck",
    "ResNetBackbone",
    "SwinBackbone",
    "TimmBackbone",
    "TinyBackbone",
]
