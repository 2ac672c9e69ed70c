"""What each parameter is called here and in official GLIP.

Most tensors are the same on both sides. The exceptions: 1x1 convolutions of the official heads are
linear layers here, and its five scales, one per pyramid level, are one vector.
"""

import re
from collections.abc import Iterator

LEVEL_SCALE = "head.level_scale"
LINEAR_HEADS = ("head.box_offset.weight", "head.centerness.weight")
# Offsets of prompt tuning, here and there.
PROMPT, TUNED_PROMPT = "prompt.weight", "rpn.tunable_linear.weight"
BUILT_HERE = re.compile(r"^backbone\.pixel_(mean|std)$|^prompt\.(ids|caption)$")

_PARTS = (
    (r"^backbone\.", "backbone.body."),
    (r"^text\.bert\.", "language_backbone.body.model."),
    (r"^head\.token_projection\.", "rpn.head.dot_product_projection_text."),
    (r"^head\.token_bias$", "rpn.head.bias_lang"),
    (r"^head\.prior_bias$", "rpn.head.bias0"),
    (r"^head\.log_temperature$", "rpn.head.log_scale"),
    (r"^head\.box_offset\.", "rpn.head.bbox_pred."),
    (r"^head\.centerness\.", "rpn.head.centerness."),
    (r"^prompt\.weight$", TUNED_PROMPT),
)
_EXCHANGE = {
    "image_gate": "gamma_v",
    "text_gate": "gamma_l",
    "image_norm": "layer_norm_v",
    "text_norm": "layer_norm_l",
    "query": "attn.v_proj",
    "key": "attn.l_proj",
    "image_value": "attn.values_v_proj",
    "text_value": "attn.values_l_proj",
    "image_out": "attn.out_v_proj",
    "text_out": "attn.out_l_proj",
}
_TEXT_LAYER = {
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "attention_out": "attention.output.dense",
    "attention_norm": "attention.output.LayerNorm",
    "widen": "intermediate.dense",
    "narrow": "output.dense",
    "norm": "output.LayerNorm",
}
_DYHEAD = {
    "offset": "offset",
    "coarser.norm": "DyConv.0.bn",
    "same.norm": "DyConv.1.bn",
    "finer.norm": "DyConv.2.bn",
    "coarser": "DyConv.0.conv",
    "same": "DyConv.1.conv",
    "finer": "DyConv.2.conv",
    "level_attention": "AttnConv.1",
    "activation.fc": "relu.fc",
}
# Each block of the fusion plugin: its place among the modules of one official layer, the path of
# its parameters there, and their names.
BLOCKS = {
    "exchange": (0, "b_attn.", _EXCHANGE),
    "text_tower": (1, "", _TEXT_LAYER),
    "tower": (2, "", _DYHEAD),
}


def official_name(name: str, *, deep: bool) -> str:
    """Return the official name of one of our parameters.

    Args:
        name: A name in the state dict of `GLIP`; not the scales of the levels, which are five
            parameters there.
        deep: Whether the fusion is deep: the official tower is then a list of three modules a
            layer, and of one otherwise.
    """
    block = re.match(r"fusion\.(exchange|text_tower|tower)\.(\d+)\.(.+)$", name)
    if block:
        place, path, names = BLOCKS[block[1]]
        index = 3 * int(block[2]) + place if deep else int(block[2])
        return f"rpn.head.dyhead_tower.{index}.{path}{renamed(block[3], names)}"
    pyramid = re.match(r"fpn\.(laterals|outputs|extra)\.(\d+)\.(.+)$", name)
    if pyramid:
        kind, level, rest = pyramid[1], int(pyramid[2]), pyramid[3]
        if kind == "extra":
            return f"backbone.fpn.top_blocks.p{level + 6}.{rest}"
        layer = "fpn_inner" if kind == "laterals" else "fpn_layer"
        return f"backbone.fpn.{layer}{level + 2}.{rest}"
    for pattern, path in _PARTS:
        if re.match(pattern, name):
            return re.sub(pattern, path, name)
    raise KeyError(name)


def official_scales(count: int) -> Iterator[str]:
    """Name the scale of every pyramid level."""
    return (f"rpn.head.scales.{level}.scale" for level in range(count))


def renamed(name: str, names: dict[str, str]) -> str:
    """Replace the longest path of a name that `names` knows."""
    path = max((p for p in names if name == p or name.startswith(f"{p}.")), key=len)
    return names[path] + name[len(path) :]
