import pytest
import torch
import torch.nn.functional as F
from torchvision.ops import deform_conv2d

from glip_pl.layers.dyhead import DyHeadBlock, DynamicReLU

SIZES = ((9, 11), (5, 6), (3, 3))


def block():
    """A small block, every parameter of which matters."""
    torch.manual_seed(0)
    module = DyHeadBlock(8, groups=4)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return module


def pyramid(sizes=SIZES):
    generator = torch.Generator().manual_seed(1)
    return tuple(torch.randn(2, 8, *size, generator=generator) for size in sizes)


def written_out(module, levels, index):
    """One level by the definition, with torchvision's convolution."""
    x = levels[index]
    moves = F.conv2d(x, module.offset.weight, module.offset.bias, padding=1)
    offset, mask = moves[:, :18], moves[:, 18:].sigmoid()

    def convolve(part, x, offset, mask, stride=1):
        moved = deform_conv2d(x, offset, part.weight, part.bias, stride, padding=1, mask=mask)
        return part.norm(moved)

    candidates = [convolve(module.same, x, offset, mask)]
    if index:
        candidates.append(convolve(module.finer, levels[index - 1], offset, mask, stride=2))
    if index + 1 < len(levels):
        above = levels[index + 1]
        h, w = above.shape[-2:]
        # The coarser map takes the first numbers of the level's own memory, item by item.
        offset = torch.stack([o.flatten()[: 18 * h * w].view(18, h, w) for o in offset])
        mask = torch.stack([m.flatten()[: 9 * h * w].view(9, h, w) for m in mask])
        coarse = convolve(module.coarser, above, offset, mask)
        candidates.append(F.interpolate(coarse, x.shape[-2:], mode="bilinear", align_corners=True))
    total = 0
    for candidate in candidates:
        score = module.level_attention(candidate.mean((2, 3), keepdim=True)).relu()
        total = total + candidate * (score + 3).clamp(0, 6) / 6
    return module.activation(total / len(candidates))


@pytest.mark.parametrize("index", [0, 1, 2])
def test_a_level_is_updated_as_defined(index):
    module, levels = block(), pyramid()

    updated = module(levels)[index]

    torch.testing.assert_close(updated, written_out(module, levels, index), atol=1e-5, rtol=1e-5)


def test_every_parameter_gets_the_gradient_of_the_definition():
    module, levels = block(), pyramid()

    def gradients(maps):
        return torch.autograd.grad(sum((m**2).sum() for m in maps), list(module.parameters()))

    expected = gradients([written_out(module, levels, index) for index in range(3)])
    for got, wanted in zip(gradients(module(levels)), expected, strict=True):
        assert wanted.abs().max() > 0
        torch.testing.assert_close(got, wanted, atol=1e-3, rtol=1e-4)


def test_one_level_alone_keeps_its_shape():
    (level,) = block()(pyramid(SIZES[:1]))

    assert level.shape == (2, 8, 9, 11)


def test_items_of_a_batch_do_not_see_each_other():
    module, levels = block(), pyramid()

    alone = module(tuple(level[1:] for level in levels))

    for one, both in zip(alone, module(levels), strict=True):
        torch.testing.assert_close(one[0], both[1], atol=1e-5, rtol=1e-5)


def test_a_fresh_dynamic_relu_with_no_signal_is_a_relu():
    activation = DynamicReLU(8)
    torch.nn.init.zeros_(activation.fc[2].weight)
    torch.nn.init.zeros_(activation.fc[2].bias)
    x = pyramid()[0]

    assert torch.equal(activation(x), x.relu())


def test_autocast_to_bf16_stays_near():
    module, levels = block(), pyramid()

    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = module(levels)

    for got, expected in zip(rough, module(levels), strict=True):
        assert (got - expected).std() < 0.05 * expected.std()


def test_groups_of_unequal_size_are_refused():
    with pytest.raises(ValueError, match=r"d_model=24 .* groups=16"):
        DyHeadBlock(24)


def test_a_still_start_begins_as_a_plain_convolution():
    torch.manual_seed(0)
    module, levels = DyHeadBlock(8, groups=4, still_start=True), pyramid()
    seen = []
    module.same.register_forward_hook(lambda _, args, output: seen.append(output))

    module(levels)

    # The modulation of every tap starts at sigmoid(0), a half.
    plain = F.conv2d(levels[0], module.same.weight / 2, module.same.bias, padding=1)
    torch.testing.assert_close(seen[0][0], module.same.norm(plain), atol=1e-5, rtol=1e-5)
