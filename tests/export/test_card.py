"""The card of an exported folder."""

from glip_pl.export.card import Measured, card_of
from glip_pl.runtime.folder import Description

ABOUT = Description(
    encoder="x",
    max_tokens=256,
    unknown_token="[UNK]",
    short_side=128,
    max_side=128,
    score_threshold=0.3,
    nms_iou=0.6,
    max_detections=100,
    candidates_per_level=1000,
    aggregate="mean",
    class_names=("cat", "dog"),
    int8=True,
    glip_pl="1",
)
PARTS = ("Swin", "Bert", "Deep")
SIZES = {"image.onnx": (4_000_000, 1_500_000)}


def test_the_card_has_what_was_measured():
    scores = {"PyTorch": 0.5, "ONNX, int8": 0.49}

    card = card_of("mine", ABOUT, Measured(PARTS, {"logits": 1e-6}, SIZES, scores, "bccd/val"))

    assert "| logits | 1.0e-06 |" in card
    assert "| image.onnx | 4.00 | 1.50 |" in card
    assert "| model | score on bccd/val |" in card
    assert "| ONNX, int8 | 0.4900 |" in card


def test_the_card_says_so_where_nothing_was_scored():
    assert "The score was not measured" in card_of("mine", ABOUT, Measured(PARTS, {}, SIZES, {}))
