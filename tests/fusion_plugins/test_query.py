import inspect
from pathlib import Path

import pytest
import torch
import yaml

from fusion_plugins.query import QueryFusion, grid_boxes
from glip_pl.fusion import PyramidFeatures, TextFeatures

STRIDES = (8, 16, 32)
WIDTH, HEIGHT = 90, 60


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def make_fusion(**options):
    sizes = {"num_queries": 6, "num_layers": 3, "num_heads": 2}
    return QueryFusion(d_model=16, d_text=12, **sizes | options).eval()


def make_image(padded_width=96, padded_height=64):
    """One image; its real cells are the same whatever the padding."""
    generator = torch.Generator().manual_seed(1)
    levels = []
    for stride in STRIDES:
        real = torch.randn(1, 16, -(-HEIGHT // stride), -(-WIDTH // stride), generator=generator)
        level = torch.full((1, 16, padded_height // stride, padded_width // stride), 9.0)
        level[..., : real.shape[2], : real.shape[3]] = real
        levels.append(level)
    mask = torch.zeros(1, padded_height, padded_width, dtype=torch.bool)
    mask[:, :HEIGHT, :WIDTH] = True
    return PyramidFeatures(tuple(levels), STRIDES, mask)


def make_text(seed=2):
    generator = torch.Generator().manual_seed(seed)
    return TextFeatures(torch.randn(1, 5, 12, generator=generator), torch.ones(1, 5).bool())


def fuse(fusion, image, text):
    return fusion(fusion.prepare_image(image), text)


def test_four_queries_start_in_the_quarters_of_the_image():
    boxes = grid_boxes(4)

    quarters = [[0.25, 0.25], [0.75, 0.25], [0.25, 0.75], [0.75, 0.75]]
    assert boxes[:, :2].tolist() == quarters


def test_queries_that_fill_no_square_still_span_the_image():
    boxes = grid_boxes(7)  # Rows of three, two and two.

    assert boxes[:, 1].unique().tolist() == pytest.approx([1 / 6, 1 / 2, 5 / 6])
    assert boxes[:3, 0].tolist() == pytest.approx([1 / 6, 1 / 2, 5 / 6])
    assert boxes[3:5, 0].tolist() == [0.25, 0.75]
    assert boxes[3, 2:].tolist() == pytest.approx([0.95, 2 / 3])


def test_priors_are_boxes_of_the_image_without_padding():
    fused = fuse(make_fusion(num_queries=100), make_image(), make_text())

    # The first of ten by ten: centre at 1/20, two tenths wide, of 90 by 60 pixels.
    assert fused.priors[0, 0].tolist() == pytest.approx([-4.5, -3.0, 13.5, 9.0], abs=1e-4)


def test_every_decoder_layer_gives_regions():
    fused = fuse(make_fusion(), make_image(), make_text())

    assert fused.level_sizes == (6,)
    assert [tuple(regions.shape) for regions in (*fused.intermediate, fused.regions)] == [
        (1, 6, 16),
        (1, 6, 16),
        (1, 6, 16),
    ]


def test_fine_levels_are_left_out():
    prepared = make_fusion(min_stride=16).prepare_image(make_image())

    assert prepared.strides == (16, 32)
    assert [tuple(level.shape[-2:]) for level in prepared.levels] == [(4, 6), (2, 3)]


def test_of_many_levels_the_coarsest_are_used():
    prepared = make_fusion(min_stride=1, num_levels=1).prepare_image(make_image())

    assert prepared.strides == (32,)


def test_a_pyramid_that_is_too_fine_is_refused():
    with pytest.raises(ValueError, match=r"min_stride=64.*min_stride to 32"):
        make_fusion(min_stride=64).prepare_image(make_image())


def test_a_width_that_holds_no_sine_pairs_is_refused():
    with pytest.raises(ValueError, match=r"d_model is 18.*multiple of 4"):
        QueryFusion(d_model=18, d_text=12)


def test_more_padding_changes_nothing():
    fusion = make_fusion()

    tight = fuse(fusion, make_image(96, 64), make_text())
    padded = fuse(fusion, make_image(160, 128), make_text())

    torch.testing.assert_close(padded.regions, tight.regions)
    assert torch.equal(padded.priors, tight.priors)


def test_every_query_hears_the_text():
    fusion = make_fusion()
    image = fusion.prepare_image(make_image())

    one, other = fusion(image, make_text(2)), fusion(image, make_text(3))
    assert (one.regions - other.regions).abs().amax(-1).min() > 1e-3


def test_one_prepared_image_serves_many_prompts():
    fusion = make_fusion()
    image = fusion.prepare_image(make_image())

    first = fusion(image, make_text(2))
    fusion(image, make_text(3))
    assert torch.equal(fusion(image, make_text(2)).regions, first.regions)


def test_the_yaml_states_the_defaults():
    path = Path(inspect.getfile(QueryFusion)).with_suffix(".yaml")
    given = yaml.safe_load(path.read_text())["model"]["fusion"]["init_args"]
    parameters = inspect.signature(QueryFusion).parameters

    assert given == {name: parameters[name].default for name in given}
