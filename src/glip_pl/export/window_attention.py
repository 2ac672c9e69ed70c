"""Attention inside windows in ONNX: padding, the cyclic shift and the cut of the paper.

The twin of `glip_pl.layers.window_operator` with operators that every runtime knows. See Swin
Transformer, Sec. 3.2 (https://arxiv.org/abs/2103.14030).
"""

from typing import Any

from onnxscript import opset22

# Its types know constants of one kind each, and not what an operator returns.
op: Any = opset22

_FAR = -100.0  # What keeps cells apart that only the shift made neighbours.


def window_attention(
    x: Any, weight: Any, bias: Any, position_bias: Any, window: int, shift: int
) -> Any:
    """Translate `glip_pl::window_attention`; see there for the arguments."""
    channels, heads = weight.shape[1], position_bias.shape[1]
    size = op.Shape(x, start=1, end=3)  # [H, W]
    side = _ints(window)
    padding = op.Mod(op.Neg(size), side)
    count = op.Div(op.Add(size, padding), side)  # Windows down and across.
    down, across = op.Split(count, num_outputs=2)
    batch = op.Shape(x, start=0, end=1)
    grid = op.Concat(batch, down, side, across, side, _ints(channels), axis=0)

    padded = op.Pad(x, op.Concat(_ints(0, 0, 0, 0, 0), padding, _ints(0), axis=0))
    cells = op.Transpose(op.Reshape(_roll(padded, shift), grid), perm=[0, 1, 3, 2, 4, 5])
    cells = op.Reshape(cells, _ints(-1, window**2, channels))
    qkv = op.Add(op.MatMul(cells, op.Transpose(weight, perm=[1, 0])), bias)
    qkv = op.Reshape(qkv, _ints(-1, window**2, 3, heads, channels // heads))
    query, key, value = op.Split(op.Transpose(qkv, perm=[2, 0, 3, 1, 4]), num_outputs=3, axis=0)
    scale = op.Constant(value_float=(channels // heads) ** -0.5)
    query, value = op.Squeeze(op.Mul(query, scale), _ints(0)), op.Squeeze(value, _ints(0))
    key = op.Transpose(op.Squeeze(key, _ints(0)), perm=[0, 1, 3, 2])
    scores = op.Add(op.MatMul(query, key), position_bias)  # [B * windows, heads, T, T]
    if shift:
        apart = _apart(down, across, window, shift)  # [windows, 1, T, T]
        per_image = op.Concat(batch, op.Mul(down, across), _ints(heads), axis=0)
        pairs = _ints(window**2, window**2)
        scores = op.Add(op.Reshape(scores, op.Concat(per_image, pairs, axis=0)), apart)
        scores = op.Reshape(scores, op.Concat(_ints(-1, heads), pairs, axis=0))
    out = op.MatMul(op.Softmax(scores, axis=-1), value)  # [B * windows, heads, T, C / heads]

    windows = op.Concat(batch, down, across, side, side, _ints(channels), axis=0)
    out = op.Reshape(op.Transpose(out, perm=[0, 2, 1, 3]), windows)
    whole = op.Concat(batch, op.Mul(count, side), _ints(channels), axis=0)
    out = op.Reshape(op.Transpose(out, perm=[0, 1, 3, 2, 4, 5]), whole)
    return op.Slice(_roll(out, -shift), _ints(0, 0), size, _ints(1, 2))


def _ints(*values: int) -> Any:
    return op.Constant(value_ints=list(values))


def _roll(x: Any, shift: int) -> Any:
    """Move a map [B, H, W, C] by `shift` cells to the top left; what leaves comes in again."""
    if not shift:
        return x
    end = 2**31 - 1
    for axis in (1, 2):
        at = (_ints(shift), _ints(end), _ints(axis)), (_ints(0), _ints(shift), _ints(axis))
        x = op.Concat(op.Slice(x, *at[0]), op.Slice(x, *at[1]), axis=axis)
    return x


def _apart(down: Any, across: Any, window: int, shift: int) -> Any:
    """Return what each pair of cells of each window adds to its scores, [windows, 1, T, T]."""
    rows = op.Mul(_regions(down, window, shift), op.Constant(value_float=3.0))
    region = op.Add(
        op.Unsqueeze(rows, _ints(1)), op.Unsqueeze(_regions(across, window, shift), _ints(0))
    )
    side = _ints(window)
    region = op.Reshape(region, op.Concat(down, side, across, side, axis=0))
    region = op.Reshape(op.Transpose(region, perm=[0, 2, 1, 3]), _ints(-1, 1, window**2))
    same = op.Equal(op.Unsqueeze(region, _ints(3)), op.Unsqueeze(region, _ints(2)))
    return op.Where(same, op.Constant(value_float=0.0), op.Constant(value_float=_FAR))


def _regions(count: Any, window: int, shift: int) -> Any:
    """Return the number of what the shift brings together on a side of so many windows."""
    # All cells before the last window are one region; the last window holds two more.
    last = op.Constant(value_floats=[1.0] * (window - shift) + [2.0] * shift)
    before = op.Mul(op.Sub(count, _ints(1)), _ints(window))
    return op.Concat(op.ConstantOfShape(before), last, axis=0)
