import errno
import os

import numpy as np
import pytest
from PIL import Image

from glip_pl.data.formats.common.decoders import eight_bits
from glip_pl.data.images import read_image


@pytest.mark.parametrize(
    ("levels", "dtype", "wanted"),
    [
        ([0, 0x800, 0xFFF], np.uint16, [0, 128, 255]),  # A camera of 12 bits.
        ([0, 0x8000, 0xFFFF], np.uint16, [0, 128, 255]),
        ([0, 128, 255], np.uint16, [0, 128, 255]),
        ([0, 0x8000, 0xFFFF], np.int32, [0, 128, 255]),
        ([0, 1 << 30, (1 << 31) - 1], np.int32, [0, 64, 127]),
        ([0, 0.5, 1], np.float32, [0, 127, 255]),
        ([0, 128, 255], np.float32, [0, 128, 255]),
        ([-1, 0, 1], np.float32, [0, 127, 255]),
        ([0, np.nan, np.inf], np.float32, [0, 0, 0]),
    ],
)
def test_grey_levels_of_any_depth_are_scaled_to_eight_bits(levels, dtype, wanted):
    assert eight_bits(np.array([levels], dtype)).tolist() == [wanted]


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32])
def test_a_file_of_wide_grey_levels_is_read(tmp_path, dtype):
    levels = np.array([[0, 0.5, 1]]) if dtype is np.float32 else np.array([[0, 2048, 4095]])
    Image.fromarray(levels.astype(dtype)).save(tmp_path / "a.tif")

    assert read_image(tmp_path / "a.tif")[0, :, 0].tolist() in ([0, 128, 255], [0, 127, 255])


@pytest.mark.parametrize("kind", ["EPS", "PPM", "ICO", "PCX"])
def test_a_file_is_opened_by_no_other_decoder_whatever_its_name(tmp_path, kind):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.jpg", format=kind)

    with pytest.raises(ValueError, match=r"a\.jpg.*cannot identify"):
        read_image(tmp_path / "a.jpg")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF"])
def test_a_photograph_is_opened_whatever_its_name(tmp_path, kind):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.jpg", format=kind)

    assert read_image(tmp_path / "a.jpg").shape == (8, 8, 3)


def test_a_file_is_not_broken_because_no_more_can_be_opened(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr("glip_pl.data.images.open_image", refuse)

    with pytest.raises(OSError, match="Too many open files"):
        read_image(tmp_path / "a.png")
