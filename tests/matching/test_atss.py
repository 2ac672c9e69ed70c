import torch

from glip_pl.boxes import to_xyxy
from glip_pl.matching.atss import atss


def squares(centers, side):
    """Square boxes of one size at the given centres."""
    return to_xyxy(torch.tensor([(x, y, side, side) for x, y in centers], dtype=torch.float))


def test_the_anchor_on_the_box_takes_it_and_the_distant_do_not():
    anchors = squares([(10, 10), (30, 10), (50, 10)], 20)

    # IoUs 1, 0, 0: mean 1/3 and deviation 0.577 make a threshold of 0.911.
    assert atss(anchors, [3], anchors[:1], num_candidates=3).tolist() == [0, -1, -1]


def test_an_anchor_between_two_boxes_takes_the_one_that_it_overlaps_more():
    anchors = squares([(10, 10)], 20)
    boxes = torch.cat([squares([(14, 10)], 20), squares([(11, 10)], 20)])

    assert atss(anchors, [1], boxes).tolist() == [1]


def test_an_anchor_whose_centre_lies_outside_takes_nothing():
    anchors = squares([(10, 10)], 20)

    assert atss(anchors, [1], squares([(25, 10)], 20)).tolist() == [-1]


def test_an_image_without_boxes_has_no_match():
    assert atss(squares([(5, 5), (9, 9)], 8), [2], torch.zeros(0, 4)).tolist() == [-1, -1]


def test_every_level_offers_candidates():
    fine = squares([(x, 8) for x in range(4, 64, 8)], 8)
    coarse = squares([(16, 16), (48, 16)], 32)
    box = squares([(16, 16)], 30)

    matching = atss(torch.cat([fine, coarse]), [len(fine), 2], box, num_candidates=2)

    assert matching[len(fine)] == 0
    assert (matching[: len(fine)] == -1).all()
