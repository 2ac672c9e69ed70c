import pytest
import torch

from glip_pl.layers.windows import cut_windows


@pytest.mark.parametrize("size", [(8, 12), (7, 10), (3, 3)])
@pytest.mark.parametrize("shift", [0, 2])
def test_exported_windows_hold_the_same_cells_and_masks(size, shift, monkeypatch):
    cells = torch.arange(1.0, size[0] * size[1] + 1)[None, :, None]
    usual = cut_windows(*size, 4, shift, torch.device("cpu"))
    monkeypatch.setattr(torch.compiler, "is_exporting", lambda: True)
    rolled = cut_windows(*size, 4, shift, torch.device("cpu"))

    assert sorted(rolled.cut(cells)[0, :, :, 0].tolist()) == sorted(
        usual.cut(cells)[0, :, :, 0].tolist()
    )
    assert torch.equal(rolled.join(rolled.cut(cells)), cells)
    mixed = rolled.mask.any((1, 2))
    assert int(mixed.sum()) == int(usual.mask.any((1, 2)).sum())
