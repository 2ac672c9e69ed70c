import numpy as np
import pytest
import torch
from helpers import make_sample
from PIL import Image

from glip_pl.data import Pipeline, read_image
from glip_pl.system.image_size import keep_ratio_size

SAME_SIZE = {"short_sides": [40], "max_side": 60}  # The samples are 40 x 60 pixels.


@pytest.mark.parametrize(
    ("size", "wanted"),
    [
        ((480, 640), (800, 1066)),  # 800 * 640 / 480 = 1066.67, cut off.
        ((640, 480), (1066, 800)),
        ((1080, 1920), (750, 1333)),  # 1333 * 1080 / 1920 = 749.8 is the short side now.
        ((800, 1333), (800, 1333)),
        ((800, 800), (800, 800)),
        ((612, 612), (800, 800)),
        ((101, 3000), (45, 1336)),  # The short side is rounded first: 1333 * 101 / 3000 = 44.9.
        ((1, 4000), (1, 1333)),  # A strip is clamped, and never thinner than a pixel.
        ((4000, 5), (1333, 2)),
    ],
)
def test_a_resize_keeps_the_ratio_and_rounds_as_official_glip(size, wanted):
    assert keep_ratio_size(size, 800, 1333) == wanted


def test_boxes_grow_with_the_image():
    resized = Pipeline(short_sides=[80], max_side=1000)(make_sample([[3, 5, 30, 20]]))

    assert resized.image.shape == (80, 120, 3)
    assert resized.truth.boxes.tolist() == [[6, 10, 60, 40]]


def test_an_uneven_resize_scales_each_axis_by_its_own_factor():
    resized = Pipeline(short_sides=[7], max_side=1000)(make_sample([[0, 0, 60, 40]]))

    assert resized.image.shape == (7, 10, 3)  # 7 * 60 / 40 = 10.5, cut off.
    assert resized.truth.boxes.tolist() == pytest.approx(np.array([[0, 0, 10, 7]]), abs=1e-5)


def test_a_resize_keeps_tiny_boxes_and_the_original_size():
    resized = Pipeline(short_sides=[10])(make_sample([[3.0, 5.0, 3.4, 5.2]]))

    assert len(resized.truth.boxes) == 1
    assert resized.original_size == (40, 60)


def test_a_flip_mirrors_pixels_and_boxes():
    sample = make_sample([[3, 5, 30, 20], [40, 0, 60, 40], [7.0, 7.0, 7.3, 7.2]], ["a", "b", "c"])

    flipped = Pipeline(**SAME_SIZE, flip=1.0)(sample)

    assert np.array_equal(flipped.image, sample.image[:, ::-1])
    # albumentations works on float32 fractions of the image.
    wanted = [[30, 5, 57, 20], [0, 0, 20, 40], [52.7, 7, 53, 7.2]]
    assert flipped.truth.boxes.tolist() == pytest.approx(np.array(wanted), abs=1e-4)
    assert torch.equal(flipped.truth.shows, torch.eye(3, dtype=torch.bool))


def test_a_flip_swaps_left_and_right_in_the_caption():
    flipped = Pipeline(**SAME_SIZE, flip=1.0)(make_sample([[0, 0, 9, 9]], ["left shoe", "hat"]))

    assert flipped.prompt.caption == "right shoe. hat"
    assert flipped.prompt.phrases == ("right shoe", "hat")


def test_a_flip_can_leave_the_caption_alone():
    pipeline = Pipeline(**SAME_SIZE, flip=1.0, mirror_captions=False)

    flipped = pipeline(make_sample([[0, 0, 9, 9]], ["left shoe", "hat"]))

    assert flipped.prompt.caption == "left shoe. hat"
    assert flipped.truth.boxes.tolist() == [[51, 0, 60, 9]]


