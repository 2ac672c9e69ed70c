import pytest
import torch
import torch.nn.functional as F
from torch import nn

from glip_pl.layers.linear import linear

ACTIVATIONS = {"none": lambda x: x, "gelu": F.gelu}


def layer_and_input(dtype=torch.float32):
    torch.manual_seed(0)
    return nn.Linear(24, 40).to(dtype), torch.randn(2, 3, 7, 24, dtype=dtype)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_without_a_gradient_a_layer_computes_the_same(activation, dtype):
    layer, x = layer_and_input(dtype)
    expected = ACTIVATIONS[activation](layer(x))

    with torch.no_grad():
        found = linear(layer, x, activation=activation)

    assert found.dtype == dtype
    torch.testing.assert_close(found, expected.detach(), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_autocast_gives_its_dtype_and_stays_near(activation):
    layer, x = layer_and_input()
    expected = ACTIVATIONS[activation](layer(x)).detach()

    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        found = linear(layer, x, activation=activation)

    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), expected, atol=0.03, rtol=0.02)


def test_with_a_gradient_a_layer_is_the_plain_one():
    layer, x = layer_and_input(torch.float64)
    x.requires_grad_()

    assert torch.autograd.gradcheck(lambda x: linear(layer, x, activation="gelu"), x)
