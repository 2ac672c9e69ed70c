"""GLIP, the network: backbone, text encoder, fusion plugin and grounding head.

It knows neither Lightning nor data sets. The three steps of `forward` are public, because an image
needs encoding once for many prompts, and a prompt once for many images.
See GLIP, Fig. 2 (https://arxiv.org/abs/2112.03857).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, Self, get_args

from torch import Tensor, nn

from glip_pl.backbones import FPN, Backbone, Neck
from glip_pl.fusion import ExtraQueries, FusionPlugin, PyramidFeatures, TextFeatures
from glip_pl.head import GroundingHead, GroundingOutput, HeadStart
from glip_pl.layers.alignment import Told
from glip_pl.prompts.tokens import TokenBatch
from glip_pl.text import TextEncoder
from glip_pl.text.tuned_prompt import TunedPrompt

Part = Literal["backbone", "fpn", "text", "fusion", "head"]
PARTS: tuple[Part, ...] = get_args(Part)


class GLIP(nn.Module):
    """Ground the phrases of a caption in an image.

    Args:
        backbone: Image to feature maps.
        text: Token ids to token features.
        fusion: Where image and text meet.
        d_model: Width of the pyramid and of the regions.
        neck: Makes the pyramid from the channels of the backbone's maps and `d_model`.
        head: Where GLIP's head starts, for plugins that bring none of their own.
        told: What a box is told by: each token of a phrase, as in GLIP, or the phrase as a whole,
            in which what names share counts less; for names that share words.

    Attributes:
        fpn: The neck; checkpoints know it by the name of the first one.
        head: What compares and places boxes after the plugin, unless that brings its own.
        frozen: The parts that stay as they are; see `freeze`.
        prompt: Offsets of a tuned prompt, None for a model that answers any prompt.
    """

    head: GroundingHead

    def __init__(
        self,
        backbone: Backbone,
        text: TextEncoder,
        *,
        fusion: FusionPlugin,
        d_model: int = 256,
        neck: Callable[[Sequence[int], int], Neck] = FPN,
        head: HeadStart | None = None,
        told: Told = "tokens",
    ) -> None:
        super().__init__()
        self.told = told
        self.backbone = backbone
        self.fpn = neck(backbone.channels, d_model)
        self.strides = self.fpn.output_strides(backbone.strides)
        self.text = text
        self.fusion = fusion
        if fusion.own_head() is None:
            self.head = GroundingHead(
                d_model, fusion.d_token, num_levels=len(self.strides), start=head
            )
        self.frozen: tuple[Part, ...] = ()
        self.prompt: TunedPrompt | None = None

    def freeze(self, *parts: Part) -> None:
        """Keep parts as they are: no gradient, and evaluation mode whatever `train` is told."""
        self.frozen += parts
        for part in parts:
            for module in self.modules_of(part):
                for parameter in module.parameters(recurse=False):
                    parameter.requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """Switch between training and evaluation; what is frozen stays in evaluation."""
        super().train(mode)
        for part in self.frozen:
            for module in self.modules_of(part):
                module.training = False
        return self

    def modules_of(self, part: Part) -> list[nn.Module]:
        """List the modules of a part, at any depth; a plugin's own head is not of the fusion."""
        head = self.comparing_head()
        if part == "head":
            return list(head.modules())
        apart = set(head.modules())
        return [module for module in self.get_submodule(part).modules() if module not in apart]

    def encode_image(self, images: Tensor, mask: Tensor) -> PyramidFeatures:
        """Do all the work on images that needs no text.

        Args:
            images: uint8 [B, 3, H, W], RGB, padded at the bottom and on the right.
            mask: Boolean [B, H, W], True where a pixel is real.
        """
        maps = self.backbone(self.backbone.normalise(images, mask))
        return self.fusion.prepare_image(PyramidFeatures(self.fpn(maps), self.strides, mask))

    def encode_text(self, tokens: TokenBatch) -> TextFeatures:
        """Do all the work on captions that needs no image."""
        return self.with_prompt(self.text(tokens), tokens)

    def with_prompt(self, features: TextFeatures, tokens: TokenBatch) -> TextFeatures:
        """Add the offsets of a tuned prompt, if there is one, to what the text encoder gave.

        Raises:
            ValueError: The tokens are not those of the tuned prompt.
        """
        if self.prompt is None:
            return features
        tuned: TextFeatures = self.prompt(features, tokens)
        return tuned

    def ground(
        self, image: PyramidFeatures, text: TextFeatures, extra: ExtraQueries | None = None
    ) -> GroundingOutput:
        """Fuse encoded images with encoded captions, pair by pair, and compare.

        Args:
            image: What `encode_image` returns.
            text: What `encode_text` returns.
            extra: Queries that training adds, for plugins that take them.
        """
        fused = self.fusion(image, text) if extra is None else self.fusion(image, text, extra)
        output: GroundingOutput = self.comparing_head()(fused)
        if self.told == "tokens":
            return output
        added = None if output.extra is None else replace(output.extra, told=self.told)
        return replace(output, extra=added, told=self.told)

    def comparing_head(self) -> nn.Module:
        """Return what compares and places boxes: the plugin's own head, or ours."""
        return self.fusion.own_head() or self.head

    def forward(
        self, images: Tensor, mask: Tensor, tokens: TokenBatch, extra: ExtraQueries | None = None
    ) -> GroundingOutput:
        """Encode and ground.

        Args:
            images: [B, 3, H, W]; see `encode_image`.
            mask: True where an image is, [B, H, W].
            tokens: The captions; see `encode_text`.
            extra: See `ground`.
        """
        return self.ground(self.encode_image(images, mask), self.encode_text(tokens), extra)

    def make_room(self, state: Mapping[str, Tensor], prefix: str = "") -> None:
        """Make room for the offsets of a tuned prompt, [M, d_text], where a state dict has them.

        Args:
            state: The state dict.
            prefix: What stands before the names of this model in it.
        """
        if f"{prefix}prompt.weight" in state:
            self.prompt = TunedPrompt.of_state(state, f"{prefix}prompt.")

    def _load_from_state_dict(
        self, state_dict: Mapping[str, Any], prefix: str, *others: Any, **more: Any
    ) -> None:
        # The modules inside are loaded after this: whoever loads weights gets their prompt, too.
        self.make_room(state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *others, **more)
