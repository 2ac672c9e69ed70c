"""Our Swin against torchvision's, and windows attended one pair at a time."""

import pytest
import torch
import torchvision

from glip_pl.backbones import SwinBackbone
from glip_pl.backbones.swin import Mlp, PatchMerging
from glip_pl.layers.window_attention import WindowAttention
from glip_pl.layers.windows import Windows, cut_windows

CPU = torch.device("cpu")


def test_maps_equal_those_of_torchvision():
    torch.manual_seed(0)
    sizes = {"embed_dim": 8, "depths": [2, 2, 2, 2], "num_heads": [1, 2, 2, 4]}
    other = torchvision.models.SwinTransformer(
        patch_size=[4, 4], window_size=[4, 4], num_classes=2, **sizes
    ).eval()
    for name, parameter in other.named_parameters():
        if "bias" in name:
            torch.nn.init.normal_(parameter)
    ours = SwinBackbone(8, (2, 2, 2, 2), num_heads=(1, 2, 2, 4), window=4).eval()
    missing, foreign = ours.load_state_dict(renamed(other.state_dict()), strict=False)
    images = torch.randn(2, 3, 136, 264)  # 34 x 66 cells: neither side is a multiple of 4.

    with torch.no_grad():
        maps = ours(images)
        x = images
        for k, feature in enumerate(other.features):
            x = feature(x)
            if k in (3, 5, 7):  # After the stages at 8, 16 and 32 pixels per cell.
                normed = torch.nn.functional.layer_norm(x, x.shape[-1:]).permute(0, 3, 1, 2)
                assert torch.allclose(maps[k // 2 - 1], normed, atol=1e-4)

    assert foreign == []
    assert all(key.startswith(("norm", "pixel")) for key in missing)


def renamed(state):
    """The names that our Swin gives to torchvision's weights."""
    renames = {
        "features.0.0.": "patch_embed.proj.",
        "features.0.2.": "patch_embed.norm.",
        "mlp.0.": "mlp.fc1.",
        "mlp.3.": "mlp.fc2.",
    }
    for s in range(4):
        renames |= {f"features.{2 * s + 2}.": f"layers.{s}.downsample."}
        renames |= {f"features.{2 * s + 1}.{b}.": f"layers.{s}.blocks.{b}." for b in range(2)}
    out = {}
    for key, value in state.items():
        for theirs, ours in renames.items():
            key = key.replace(theirs, ours)
        if not key.startswith(("head", "norm")) and not key.endswith("position_index"):
            out[key] = value
    return out


def test_window_attention_equals_a_loop_over_pairs():
    torch.manual_seed(0)
    attend = WindowAttention(4, 2, 2).double()
    x = torch.randn(1, 3, 4, 4, dtype=torch.float64)
    mask = torch.zeros(1, 4, 4, dtype=torch.float64)  # Of the last window alone.
    mask[0, 0, 1] = -100.0

    out = attend(x, Windows(*[torch.empty(0)] * 3, mask))

    cells = [(0, 0), (0, 1), (1, 0), (1, 1)]
    for window in range(3):
        q, k, v = attend.qkv(x[0, window]).view(4, 3, 2, 2).unbind(1)  # [T, heads, 2]
        mixed = torch.zeros(4, 2, 2, dtype=torch.float64)
        for head in range(2):
            for i, (yi, xi) in enumerate(cells):
                scores = torch.stack(
                    [
                        q[i, head] @ k[j, head] / 2**0.5
                        + attend.relative_position_bias_table[(yi - yj + 1) * 3 + xi - xj + 1, head]
                        + (mask[0, i, j] if window == 2 else 0)
                        for j, (yj, xj) in enumerate(cells)
                    ]
                )
                mixed[i, head] = scores.softmax(0) @ v[:, head]
        assert torch.allclose(out[0, window], attend.proj(mixed.flatten(1)), atol=1e-12)


def test_cells_are_cut_into_windows_row_by_row():
    x = torch.arange(2 * 4 * 6 * 3.0).view(2, 24, 3)
    windows = cut_windows(4, 6, 2, 0, CPU)

    cut = windows.cut(x)

    assert cut.shape == (2, 6, 4, 3)
    assert cut[0, 1].equal(x[0, [2, 3, 8, 9]])  # The second window: rows 0 and 1, columns 2 and 3.
    assert len(windows.mask) == 0


def test_places_outside_the_map_hold_zeros():
    cut = cut_windows(1, 3, 2, 0, CPU).cut(torch.ones(1, 3, 1))

    assert cut[0, :, :, 0].tolist() == [[1, 1, 0, 0], [1, 0, 0, 0]]


@pytest.mark.parametrize("shift", [0, 3])
def test_joining_undoes_cutting_and_so_do_the_gradients(shift):
    x = torch.randn(2, 5 * 17, 3, dtype=torch.float64, requires_grad=True)
    windows = cut_windows(5, 17, 7, shift, CPU)

    assert windows.join(windows.cut(x)).equal(x)
    assert torch.autograd.gradcheck(windows.cut, x)
    places = torch.randn(2, 3, 49, 1, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(windows.join, places)


def test_only_cells_that_were_neighbours_before_the_shift_attend():
    windows = cut_windows(2, 4, 2, 1, CPU)

    # Moved by one: columns 1 2 | 3 0 of rows 1 0. Both rows of every window differ, since there is
    # only one row of windows; of the window at the edge, column 0 wraps round.
    no, ok = -100.0, 0.0
    assert windows.cut(torch.arange(8.0).view(1, 8, 1))[0, :, :, 0].tolist() == [
        [5, 6, 1, 2],
        [7, 4, 3, 0],
    ]
    assert windows.mask.tolist() == [
        [[ok, ok, no, no], [ok, ok, no, no], [no, no, ok, ok], [no, no, ok, ok]],
        [[ok, no, no, no], [no, ok, no, no], [no, no, ok, no], [no, no, no, ok]],
    ]


def test_windows_that_need_no_mask_come_first():
    windows = cut_windows(14, 14, 7, 3, CPU)

    assert len(windows.mask) == 3  # Of four windows the first alone has neighbours only.
    assert windows.cells[0] == 3 * 14 + 3


def test_the_perceptron_is_the_same_in_blocks_of_rows():
    torch.manual_seed(0)
    mlp = Mlp(8)
    x = torch.randn(3, 300, 100, 8)  # Rows for two blocks.

    with torch.no_grad():
        assert torch.allclose(mlp(x), mlp.fc2(torch.nn.functional.gelu(mlp.fc1(x))), atol=1e-6)


def test_patch_merging_goes_down_the_column_first():
    merge = PatchMerging(1).eval()
    seen = {}
    merge.norm.register_forward_pre_hook(lambda _, args: seen.update(x=args[0]))

    merge(torch.tensor([[1.0, 2.0], [3.0, 4.0]]).view(1, 2, 2, 1))

    assert seen["x"].flatten().tolist() == [1, 3, 2, 4]


def test_published_imagenet_weights_load_without_their_classifier(tmp_path):
    sizes = {"embed_dim": 8, "depths": (1, 1, 1, 1), "num_heads": (1, 1, 2, 2), "window": 4}
    published = {
        key: value
        for key, value in SwinBackbone(**sizes).state_dict().items()
        if not key.startswith(("norm", "pixel"))
    }
    extra = {
        "norm.weight": torch.ones(64),
        "head.weight": torch.ones(5, 64),
        "layers.0.blocks.0.attn.relative_position_index": torch.zeros(16, 16),
    }
    path = tmp_path / "swin.pth"
    torch.save({"model": published | extra}, path)

    loaded = SwinBackbone(**sizes, weights=str(path)).state_dict()

    assert all(loaded[key].equal(value) for key, value in published.items())
