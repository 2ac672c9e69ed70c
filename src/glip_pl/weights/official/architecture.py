"""The sizes of an official model, read off the shapes of its tensors."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from torch import Tensor

from glip_pl.configs.names import fusion_of_model
from glip_pl.text.bert_files import BERT_BASE


@dataclass(frozen=True)
class Architecture:
    """What tells one official model from another.

    Attributes:
        embed_dim: Channels of the Swin's first stage.
        depths: Blocks of its stages.
        num_heads: Attention heads of its stages.
        window: Side of its windows in cells.
        num_layers: Layers of the tower.
        deep: Whether image and text meet in every layer of it, or only in the head.
        d_model: Width of pyramid and tower.
        d_text: Width of the text features.
    """

    embed_dim: int = 96
    depths: tuple[int, ...] = (2, 2, 6, 2)
    num_heads: tuple[int, ...] = (3, 6, 12, 24)
    window: int = 7
    num_layers: int = 6
    deep: bool = True
    d_model: int = 256
    d_text: int = 768

    @classmethod
    def of(cls, state: Mapping[str, Tensor]) -> Self:
        """Read the sizes off an official state dict.

        Raises:
            KeyError: A tensor that tells a size is missing.
        """
        table = "backbone.body.layers.{}.blocks.0.attn.relative_position_bias_table"
        blocks = [_count(state, rf"backbone\.body\.layers\.{s}\.blocks\.(\d+)\.") for s in range(4)]
        deep = any(".b_attn." in name for name in state)
        tower = _count(state, r"rpn\.head\.dyhead_tower\.(\d+)\.")
        return cls(
            embed_dim=state["backbone.body.patch_embed.proj.weight"].shape[0],
            depths=tuple(blocks),
            num_heads=tuple(state[table.format(s)].shape[1] for s in range(4)),
            window=(int(state[table.format(0)].shape[0] ** 0.5) + 1) // 2,
            num_layers=tower // 3 if deep else tower,
            deep=deep,
            d_model=state["backbone.fpn.fpn_inner2.weight"].shape[0],
            d_text=state["rpn.head.bias_lang"].shape[0],
        )

    def hyper_parameters(self) -> dict[str, Any]:
        """Describe the model in the words of `GroundingTask`, as its checkpoints do."""
        swin = {key: value for key, value in asdict(self).items() if key not in (*_TOWER, "deep")}
        shape: dict[str, Any] = {name: getattr(self, name) for name in _TOWER}
        dropout = {"dropout": 0.1} if self.deep else {}
        return {
            "backbone": {
                "class_path": "glip_pl.backbones.SwinBackbone",
                # The larger Swin drops more paths in training; the shapes do not tell.
                "init_args": {
                    **{k: list(v) if isinstance(v, tuple) else v for k, v in swin.items()},
                    "drop_path": 0.2 if self.embed_dim < 128 else 0.4,
                },
            },
            "text": {
                "class_path": "glip_pl.text.BertEncoder",
                "init_args": {"pretrained": BERT_BASE, "load_weights": False},
            },
            "fusion": {
                "class_path": fusion_of_model("glip_t" if self.deep else "glip_t_a"),
                "init_args": {**shape, "anchor_scale": 8.0, **dropout},
            },
            "d_model": self.d_model,
            "d_text": self.d_text,
            "neck": {
                "class_path": "glip_pl.backbones.FPN",
                "init_args": {"extra_levels": 2, "drop_block": 0.3},
            },
            "head": {"initial_temperature": 1.0, "initial_box_scale": 1.0},
            "criterion": {"class_path": "glip_pl.training.criterion.InclusiveCriterion"},
        }


_TOWER = ("d_model", "d_text", "num_layers")

GLIP_T_A = Architecture(deep=False)
GLIP_T = Architecture()
GLIP_L = Architecture(
    embed_dim=192, depths=(2, 2, 18, 2), num_heads=(6, 12, 24, 48), window=12, num_layers=8
)


def _count(state: Mapping[str, Tensor], pattern: str) -> int:
    """How many numbers follow each other from 0 in the names that a pattern begins."""
    found = {int(m[1]) for m in (re.match(pattern, name) for name in state) if m}
    if not found:
        raise KeyError(pattern)
    return max(found) + 1
