"""What each parameter of a Grounding DINO is called here and in transformers' files.

Most tensors are the same on both sides. The exceptions: query, key and value of the Swin's
attention are one matrix here, and the bias of an alignment has one element here and no axis there.
"""

import re
from collections.abc import Sequence

QKV = re.compile(r"\.attn\.qkv\.(weight|bias)$")
ALIGNMENT_BIAS = re.compile(r"^fusion\.head\.alignments\.\d+\.prior_bias$")
BUILT_HERE = re.compile(r"^backbone\.pixel_(mean|std)$")

_SWIN = "model.backbone.conv_encoder.model."
_FEEDFORWARD = {"feedforward.widen": "fc1", "feedforward.narrow": "fc2"}
_ATTENTION = {"query": "query", "key": "key", "value": "value", "out": "out_proj"}
_DEFORMABLE = {
    "offsets": "sampling_offsets",
    "weights": "attention_weights",
    "value": "value_proj",
    "out": "output_proj",
}
_EXCHANGE = {
    "image_gate": "vision_param",
    "text_gate": "text_param",
    "image_norm": "layer_norm_vision",
    "text_norm": "layer_norm_text",
    "query": "attn.vision_proj",
    "key": "attn.text_proj",
    "image_value": "attn.values_vision_proj",
    "text_value": "attn.values_text_proj",
    "image_out": "attn.out_vision_proj",
    "text_out": "attn.out_text_proj",
}


def _under(own: str, theirs: str, names: dict[str, str]) -> dict[str, str]:
    return {f"{own}.{a}": f"{theirs}.{b}" for a, b in names.items()}


_PHRASES = _under("attention", "self_attn", _ATTENTION) | _FEEDFORWARD
_PHRASES |= {"norm": "layer_norm_before", "feedforward.norm": "layer_norm_after"}
_CELLS = _under("attention", "self_attn", _DEFORMABLE) | _FEEDFORWARD
_CELLS |= {"norm": "self_attn_layer_norm", "feedforward.norm": "final_layer_norm"}
_QUERIES = _under("self_attention", "self_attn", _ATTENTION) | _FEEDFORWARD
_QUERIES |= _under("text_attention", "encoder_attn_text", _ATTENTION)
_QUERIES |= _under("image_attention", "encoder_attn", _DEFORMABLE)
_QUERIES |= {
    "self_norm": "self_attn_layer_norm",
    "text_norm": "encoder_attn_text_layer_norm",
    "image_norm": "encoder_attn_layer_norm",
    "feedforward.norm": "final_layer_norm",
}
# Lists of layers: their path there, and the names inside a layer.
_LAYERS = {
    "exchange": ("model.encoder.layers.{}.fusion_layer.", _EXCHANGE),
    "phrases": ("model.encoder.layers.{}.text_enhancer_layer.", _PHRASES),
    "cells": ("model.encoder.layers.{}.deformable_layer.", _CELLS),
    "decoder": ("model.decoder.layers.{}.", _QUERIES),
}
_SWIN_BLOCK = {
    "norm1": "layernorm_before",
    "norm2": "layernorm_after",
    "attn.relative_position_bias_table": "attention.self.relative_position_bias_table",
    "attn.proj": "attention.output.dense",
    "mlp.fc1": "intermediate.dense",
    "mlp.fc2": "output.dense",
}
_PARTS = (
    (r"^text\.bert\.", "model.text_backbone."),
    (r"^fpn\.levels\.", "model.input_proj_vision."),
    (r"^backbone\.patch_embed\.proj\.", f"{_SWIN}embeddings.patch_embeddings.projection."),
    (r"^backbone\.patch_embed\.norm\.", f"{_SWIN}embeddings.norm."),
    (r"^backbone\.layers\.(\d)\.downsample\.", rf"{_SWIN}encoder.layers.\1.downsample."),
    (r"^fusion\.project_text\.", "model.text_projection."),
    (r"^fusion\.level_embedding\.weight$", "model.level_embed"),
    (r"^fusion\.proposal\.", "model.enc_output."),
    (r"^fusion\.proposal_norm\.", "model.enc_output_norm."),
    (r"^fusion\.content\.", "model.query_position_embeddings."),
    (r"^fusion\.box_position\.0\.", "model.decoder.reference_points_head.layers.0."),
    (r"^fusion\.box_position\.2\.", "model.decoder.reference_points_head.layers.1."),
    (r"^fusion\.decoder_norm\.", "model.decoder.layer_norm."),
)


def transformers_names(name: str) -> tuple[str, ...]:
    """Return the names in transformers' files of the tensors that one of ours is made of.

    Raises:
        KeyError: It is no parameter of a Grounding DINO.
    """
    if block := re.match(r"backbone\.layers\.(\d)\.blocks\.(\d+)\.(.+)$", name):
        path = f"{_SWIN}encoder.layers.{block[1]}.blocks.{block[2]}."
        if qkv := QKV.search(name):
            return tuple(f"{path}attention.self.{p}.{qkv[1]}" for p in ("query", "key", "value"))
        return (path + _renamed(block[3], _SWIN_BLOCK),)
    if norm := re.match(r"backbone\.norm(\d)\.(.+)$", name):
        return (f"{_SWIN}hidden_states_norms.stage{int(norm[1]) + 1}.{norm[2]}",)
    if layer := re.match(r"fusion\.(exchange|phrases|cells|decoder)\.(\d+)\.(.+)$", name):
        theirs, names = _LAYERS[layer[1]]
        return (theirs.format(layer[2]) + _renamed(layer[3], names),)
    if head := re.match(r"fusion\.head\.(alignments|boxes)\.(\d+)\.(.+)$", name):
        kind, number = {"alignments": "class_embed", "boxes": "bbox_embed"}[head[1]], int(head[2])
        path = f"{kind}.{number - 1}" if number else f"model.encoder_output_{kind}"
        return (f"{path}.{head[3].replace('prior_bias', 'bias')}",)
    for pattern, theirs in _PARTS:
        if re.match(pattern, name):
            return (re.sub(pattern, theirs, name),)
    raise KeyError(name)


def other_names(name: str) -> Sequence[str]:
    """Return under which other names a file may hold the same tensor: heads have several."""
    if head := re.match(r"(class|bbox)_embed\.(\d+)\.(.+)$", name):
        kind, number, rest = head.groups()
        places = (f"{kind}_embed.", f"model.decoder.{kind}_embed.")
        return [f"{place}{n}.{rest}" for n in (number, "0") for place in places]
    return []


def _renamed(name: str, names: dict[str, str]) -> str:
    """Replace the longest path of a name that `names` knows."""
    paths = [path for path in names if name == path or name.startswith(f"{path}.")]
    if not paths:
        raise KeyError(name)
    path = max(paths, key=len)
    return names[path] + name[len(path) :]
