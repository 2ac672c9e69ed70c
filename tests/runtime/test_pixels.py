import numpy as np
import pytest
from PIL import Image

from glip_pl.runtime.pixels import check_image, prepare, resize


@pytest.mark.parametrize("size", [(20, 31), (97, 64), (64, 64), (130, 40), (1, 1)])
def test_an_image_is_resized_to_the_bit_as_in_training(size):
    image = np.random.default_rng(0).integers(0, 256, (64, 90, 3), dtype=np.uint8)

    wanted = Image.fromarray(image).resize(size[::-1], Image.Resampling.BILINEAR)

    assert np.array_equal(resize(image, size), np.asarray(wanted))


def test_an_image_is_padded_at_the_bottom_and_on_the_right():
    padded, mask = prepare(np.full((50, 100, 3), 7, np.uint8), 40, 400)

    assert padded.shape == (1, 3, 64, 96)
    assert mask.sum() == 40 * 80
    assert (padded[0, :, :40, :80] == 7).all()
    assert (padded[0, :, 40:] == 0).all()


@pytest.mark.parametrize(
    "image",
    [
        None,
        "cat.jpg",
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((3, 4, 4), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
    ],
    ids=["none", "path", "grey", "float", "channels first", "empty"],
)
def test_what_is_no_image_is_refused(image):
    with pytest.raises(ValueError, match=r"pass (an array uint8 )?\[height, width, 3\]"):
        check_image(image)
