"""The sizes of a Grounding DINO, as transformers' ``config.json`` has them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from glip_pl.configs.names import fusion_of_model
from glip_pl.text.bert_files import BERT_BASE

# LLMDet is trained otherwise, but built as MM-Grounding-DINO.
FAMILIES = ("grounding-dino", "mm-grounding-dino")

# What a file may ask for that no published model has.
_ONLY = {
    "two_stage": True,
    "embedding_init_target": True,
    "position_embedding_type": "sine",
    "query_dim": 4,
    "activation_function": "relu",
    "two_stage_bbox_embed_share": False,
    "positional_embedding_temperature": 20,
}


@dataclass(frozen=True)
class DinoArchitecture:
    """What tells one model of the family from another.

    Attributes:
        family: "grounding-dino" or "mm-grounding-dino".
        embed_dim: Channels of the Swin's first stage.
        depths: Blocks of its stages.
        num_heads: Attention heads of its stages.
        window: Side of its windows in cells.
        num_maps: Maps that it returns.
        num_levels: Levels of the pyramid.
        num_layers: Layers of the encoder and of the decoder.
        num_queries: Regions per image.
        heads: Attention heads of encoder and decoder.
        num_points: Places that a head reads per level.
        d_model: Width of pyramid, regions and tokens.
        d_text: Width of the text encoder.
        d_feedforward: Hidden width of the feed-forward networks.
        shared_boxes: Whether one box network serves all layers of the decoder.
        max_tokens: Longest caption in tokens.
    """

    family: str = "grounding-dino"
    embed_dim: int = 96
    depths: tuple[int, ...] = (2, 2, 6, 2)
    num_heads: tuple[int, ...] = (3, 6, 12, 24)
    window: int = 7
    num_maps: int = 3
    num_levels: int = 4
    num_layers: int = 6
    num_queries: int = 900
    heads: int = 8
    num_points: int = 4
    d_model: int = 256
    d_text: int = 768
    d_feedforward: int = 2048
    shared_boxes: bool = True
    max_tokens: int = 256

    @classmethod
    def of(cls, described: dict[str, Any]) -> Self:
        """Read the sizes off what a ``config.json`` says.

        Raises:
            ValueError: It describes another model, or a member of the family that none has seen.
        """
        family = described.get("model_type")
        if family not in FAMILIES:
            raise ValueError(
                f"config.json describes a model of type {family!r}; give a folder of one of "
                f"{', '.join(FAMILIES)} (LLMDet is of the latter)"
            )
        config: Any = _config(family, described)
        swin = config.backbone_config
        same = {
            "decoder_layers": config.encoder_layers,
            "decoder_ffn_dim": config.encoder_ffn_dim,
            "decoder_attention_heads": config.encoder_attention_heads,
            "decoder_n_points": config.encoder_n_points,
        }
        for name, needed in (_ONLY | same).items():
            # The family of OpenMMLab has one form of some and does not say so.
            if (found := getattr(config, name, needed)) != needed:
                raise ValueError(
                    f"config.json has {name}={found!r}; only models with {name}={needed!r} can be "
                    "converted, as all published ones are"
                )
        if swin.model_type != "swin" or swin.use_absolute_embeddings:
            raise ValueError(
                f"config.json has a backbone of type {swin.model_type!r}; only a Swin Transformer "
                "with relative positions can be converted"
            )
        return cls(
            family=family,
            embed_dim=swin.embed_dim,
            depths=tuple(swin.depths),
            num_heads=tuple(swin.num_heads),
            window=swin.window_size,
            num_maps=len(swin.out_features),
            num_levels=config.num_feature_levels,
            num_layers=config.encoder_layers,
            num_queries=config.num_queries,
            heads=config.encoder_attention_heads,
            num_points=config.encoder_n_points,
            d_model=config.d_model,
            d_text=config.text_config.hidden_size,
            d_feedforward=config.encoder_ffn_dim,
            shared_boxes=config.decoder_bbox_embed_share,
            max_tokens=config.max_text_len,
        )

    @classmethod
    def of_parameters(cls, described: Mapping[str, Any]) -> Self:
        """Read the sizes back from `hyper_parameters`."""
        swin, fusion = described["backbone"]["init_args"], described["fusion"]["init_args"]
        text = described["text"]["init_args"]
        names = ("num_levels", "num_layers", "num_queries", "num_points", "d_model", "d_text")
        return cls(
            family="mm-grounding-dino" if fusion["bias"] == "one" else "grounding-dino",
            embed_dim=swin["embed_dim"],
            depths=tuple(swin["depths"]),
            num_heads=tuple(swin["num_heads"]),
            window=swin["window"],
            num_maps=swin["num_maps"],
            heads=fusion["num_heads"],
            max_tokens=text.get("max_tokens", 256),
            d_feedforward=fusion["d_feedforward"] or 8 * fusion["d_model"],
            **{name: fusion[name] for name in (*names, "shared_boxes")},
        )

    def hyper_parameters(self, text: str = BERT_BASE) -> dict[str, Any]:
        """Describe the model in the words of `GroundingTask`, as its checkpoints do.

        Args:
            text: Where configuration and vocabulary of the text encoder lie.
        """
        own = {key: list(v) if isinstance(v, tuple) else v for key, v in asdict(self).items()}
        successor = self.family == "mm-grounding-dino"
        sizes = {name: own[name] for name in ("d_model", "d_text", "num_layers")}
        swin = ("embed_dim", "depths", "num_heads", "window", "num_maps")
        fusion = ("num_queries", "num_levels", "num_points", "d_feedforward", "shared_boxes")
        return {
            "backbone": {
                "class_path": "glip_pl.backbones.SwinBackbone",
                "init_args": {name: own[name] for name in swin} | {"channel_order": "rgb"},
            },
            "neck": {
                "class_path": "glip_pl.backbones.ChannelMapper",
                "init_args": {"extra_levels": self.num_levels - self.num_maps},
            },
            "text": {
                "class_path": "glip_pl.text.PhraseBertEncoder",
                "init_args": {
                    "pretrained": text,
                    "max_tokens": self.max_tokens,
                    "load_weights": False,
                },
            },
            "fusion": {
                "class_path": fusion_of_model("grounding_dino_t"),
                "init_args": {
                    **sizes,
                    **{name: own[name] for name in fusion},
                    "num_heads": self.heads,
                    "dropout": 0.0,
                    "scale": "root" if successor else "none",
                    "bias": "one" if successor else "none",
                },
            },
            "d_model": self.d_model,
            "d_text": self.d_text,
            "loss_weights": {"token": 1.0, "giou": 2.0, "l1": 5.0},
            "postprocess": {"score_threshold": 0.0, "nms_iou": 1.0, "max_detections": 300},
        }

    def config(self, text_config: dict[str, Any]) -> dict[str, Any]:
        """Describe the model as transformers does, with the configuration of its text encoder."""
        stages = [f"stage{4 - self.num_maps + k + 1}" for k in range(self.num_maps)]
        successor = self.family == "mm-grounding-dino"
        described: dict[str, Any] = {
            "backbone_config": {
                "model_type": "swin",
                "embed_dim": self.embed_dim,
                "depths": list(self.depths),
                "num_heads": list(self.num_heads),
                "window_size": self.window,
                "out_features": stages,
            },
            "text_config": {**text_config, "model_type": "bert"},
            "num_feature_levels": self.num_levels,
            "num_queries": self.num_queries,
            "d_model": self.d_model,
            "decoder_bbox_embed_share": self.shared_boxes,
            "max_text_len": self.max_tokens,
            "architectures": [f"{'MM' if successor else ''}GroundingDinoForObjectDetection"],
        }
        for side in ("encoder", "decoder"):
            described |= {
                f"{side}_layers": self.num_layers,
                f"{side}_attention_heads": self.heads,
                f"{side}_n_points": self.num_points,
                f"{side}_ffn_dim": self.d_feedforward,
            }
        if successor:
            described["decoder_cls_embed_share"] = False
        config: dict[str, Any] = _config(self.family, described).to_dict()
        return config


def _config(family: str, described: dict[str, Any]) -> Any:
    """Complete a description with the defaults of transformers."""
    # Other weights are read without it; the import takes seconds.
    from transformers import GroundingDinoConfig, MMGroundingDinoConfig

    known: dict[str, Any] = {
        "grounding-dino": GroundingDinoConfig,
        "mm-grounding-dino": MMGroundingDinoConfig,
    }
    return known[family].from_dict(described)


_BASE = {"depths": (2, 2, 18, 2), "window": 12}
_SIZES: dict[str, dict[str, Any]] = {
    "t": {},
    "b": {**_BASE, "embed_dim": 128, "num_heads": (4, 8, 16, 32)},
    "l": {
        **_BASE,
        "embed_dim": 192,
        "num_heads": (6, 12, 24, 48),
        "num_maps": 4,
        "num_levels": 5,
    },
}
# The published ones, by the names of their configurations.
DINO_ARCHITECTURES = {
    f"{name}_{size}": DinoArchitecture(family=family, shared_boxes=shared, **_SIZES[size])
    for name, family, shared, sizes in (
        ("grounding_dino", "grounding-dino", True, "tb"),
        ("mm_grounding_dino", "mm-grounding-dino", False, "tbl"),
        ("llmdet", "mm-grounding-dino", False, "tbl"),
    )
    for size in sizes
}
