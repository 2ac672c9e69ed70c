import numpy as np
import pytest
import torch

from glip_pl.inference.visualize import PALETTE, UNKNOWN_COLOR, draw, side_by_side

GREY = np.full((400, 600, 3), 200, dtype=np.uint8)
BOX = torch.tensor([[100.0, 150.0, 300.0, 350.0]])


def painted(before, after):
    """The extent of what differs, xyxy."""
    rows, columns = (before != after).any(-1).nonzero()
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


def test_a_box_is_drawn_just_inside_its_edges():
    picture = draw(GREY, BOX, [""])

    assert painted(GREY, picture) == (100, 150, 300, 350)
    assert tuple(picture[150, 200]) == PALETTE[0]
    assert tuple(picture[250, 200]) == (200, 200, 200)


def test_the_given_image_is_not_drawn_on():
    image = GREY.copy()

    draw(image, BOX, ["cat"])

    assert (image == GREY).all()


def test_a_label_stands_above_its_box():
    x1, y1, x2, y2 = painted(GREY, draw(GREY, BOX, ["cat"]))

    assert (x1, x2, y2) == (100, 300, 350)
    assert 120 < y1 < 145


@pytest.mark.parametrize(
    "box",
    [
        (0, 0, 600, 400),
        (590, 0, 600, 10),
        (0, 390, 10, 400),
        (590, 390, 600, 400),
        (-9, -9, 700, 500),
    ],
)
def test_a_label_is_never_cut_by_the_border(box):
    label = "the red circle left of the blue square"
    free = draw(GREY, BOX, [label])
    tab = int((free[150 - 10] == PALETTE[0]).all(-1).sum())

    picture = draw(GREY, torch.tensor([box], dtype=torch.float), [label])

    assert picture.shape == GREY.shape
    # Somewhere a row shows as much of the tab's colour as for a label with room on all sides.
    assert (picture == PALETTE[0]).all(-1).sum(1).max() >= tab


def test_labels_of_boxes_at_the_same_place_do_not_cover_each_other():
    one = draw(GREY, BOX, ["cat"], colors=[1])
    both = draw(GREY, BOX.repeat(2, 1), ["cat", "dog"], colors=[1, 2])

    above = slice(120, 150)

    assert (one[above] == both[above]).all()


def test_boxes_of_the_same_label_share_a_colour():
    boxes = torch.tensor([[10.0, 50, 60, 100], [110, 50, 160, 100], [210, 50, 260, 100]])

    picture = draw(GREY, boxes, ["cat", "dog", "cat"])

    assert [tuple(picture[98, x]) for x in (11, 111, 211)] == [PALETTE[0], PALETTE[1], PALETTE[0]]


def test_colours_follow_the_phrase_and_start_anew_after_the_last():
    picture = draw(GREY, BOX, [""], colors=[len(PALETTE) + 3])

    assert tuple(picture[349, 200]) == PALETTE[3]


def test_an_unknown_thing_is_grey():
    assert tuple(draw(GREY, BOX, [""], colors=[-1])[349, 200]) == UNKNOWN_COLOR


def test_a_small_image_is_enlarged_with_its_boxes():
    image = GREY[:128, :128]

    picture = draw(image, torch.tensor([[20.0, 30.0, 60.0, 90.0]]), [""])

    assert picture.shape == (384, 384, 3)
    assert painted(np.full_like(picture, 200), picture) == (60, 90, 180, 270)


def test_no_boxes_give_the_image_itself():
    assert (draw(GREY, torch.zeros(0, 4), []) == GREY).all()


def test_a_box_outside_the_image_does_not_fail():
    assert draw(GREY, torch.tensor([[700.0, 500.0, 800.0, 600.0]]), ["cat"]).shape == GREY.shape


def test_text_contrasts_with_every_colour_of_the_palette():
    for k, paint in enumerate(PALETTE):
        picture = draw(GREY, BOX, ["WWW"], colors=[k])
        tab = picture[120:150, 100:200].reshape(-1, 3).astype(int)
        # The letters' edges are blended, and thin strokes are nothing else.
        text = max(((255, 255, 255), (0, 0, 0)), key=lambda color: contrast(paint, color))

        assert (abs(tab - text).max(-1) < 60).any()
        assert contrast(paint, text) >= 4.5


def contrast(one, other):
    """Contrast ratio of WCAG 2."""

    def luminance(color):
        linear = [c / 3294.6 if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in color]
        return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    low, high = sorted([luminance(one), luminance(other)])
    return (high + 0.05) / (low + 0.05)


def test_truth_stands_left_and_prediction_right_under_titles():
    sheet = side_by_side(GREY, GREY // 2)

    assert sheet.shape[1] == 2 * 600 + 8
    assert (sheet[-400:, :600] == 200).all()
    assert (sheet[-400:, -600:] == 100).all()
    assert (sheet[:-400, :600] < 100).any()