def test_a_flip_of_an_image_without_boxes_has_no_boxes():
    flipped = Pipeline(**SAME_SIZE, flip=1.0)(make_sample([]))

    assert flipped.truth.boxes.shape == (0, 4)
    assert flipped.truth.shows.shape == (0, 1)


def test_a_crop_moves_its_boxes_with_the_pixels():
    sample = make_sample([[20, 10, 30, 20]])
    sample.image[:] = 0
    sample.image[10:20, 20:30] = 255

    torch.manual_seed(0)
    for _ in range(20):
        cropped = Pipeline(short_sides=[1000], max_side=1000, crop=1.0)(sample)

        lit = cropped.image[..., 0] > 127  # Upscaled more than 16 times, so a pixel is 6 % of it.
        rows, columns = lit.any(1).nonzero()[0], lit.any(0).nonzero()[0]
        found = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
        assert cropped.truth.boxes[0].tolist() == pytest.approx(found, abs=2)


def test_a_crop_drops_a_box_with_its_row_and_keeps_all_phrases():
    sample = make_sample([[0, 0, 3, 3], [57, 37, 60, 40]], ["cat", "dog"])

    torch.manual_seed(0)
    counts = set()
    for _ in range(30):
        cropped = Pipeline(short_sides=[40], max_side=1000, crop=1.0)(sample)
        counts.add(len(cropped.truth.boxes))
        assert len(cropped.truth.shows) == len(cropped.truth.crowd) == len(cropped.truth.boxes)
        assert cropped.truth.shows.shape[1] == 2
        assert cropped.prompt.phrases == ("cat", "dog")
        if len(cropped.truth.boxes) == 1:  # Which of the two it is shows in where it lies.
            is_cat = bool(cropped.truth.boxes[0, 0] < cropped.image.shape[1] / 2)
            assert cropped.truth.shows.tolist() == [[is_cat, not is_cat]]

    assert 1 in counts


def test_a_crop_keeps_a_box_only_while_a_quarter_of_it_is_left():
    sample = make_sample([[0, 0, 4, 4], [30, 20, 60, 40]], ["small", "large"])

    torch.manual_seed(0)
    fractions = []
    for _ in range(60):
        cropped = Pipeline(short_sides=[400], max_side=4000, crop=1.0)(sample)
        small_is_whole = cropped.truth.shows[:, 0].any() and cropped.truth.boxes[0, :2].eq(0).all()
        if small_is_whole:
            area = (cropped.truth.boxes[:, 2:] - cropped.truth.boxes[:, :2]).prod(1)
            # The small box of 4 x 4 pixels tells how much the crop was enlarged.
            fractions.append(float(area[1] / area[0] * 16 / 600) if len(area) == 2 else 0.0)

    kept = [fraction for fraction in fractions if fraction > 0]
    assert len(kept) < len(fractions)
    assert min(kept) >= 0.25 - 1e-3


def test_a_change_of_colours_leaves_boxes_and_shape_alone():
    sample = make_sample([[3, 5, 30, 20]])

    colored = Pipeline(**SAME_SIZE, color=1.0)(sample)

    assert not np.array_equal(colored.image, sample.image)
    assert colored.image.shape == sample.image.shape
    assert colored.image.dtype == np.uint8
    assert torch.equal(colored.truth.boxes, sample.truth.boxes)


def test_the_seed_of_torch_fixes_what_a_pipeline_draws():
    pipeline = Pipeline(short_sides=[30, 40, 50], flip=0.5, crop=0.5, color=0.5)
    sample = make_sample([[3, 5, 30, 20]])

    def draw() -> list[np.ndarray]:
        torch.manual_seed(3)
        return [pipeline(sample).image for _ in range(8)]

    first, second = draw(), draw()

    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert len({a.tobytes() for a in first}) > 4


def test_a_pipeline_with_one_short_side_and_no_chance_is_not_random():
    assert not Pipeline(short_sides=[416]).is_random
    assert Pipeline(short_sides=[416, 480]).is_random
    assert Pipeline(color=0.1).is_random


