"""Overlap of boxes against torchvision."""

import subprocess
import sys

import pytest
import torch
from torchvision import ops

from glip_pl import boxes as overlap


def boxes(count, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=generator) * 60
    size = torch.rand(count, 2, generator=generator) * 40
    return torch.cat([corner, corner + size], 1).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.int64])
@pytest.mark.parametrize("name", ["box_iou", "generalized_box_iou"])
def test_overlap_is_that_of_torchvision(name, dtype):
    some, others = boxes(20, 1, dtype), boxes(30, 2, dtype)

    assert torch.equal(
        getattr(overlap, name)(some, others).nan_to_num(-9),
        getattr(ops, name)(some, others).nan_to_num(-9),
    )
    assert torch.equal(overlap.box_area(some), ops.box_area(some))


def test_the_loss_and_its_gradient_are_those_of_torchvision():
    mine, theirs = (boxes(50, 1).requires_grad_() for _ in range(2))

    ours, expected = (
        overlap.generalized_box_iou_loss(mine, boxes(50, 2)),
        ops.generalized_box_iou_loss(theirs, boxes(50, 2)),
    )
    ours.sum().backward()
    expected.sum().backward()

    torch.testing.assert_close(ours, expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(mine.grad, theirs.grad)


@pytest.mark.parametrize("count", [0, 1, 300, 1500])
def test_suppression_is_that_of_torchvision(count):
    some, generator = boxes(count), torch.Generator().manual_seed(3)
    scores = torch.rand(count, generator=generator)
    classes = torch.randint(5, (count,), generator=generator)

    assert torch.equal(overlap.nms(some, scores, 0.5), ops.nms(some, scores, 0.5))
    assert torch.equal(
        overlap.batched_nms(some, scores, classes, 0.5),
        ops.batched_nms(some, scores, classes, 0.5),
    )


@pytest.mark.parametrize("hidden", [False, True])
def test_operators_come_without_the_package_where_its_library_is_found(hidden):
    hide = "overlap.Path.glob = lambda *_: []\n" if hidden else ""
    program = (
        f"import sys, torch\nfrom glip_pl import boxes as overlap\n{hide}"
        "kept = overlap.nms(torch.ones(2, 4), torch.ones(2), 0.5)\n"
        "alone = 'torchvision' not in sys.modules\nimport torchvision\n"
        "print(alone, torchvision.ops.nms(torch.rand(0, 4), torch.rand(0), 0.5).shape[0])"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)

    assert done.stdout.split() == [str(not hidden), "0"], done.stderr
