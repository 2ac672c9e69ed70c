import math

import pytest
import torch

from glip_pl.layers.positions import cell_centres, cell_mask, real_size, sine_embedding


def make_mask(width, height, padded_width, padded_height):
    mask = torch.zeros(1, padded_height, padded_width, dtype=torch.bool)
    mask[:, :height, :width] = True
    return mask


def test_the_real_size_is_width_then_height_without_padding():
    assert real_size(make_mask(5, 3, 8, 4)).tolist() == [[5, 3]]


def test_a_cell_is_real_from_its_first_real_pixel_on():
    mask = cell_mask(make_mask(5, 3, 12, 4), stride=4)

    assert mask.tolist() == [[[True, True, False]]]


def test_the_last_cell_is_located_by_its_real_part():
    centres = cell_centres(make_mask(5, 4, 8, 8), stride=4)

    # Cells [0, 4) and [4, 5) of a width of five; [0, 4) of a height of four.
    expected = torch.tensor([[2 / 5, 1 / 2], [4.5 / 5, 1 / 2]])
    torch.testing.assert_close(centres[0, 0], expected)


def test_coordinates_are_x_then_y():
    centres = cell_centres(make_mask(2, 1, 2, 1), stride=1)

    assert centres.tolist() == [[[[0.25, 0.5], [0.75, 0.5]]]]


def test_padding_moves_no_cell():
    tight = cell_centres(make_mask(6, 4, 6, 4), stride=2)
    padded = cell_centres(make_mask(6, 4, 12, 8), stride=2)

    assert torch.equal(padded[:, :2, :3], tight)


def test_the_sines_of_one_coordinate_come_before_its_cosines():
    slow = 2 * math.pi / math.sqrt(20)

    embedded = sine_embedding(torch.tensor([0.25]), width=4)

    expected = [1, math.sin(slow / 4), 0, math.cos(slow / 4)]
    assert embedded.tolist() == pytest.approx(expected, abs=1e-6)


def test_coordinates_are_embedded_one_after_the_other():
    box = torch.tensor([[0.1, 0.2, 0.3, 0.4]])

    embedded = sine_embedding(box, width=6)

    assert embedded.shape == (1, 24)
    assert torch.equal(embedded[:, 6:12], sine_embedding(box[:, 1:2], width=6))