@pytest.mark.parametrize("wrong", [{"flip": 1.5}, {"short_sides": []}, {"max_side": 0}])
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Pipeline(**wrong)


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "1", "CMYK"])
def test_every_kind_of_image_becomes_rgb(tmp_path, mode):
    path = tmp_path / ("a.jpg" if mode == "CMYK" else "a.png")
    Image.new("RGB", (6, 4), (255, 255, 255)).convert(mode).save(path)

    pixels = read_image(path)

    assert pixels.shape == (4, 6, 3)
    assert pixels.dtype == np.uint8
    assert pixels.min() == 255


def test_sixteen_bit_grey_keeps_its_shades(tmp_path):
    Image.fromarray(np.array([[0, 0x8000, 0xFFFF]], dtype=np.uint16)).save(tmp_path / "a.png")

    assert read_image(tmp_path / "a.png")[0, :, 0].tolist() == [0, 128, 255]


def test_a_photo_taken_sideways_is_turned(tmp_path):
    image = Image.new("RGB", (6, 4))
    image.putpixel((0, 0), (255, 0, 0))
    exif = Image.Exif()
    exif[0x0112] = 6  # Turn by 90 degrees clockwise to view.
    image.save(tmp_path / "a.png", exif=exif)

    pixels = read_image(tmp_path / "a.png")

    assert pixels.shape == (6, 4, 3)
    assert pixels[0, 3].tolist() == [255, 0, 0]


def test_a_truncated_image_is_refused_by_name(tmp_path):
    path = tmp_path / "cut.jpg"
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    path.write_bytes(path.read_bytes()[:1500])

    with pytest.raises(ValueError, match=r"cut\.jpg.*truncated.*replace the file"):
        read_image(path)


@pytest.mark.parametrize(
    ("name", "reason"), [("text.jpg", "identify"), ("gone.jpg", "no such file")]
)
def test_what_is_no_image_is_refused_by_name(tmp_path, name, reason):
    (tmp_path / "text.jpg").write_text("I am no image")

    with pytest.raises(ValueError, match=rf"{name}.*{reason}"):
        read_image(tmp_path / name)


@pytest.mark.parametrize(
    ("short_side", "size"), [(30, (40, 50)), (40, (40, 50)), (41, (80, 100)), (500, (160, 200))]
)
def test_a_jpeg_is_decoded_small_while_its_short_side_keeps_enough(tmp_path, short_side, size):
    y, x = np.mgrid[:160, :200].astype(np.uint8)
    Image.fromarray(np.stack([y, x, y], -1)).save(tmp_path / "a.jpg", quality=95)

    pixels = read_image(tmp_path / "a.jpg", size=(160, 200), short_side=short_side)

    assert pixels.shape[:2] == size
    step = 160 / size[0]
    centres = (np.arange(size[0]) + 0.5) * step - 0.5
    np.testing.assert_allclose(pixels[:, size[1] // 2, 0], centres, atol=2)


def test_a_png_is_decoded_whole(tmp_path):
    Image.new("RGB", (200, 160)).save(tmp_path / "a.png")

    assert read_image(tmp_path / "a.png", short_side=10).shape == (160, 200, 3)


def test_a_sideways_photo_decoded_small_is_held_against_its_upright_size(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (200, 160)).save(tmp_path / "a.jpg", exif=exif)

    assert read_image(tmp_path / "a.jpg", size=(200, 160), short_side=80).shape == (100, 80, 3)
    with pytest.raises(ValueError, match=r"\(200, 160\), but its record says \(160, 200\)"):
        read_image(tmp_path / "a.jpg", size=(160, 200), short_side=80)


def test_what_a_resize_needs_is_the_largest_side_and_room_for_a_crop():
    assert Pipeline(short_sides=[480, 800]).needed_side == 800
    assert Pipeline(short_sides=[480, 600], crop=0.1).needed_side == 1000
