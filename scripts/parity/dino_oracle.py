"""Small models of the Grounding DINO family with random weights, here and in transformers."""

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import (
    AutoTokenizer,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    MMGroundingDinoConfig,
    MMGroundingDinoForObjectDetection,
)
from transformers.utils import logging

from fusion_plugins.dino import DinoFusion
from glip_pl.backbones import ChannelMapper, SwinBackbone
from glip_pl.layers.multiscale import CellGrid
from glip_pl.layers.positions import SLOW, interleaved_sines
from glip_pl.model import GLIP
from glip_pl.prompts import Prompt, PromptTemplate
from glip_pl.prompts.tokens import TokenBatch
from glip_pl.text import PhraseBertEncoder
from glip_pl.text.bert_files import _minilm_directory
from glip_pl.weights.transformers_form import from_transformers

FAMILIES = ("grounding-dino", "mm-grounding-dino")
QUERIES = 30


def oracle(family: str, **changes: object) -> nn.Module:
    """Make a small model of transformers in which every parameter matters, in evaluation mode."""
    torch.manual_seed(0)
    successor = family == "mm-grounding-dino"
    shares = {"decoder_bbox_embed_share": False, "decoder_cls_embed_share": False}
    config = (MMGroundingDinoConfig if successor else GroundingDinoConfig)(
        backbone_config={
            "model_type": "swin",
            "embed_dim": 8,
            "depths": [1, 1, 2, 1],
            "num_heads": [1, 2, 2, 4],
            "window_size": 3,
            "drop_path_rate": 0.0,
            "out_features": ["stage1", "stage2", "stage3", "stage4"][0 if successor else 1 :],
        },
        text_config={
            "model_type": "bert",
            "hidden_size": 24,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 48,
        },
        d_model=32,
        num_queries=QUERIES,
        num_feature_levels=5 if successor else 4,
        encoder_layers=2,
        decoder_layers=2,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        dropout=0.0,
        fusion_droppath=0.0,
        **((shares if successor else {}) | changes),
    )
    kind = MMGroundingDinoForObjectDetection if successor else GroundingDinoForObjectDetection
    model = kind(config).eval()
    for name, parameter in model.named_parameters():
        if "norm" not in name.lower() and "embeddings" not in name:
            nn.init.normal_(parameter, std=0.5 if "param" in name else 0.15)
    # A cell that proposes no box then scores nothing, so that with these sizes none is chosen.
    nn.init.zeros_(model.model.enc_output.bias)
    return model


def tokenizer():
    """Open the vocabulary of bert-base-uncased, which MiniLM has."""
    return AutoTokenizer.from_pretrained(_minilm_directory())


def save(model: nn.Module, folder: Path) -> Path:
    """Write a model of transformers and its tokenizer as a hub has them."""
    logging.disable_progress_bar()
    model.save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


class PaddedSines(DinoFusion):
    """Boxes for the positions of queries as the oracle takes them: of the padded input."""

    def box_sines(self, boxes: Tensor, grid: CellGrid) -> Tensor:
        """Compute them in parts of the padded image."""
        height, width = grid.sizes[0]
        ratio = grid.extent[:, 0] / grid.extent.new_tensor([width, height])
        return interleaved_sines(boxes * ratio.repeat(1, 2)[:, None], self.d_model // 2, SLOW)


def ours(model: nn.Module, folder: Path) -> GLIP:
    """Make the same model here, with positions of queries as the oracle has them."""
    config = model.config
    successor = config.model_type == "mm-grounding-dino"
    own = GLIP(
        SwinBackbone(
            8,
            (1, 1, 2, 1),
            num_heads=(1, 2, 2, 4),
            window=3,
            drop_path=0.0,
            num_maps=4 if successor else 3,
            channel_order="rgb",
        ),
        PhraseBertEncoder(str(folder), load_weights=False),
        fusion=PaddedSines(
            d_model=32,
            d_text=24,
            num_layers=2,
            num_queries=QUERIES,
            num_levels=config.num_feature_levels,
            num_heads=4,
            d_feedforward=64,
            drop_path=0.0,
            scale="root" if successor else "none",
            bias="one" if successor else "none",
            shared_boxes=config.decoder_bbox_embed_share,
        ),
        d_model=32,
        neck=lambda channels, width: ChannelMapper(channels, width),
    )
    converted = from_transformers(load_file(folder / "model.safetensors"), own)
    own.load_state_dict(converted.state, strict=False)
    return own.eval()


@dataclass(frozen=True)
class Inputs:
    """Two images, the second with padding, and captions of different length."""

    images: Tensor
    mask: Tensor
    prompts: tuple[Prompt, ...]
    tokens: TokenBatch

    def for_oracle(self, own: GLIP) -> dict[str, Tensor]:
        """Return the same in the words of transformers."""
        return {
            "pixel_values": own.backbone.normalise(self.images, self.mask),
            "pixel_mask": self.mask.long(),
            "input_ids": self.tokens.ids,
            "attention_mask": self.tokens.mask.long(),
        }


def inputs(own: GLIP, names: tuple[tuple[str, ...], ...] = ()) -> Inputs:
    """Make noise of 128x192 pixels, of which the second image has 128x128."""
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (2, 3, 128, 192), generator=generator, dtype=torch.uint8)
    mask = torch.ones(2, 128, 192, dtype=torch.bool)
    mask[1, :, 128:] = False
    names = names or (("hair drier", "person", "zebra crossing"), ("cat",))
    prompts = tuple(PromptTemplate().join(some) for some in names)
    return Inputs(images, mask, prompts, own.text.tokenizer(prompts))
