import math

import pytest
import torch
import torch.nn.functional as F

from glip_pl.fusion import FusionOutput
from glip_pl.head import GroundingHead


@pytest.fixture
def fused():
    generator = torch.Generator().manual_seed(0)
    priors = torch.tensor([[0.0, 0, 8, 8], [8, 0, 16, 8], [0, 0, 16, 16]]).expand(2, 3, 4)
    regions = torch.randn(2, 3, 6, generator=generator)
    tokens = torch.randn(2, 4, 5, generator=generator)
    return FusionOutput(regions, tokens, priors, (2, 1), (regions * 0.5,))


@pytest.fixture
def head():
    torch.manual_seed(1)
    head = GroundingHead(6, 5, num_levels=2)
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return head


def test_logits_are_the_written_out_formula(head, fused):
    weight, offset = head.token_projection.weight, head.token_projection.bias
    expected = torch.zeros(2, 3, 4)
    for b in range(2):
        for n in range(3):
            for m in range(4):
                unit = F.normalize(fused.tokens[b, m], dim=0)
                key = weight @ (unit / 2) + offset
                score = fused.regions[b, n] @ key / math.exp(float(head.log_temperature))
                expected[b, n, m] = score + unit @ head.token_bias + head.prior_bias[0]

    torch.testing.assert_close(head(fused).logits, expected)


def test_each_level_scales_its_own_box_offsets(head, fused):
    before = head(fused).boxes
    with torch.no_grad():
        head.level_scale[1] *= 2

    changed = (head(fused).boxes != before).any(-1)

    assert changed.tolist() == [[False, False, True]] * 2


def test_earlier_layers_go_through_the_same_head(head, fused):
    output = head(fused)

    alone = head(FusionOutput(fused.regions * 0.5, fused.tokens, fused.priors, (2, 1)))
    torch.testing.assert_close(output.intermediate[0].logits, alone.logits)


def test_an_untrained_head_finds_nothing_likely():
    head = GroundingHead(6, 5)
    nothing = FusionOutput(torch.zeros(1, 1, 6), torch.zeros(1, 2, 5), torch.ones(1, 1, 4), (1,))

    assert head(nothing).logits.sigmoid().flatten().tolist() == pytest.approx([0.01, 0.01])


def test_boxes_and_scores_are_fp32_under_autocast(head, fused):
    with torch.autocast("cpu", torch.bfloat16):
        output = head(fused)

    assert {output.logits.dtype, output.boxes.dtype, output.centerness.dtype} == {torch.float32}
