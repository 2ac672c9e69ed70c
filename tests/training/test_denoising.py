from dataclasses import replace

import pytest
import torch
from helpers import Target, make_target

from fusion_plugins.dino import DinoFusion
from fusion_plugins.late import LateFusion
from glip_pl.backbones import TinyBackbone
from glip_pl.fusion import PyramidFeatures, TextFeatures
from glip_pl.matching import HungarianMatcher, Objects
from glip_pl.model import GLIP
from glip_pl.prompts import PromptTemplate
from glip_pl.text import TinyBert
from glip_pl.training.criterion import GroundingCriterion
from glip_pl.training.denoising import (
    Denoising,
    DenoisingSettings,
    noisy_boxes,
    noisy_names,
)
from glip_pl.training.task import GroundingTask

SIZE = (96, 96)
TWO = [[20.0, 24, 44, 56], [50, 50, 80, 62]]


def cats(boxes):
    """One image of cats, whose name has two tokens."""
    target = make_target(boxes, [0] * len(boxes), PromptTemplate().join(["cat"]), [1], size=SIZE)
    both = torch.ones(1, 2, dtype=torch.bool)
    return Target(replace(target.question, positive_map=both, weights=both / 2), target.truth)


def image(boxes):
    """The objects and the truth of one image of cats."""
    truth = cats(boxes).truth
    tokens = torch.ones(len(boxes), 2, dtype=torch.bool)
    return Objects(truth.boxes, tokens, SIZE), truth


def make(*images, pairs=4, **noise):
    torch.manual_seed(0)
    denoising = Denoising(32, DenoisingSettings(pairs=pairs, **noise))
    return denoising, denoising(*zip(*(image(boxes) for boxes in images), strict=True))


def test_each_box_is_repeated_in_groups_once_to_return_to_and_once_not():
    _, noisy = make(TWO, TWO[:1])

    # Two groups: with little noise both boxes, with much noise none.
    assert noisy.matching.tolist() == [
        [0, 1, -1, -1, 0, 1, -1, -1],
        [0, -1, -1, -1, 0, -1, -1, -1],
    ]
    assert noisy.queries.mask[0].all()
    assert noisy.queries.mask[1].tolist() == [True, False] * 4


def test_groups_do_not_see_each_other_nor_padding():
    _, noisy = make(TWO, TWO[:1])

    group = torch.block_diag(torch.ones(4, 4), torch.ones(4, 4)).bool()
    assert torch.equal(noisy.queries.sees[0], group)
    assert torch.equal(noisy.queries.sees[1], group & torch.tensor([True, False] * 4))


def test_more_boxes_than_pairs_are_one_group():
    _, noisy = make(TWO, pairs=1)

    assert noisy.queries.contents.shape == (1, 4, 32)


def test_little_noise_is_up_to_half_a_side_and_much_noise_from_there_to_a_whole():
    torch.manual_seed(0)
    box = torch.tensor([[[400.0, 400, 440, 480]]])
    moved = noisy_boxes(box, 1000, torch.tensor([[1000.0] * 4]), 1.0)[0, :, :, 0]
    sides = torch.tensor([40.0, 80, 40, 80])
    little, much = ((moved - box[0]) / sides).abs().unbind(1)

    assert little.max() <= 0.5
    assert little.max() > 0.49
    # Where sides met halfway they moved otherwise.
    apart = (moved[:, 1, :2] < moved[:, 1, 2:]).repeat(1, 2)
    assert much[apart].min() >= 0.5
    assert much.max() <= 1


def test_noisy_boxes_lie_inside_the_image_and_have_no_negative_side():
    moved = noisy_boxes(torch.tensor([[[0.0, 0, 96, 96]]]), 100, torch.tensor([[96.0] * 4]), 1.0)

    assert moved.min() >= 0
    assert moved.max() <= 96
    assert (moved[..., 2:] >= moved[..., :2]).all()


def test_a_share_of_names_is_replaced_by_others_of_the_prompt():
    torch.manual_seed(0)
    names = noisy_names(torch.zeros(1, 10_000, dtype=torch.long), torch.tensor([4]), share=0.25)

    assert set(names.unique().tolist()) == {0, 1, 2, 3}
    # A quarter of the replacing names is the true one.
    assert float((names != 0).float().mean()) == pytest.approx(0.25 * 0.75, abs=0.02)


@pytest.fixture(scope="module")
def plugin():
    torch.manual_seed(0)
    return DinoFusion(d_model=32, d_text=24, num_layers=2, num_queries=5, num_levels=2).eval()


def features(batch):
    generator = torch.Generator().manual_seed(0)
    levels = tuple(torch.randn(batch, 32, n, n, generator=generator) for n in (12, 6))
    pixels = torch.ones(batch, *SIZE, dtype=torch.bool)
    tokens = torch.ones(batch, 2, dtype=torch.bool)
    hidden = torch.randn(batch, 2, 24, generator=generator)
    return PyramidFeatures(levels, (8, 16), pixels), TextFeatures(hidden, tokens)


def learned(plugin, denoising, *images):
    """The terms of noisy queries."""
    questions, truths = zip(*(cats(boxes) for boxes in images), strict=True)
    criterion = GroundingCriterion(HungarianMatcher())
    noisy = denoising(criterion.objects(questions, truths), truths)
    fused = plugin(*features(len(images)), noisy.queries)
    output = plugin.head(fused).extra
    mask = torch.ones(len(images), 2, dtype=torch.bool)
    return criterion(output, questions, truths, mask, matching=noisy.matching)


def numbers(terms):
    return {name: term.item() for name, term in terms.items()}


def test_without_noise_the_loss_is_that_of_the_true_boxes(plugin):
    denoising, _ = make(TWO, box_noise=0.0)

    terms = numbers(learned(plugin, denoising, TWO))

    # A plugin that has learned nothing leaves each box where it starts.
    assert terms["l1"] == pytest.approx(0, abs=1e-5)
    assert terms["giou"] == pytest.approx(0, abs=1e-4)


def test_with_noise_there_is_something_to_learn(plugin):
    denoising, _ = make(TWO)

    assert numbers(learned(plugin, denoising, TWO))["l1"] > 0.01


def test_images_without_boxes_teach_nothing_but_reach_every_parameter(plugin):
    denoising, _ = make(TWO)

    terms = learned(plugin, denoising, [], [])

    assert set(numbers(terms).values()) == {0}
    terms["token"].backward()
    assert denoising.label.weight.grad is not None


def test_noisy_queries_are_told_by_phrases_where_the_others_are(plugin):
    glip = GLIP(TinyBackbone(), TinyBert(d_text=24), fusion=plugin, d_model=32, told="phrases")
    _, noisy = make(TWO)

    output = glip.ground(*features(1), noisy.queries)

    assert output.told == output.extra.told == "phrases"


def test_a_plugin_without_extra_queries_is_refused():
    with pytest.raises(ValueError, match=r"such as dino; LateFusion does not"):
        GroundingTask(
            TinyBackbone(),
            TinyBert(),
            fusion=LateFusion(d_model=32, d_text=128, num_layers=1),
            d_text=128,
            denoising=DenoisingSettings(),
        )
