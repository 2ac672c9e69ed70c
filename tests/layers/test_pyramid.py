import pytest
import torch

from glip_pl.layers.pyramid import flatten, unflatten


def maps(batch):
    torch.manual_seed(0)
    return [torch.randn(batch, 8, *size) for size in ((6, 10), (3, 5), (2, 3))]


@pytest.mark.parametrize("batch", [1, 2])
def test_a_pyramid_comes_back_from_its_cells(batch):
    levels = maps(batch)
    cells, sizes = flatten(levels)

    assert sizes == (60, 15, 6)
    for level, again in zip(levels, unflatten(cells, levels), strict=True):
        torch.testing.assert_close(again, level, atol=0, rtol=0)


@pytest.mark.parametrize("batch", [1, 2])
def test_layers_take_the_maps_for_channels_last(batch):
    """Norms and convolutions judge by the strides, and copy a map that has others."""
    for level in unflatten(torch.randn(batch, 81, 8), maps(batch)):
        normed = torch.nn.functional.group_norm(level, 2)
        assert normed.is_contiguous(memory_format=torch.channels_last)
