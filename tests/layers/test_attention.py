import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from glip_pl.layers import attention_blocks
from glip_pl.layers.attention import BiAttention
from glip_pl.layers.attention_blocks import attend_in_blocks


def block(dropout=0.0):
    """A small block, every parameter of which matters."""
    torch.manual_seed(0)
    module = BiAttention(6, 10, d_attention=16, num_heads=2, dropout=dropout)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return module


def inputs():
    """Thirty positions and five tokens of two items; the second item has two padded tokens."""
    generator = torch.Generator().manual_seed(1)
    image = torch.randn(2, 30, 6, generator=generator, requires_grad=True)
    text = torch.randn(2, 5, 10, generator=generator, requires_grad=True)
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]], dtype=torch.bool)
    return image, text, mask


def written_out(module, image, text, mask):
    """The same block as the paper writes it: project all positions, then attend."""

    def heads(x):
        return x.unflatten(-1, (module.num_heads, -1)).transpose(1, 2)

    def join(x):
        return x.transpose(1, 2).flatten(2)

    image, text = module.image_norm(image), module.text_norm(text)
    query, key = heads(module.query(image)), heads(module.key(text))
    scores = key @ query.transpose(2, 3) / query.shape[-1] ** 0.5  # [B, H, M, N]
    to_image = scores.masked_fill(~mask[:, None, :, None], -torch.inf).softmax(2)
    to_text = scores.softmax(3)
    to_image = F.dropout(to_image, module.dropout, module.training)
    to_text = F.dropout(to_text, module.dropout, module.training)
    for_image = module.image_out(join(to_image.transpose(2, 3) @ heads(module.text_value(text))))
    for_text = module.text_out(join(to_text @ heads(module.image_value(image))))
    return image + module.image_gate * for_image, text + module.text_gate * for_text


@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_folding_the_projections_changes_no_result(dropout):
    module, (image, text, mask) = block(dropout), inputs()

    torch.manual_seed(2)
    folded = module(image, text, mask)

    torch.manual_seed(2)
    for got, expected in zip(folded, written_out(module, image, text, mask), strict=True):
        torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_folding_the_projections_changes_no_gradient(dropout):
    module, (image, text, mask) = block(dropout), inputs()
    sources = [image, text, *module.parameters()]

    def gradients(function):
        torch.manual_seed(2)
        new_image, new_text = function(image, text, mask)
        total = (new_image**2).sum() + (new_text[mask] ** 2).sum()
        return torch.autograd.grad(total, sources)

    expected = gradients(lambda *features: written_out(module, *features))
    for got, wanted in zip(gradients(module), expected, strict=True):
        torch.testing.assert_close(got, wanted, atol=1e-4, rtol=1e-4)


def test_no_tensor_has_the_size_of_projected_positions():
    class Largest(TorchDispatchMode):
        size = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            out = func(*args, **(kwargs or {}))
            if isinstance(out, torch.Tensor):
                self.size = max(self.size, out.numel())
            return out

    module = BiAttention(8, 8, d_attention=512, num_heads=2)

    with Largest() as largest:
        module(torch.zeros(1, 1000, 8), torch.zeros(1, 4, 8), torch.ones(1, 4, dtype=torch.bool))

    assert largest.size == 1000 * 8  # Features and scores alike; projected, it would be 512,000.


def test_a_padded_token_changes_nothing():
    module, (image, text, mask) = block(), inputs()
    other = text.detach().clone()
    other[~mask] = 1000.0

    image_before, text_before = module(image, text, mask)
    image_after, text_after = module(image, other, mask)

    assert torch.equal(image_before, image_after)
    assert torch.equal(text_before[mask], text_after[mask])


def test_closed_gates_leave_two_layer_norms():
    module, (image, text, mask) = block(), inputs()
    torch.nn.init.zeros_(module.image_gate)
    torch.nn.init.zeros_(module.text_gate)

    new_image, new_text = module(image, text, mask)

    assert torch.equal(new_image, module.image_norm(image))
    assert torch.equal(new_text, module.text_norm(text))


def test_autocast_to_bf16_stays_near():
    module, (image, text, mask) = block(), inputs()

    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = module(image, text, mask)

    for got, expected in zip(rough, module(image, text, mask), strict=True):
        assert (got - expected).abs().max() < 0.02 * expected.abs().max()


def test_heads_of_unequal_size_are_refused():
    with pytest.raises(ValueError, match=r"d_attention=20 .* num_heads=8"):
        BiAttention(6, 10, d_attention=20)


def random_block():
    """A block in which every parameter matters."""
    torch.manual_seed(0)
    block = BiAttention(16, 12, d_attention=32, num_heads=2).eval()
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return block


def unpadded_inputs():
    """Two images and captions of one length, as they are attended to in blocks."""
    image, text = torch.randn(2, 300, 16), torch.randn(2, 32, 12)
    return image, text, torch.ones(text.shape[:2], dtype=torch.bool)


