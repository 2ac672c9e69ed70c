"""ONNX: traced graphs to files, with the two operators that PyTorch's exporter does not know."""

import logging
import warnings
from pathlib import Path
from typing import Any

import torch
import torchvision  # noqa: F401  # Registers the operator that is translated.
from onnxscript import opset22 as op

from glip_pl.export.graphs import Graph
from glip_pl.export.window_attention import window_attention

# The first set of operators with the final form of DeformConv is 22; 19 introduced it.
_OPSET = 22


def write_onnx(graph: Graph, path: Path) -> None:
    """Write a graph as one ONNX file.

    Raises:
        RuntimeError: A size of an input became a constant: a bug in a plugin or in this project.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            program = torch.onnx.export(
                graph.program,
                input_names=graph.inputs,
                output_names=graph.outputs,
                opset_version=_OPSET,
                custom_translation_table={
                    torch.ops.torchvision.deform_conv2d.default: _deform_conv2d,
                    torch.ops.glip_pl.window_attention.default: window_attention,
                },
                verbose=False,
            )
        finally:
            logging.disable(logging.NOTSET)
    assert program is not None
    _check_dynamic(graph, program.model_proto.graph.input)
    program.save(path, external_data=False)


def _deform_conv2d(
    x: Any,
    weight: Any,
    offset: Any,
    mask: Any,
    bias: Any,
    stride_h: int,
    stride_w: int,
    pad_h: int,
    pad_w: int,
    dilation_h: int,
    dilation_w: int,
    groups: int,
    offset_groups: int,
    use_mask: bool,
) -> Any:
    """Translate torchvision's operator; both order offsets alike, y before x."""
    return op.DeformConv(
        x,
        weight,
        offset,
        bias,
        mask,
        strides=[stride_h, stride_w],
        pads=[pad_h, pad_w, pad_h, pad_w],
        dilations=[dilation_h, dilation_w],
        group=groups,
        offset_group=offset_groups,
    )


def quantize(path: Path) -> None:
    """Replace a file by one whose matrix products have weights of 8 bit integers.

    Convolutions stay as they are: in 8 bit they are slower on a CPU, not faster.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    part = path.with_suffix(".part")
    logging.disable(logging.WARNING)  # It advises a preparation that needs sizes to be fixed.
    try:
        quantize_dynamic(
            path, part, op_types_to_quantize=["MatMul", "Gemm"], weight_type=QuantType.QInt8
        )
    finally:
        logging.disable(logging.NOTSET)
    part.replace(path)


def _check_dynamic(graph: Graph, inputs: Any) -> None:
    """Insist that of all inputs only the channels have a fixed size."""
    for given in inputs:
        sizes = given.type.tensor_type.shape.dim
        channels = 1 if len(sizes) == 4 else 2 if given.name == "hidden" else None
        for axis, size in enumerate(sizes):
            if not size.dim_param and axis != channels:
                raise RuntimeError(
                    f"axis {axis} of {given.name} is always {size.dim_value} in {graph.name}.onnx; "
                    "a part of the model takes a size for a constant, by len(tensor) for example"
                )