@pytest.mark.parametrize("block_size", [2**20, 6000])
def test_without_gradients_the_same_comes_in_blocks(monkeypatch, block_size):
    block, inputs = random_block(), unpadded_inputs()
    expected = block(*inputs)
    monkeypatch.setattr(attention_blocks, "_BLOCK", block_size)  # 6000: 93 positions at a time.

    with torch.no_grad():
        found = block(*inputs)

    for got, wanted in zip(found, expected, strict=True):
        torch.testing.assert_close(got, wanted, atol=1e-5, rtol=1e-5)


def test_a_token_unlike_every_position_keeps_its_weights():
    block, (image, text, mask) = random_block(), unpadded_inputs()
    # Its scores lie hundreds below those of the others, all alike.
    text[:, 3] = 0
    with torch.no_grad():
        block.text_norm.bias.zero_()
        block.key.bias.fill_(-60.0)
        block.query.weight.abs_()
        block.query.bias.fill_(20.0)
        block.key.weight.mul_(40)
        expected = block._attend(*attended_from(block, image, text), mask)
        blocks = attend_in_blocks(*attended_from(block, image, text), (mask, None))
        found = block(image, text, mask)

    assert blocks is None
    torch.testing.assert_close(found[1], block(image, text, mask)[1].detach())
    assert torch.isfinite(found[1]).all()
    assert (expected[1].abs().sum(-1) > 0).all()


def test_scores_that_overflow_an_exponential_are_attended_to_at_once():
    block, (image, text, mask) = random_block(), unpadded_inputs()
    # One position, which is none of those looked at first, is 1,000 times as loud as the others.
    folded, shift, values = attended_from(block, image, text)[1:]
    image[:, 7] *= 1000
    with torch.no_grad():
        blocks = attend_in_blocks(image, folded, shift, values, (mask, None))
        update, *_ = block._attend(image, folded, shift, values, mask)

    assert blocks is None
    assert torch.isfinite(update).all()


def padded_inputs():
    """Two images, the second with a third of padding, and captions of different length."""
    image, text, mask = unpadded_inputs()
    mask[1, 20:] = False
    seen = torch.ones(image.shape[:2], dtype=torch.bool)
    seen[1, 200:] = False
    return image, text, mask, seen


def test_in_blocks_the_text_looks_at_real_positions_only():
    block, inputs = random_block(), padded_inputs()
    expected_image, expected_text = block(*inputs)

    with torch.no_grad():
        image, text = block(*inputs)

    mask = inputs[2]
    torch.testing.assert_close(image, expected_image, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(text[mask], expected_text[mask], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("grad", [False, True])
def test_what_a_padded_position_holds_does_not_reach_the_text(grad):
    block, (image, text, mask, seen) = random_block(), padded_inputs()
    other = torch.where(seen[..., None], image, 5.0)

    with torch.set_grad_enabled(grad):
        before, after = block(image, text, mask, seen)[1], block(other, text, mask, seen)[1]

    torch.testing.assert_close(before[mask], after[mask])


def attended_from(block, image, text):
    image, text = block.image_norm(image), block.text_norm(text)
    return image, *block._fold_queries(text), block._fold_values(text)


def parts(module, image, text):
    """Return what both ways of attending start from."""
    image, text = module.image_norm(image), module.text_norm(text)
    return image, *module._fold_queries(text), module._fold_values(text)


@pytest.mark.parametrize("padded", [False, True])
def test_fused_kernels_attend_as_written_with_the_same_gradients(padded):
    module, (image, text, mask) = block(), inputs()
    seen = torch.arange(30)[None] < torch.tensor([[30], [20]]) if padded else None
    results, gradients = [], []

    for attend in (module._attend, module._attend_fused):
        out = attend(*parts(module, image, text), mask, seen)
        loss = sum(((k + 1) * part.square()).sum() for k, part in enumerate(out))
        needed = [image, text, module.query.weight, module.query.bias, module.text_value.weight]
        gradients.append(torch.autograd.grad(loss, needed))
        results.append(out)

    torch.testing.assert_close(*results, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(*gradients, atol=1e-4, rtol=1e-5)


def test_fused_kernels_count_the_weights_that_dropout_left():
    module, (image, text, mask) = block(dropout=0.4), inputs()
    same = torch.full_like(image, 3.0)
    _, folded, shift, values = parts(module, image, text)

    _, pooled, total = module._attend_fused(same, folded, shift, values, mask)

    assert not torch.allclose(total, torch.ones_like(total))
    torch.testing.assert_close(pooled, 3 * total.expand_as(pooled))


def test_fused_kernels_keep_neither_scores_nor_values_of_all_heads():
    module, (image, text, mask) = block(), inputs()
    largest = 0

    class Sizes(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            nonlocal largest
            out = function(*args, **(kwargs or {}))
            if isinstance(out, torch.Tensor) and 30 in out.shape:
                largest = max(largest, out.numel() // len(out))
            return out

    with torch.no_grad():
        prepared = parts(module, image, text)
        with Sizes():
            module._attend_fused(*prepared, mask)

    assert largest <= 30 * 6  # One update: 30 positions of width 6.
