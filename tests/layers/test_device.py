"""What a GPU would run, without one: its forms on a CPU, and its graph of operators on no device.

A fake tensor says that it lies on a GPU, has a shape, and holds nothing; whoever looks into it, or
mixes it with tensors of the host, is found out.
"""

import sys
from dataclasses import fields, replace

import pytest
import torch
from small_models import FUSIONS, built, inputs
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch.func import functional_call
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from fusion_plugins.dino import DinoFusion
from glip_pl.layers.device import all_real

DINO = {"num_layers": 1, "num_queries": 6, "num_heads": 2, "d_feedforward": 32}


@pytest.fixture(params=["late", "deep", "query", "dino"])
def model(request, monkeypatch):
    monkeypatch.setitem(FUSIONS, "dino", (DinoFusion, DINO))
    model = built(request.param, swin=request.param == "deep")
    # Away from where a sampled place lies on a cell: its gradient is that of either side there.
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.01)
    return model


@pytest.fixture
def as_on_a_gpu(monkeypatch):
    """Let every layer compute as it would on a GPU."""
    for name, module in list(sys.modules.items()):
        if name.startswith("glip_pl.") and hasattr(module, "on_cpu"):
            monkeypatch.setattr(module, "on_cpu", lambda x: False)


class NothingFromTheHost(TorchDispatchMode):
    """Refuse every operator that brings a tensor of the host to the GPU, which waits for it."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        given, made = (
            {leaf.device.type for leaf in tree_leaves(tensors) if isinstance(leaf, torch.Tensor)}
            for tensors in ((args, kwargs), out)
        )
        assert not ("cpu" in given and "cuda" in given | made), function
        return out


def faked(value, dtype=torch.float32):
    """Return tensors of the shapes of these, on a GPU."""
    if isinstance(value, torch.Tensor):
        dtype = dtype if value.is_floating_point() else value.dtype
        return torch.empty(value.shape, dtype=dtype, device="cuda")
    if isinstance(value, dict):
        return {name: faked(tensor, dtype) for name, tensor in value.items()}
    found = {f.name: getattr(value, f.name) for f in fields(value)}
    return replace(value, **{name: faked(x) for name, x in found.items() if x is not None})


def run_on_no_device(model, dtype=torch.float32):
    state = dict([*model.named_parameters(), *model.named_buffers()])
    given = inputs(model)
    with FakeTensorMode():
        state, given = faked(state, dtype), tuple(map(faked, given))
        with NothingFromTheHost():
            return functional_call(model, state, given)


def test_no_layer_makes_a_gpu_wait(model):
    with torch.no_grad():
        said = run_on_no_device(model)

    assert said.logits.device.type == "cuda"


def test_nor_does_one_in_training_and_in_bf16():
    model = built("deep").train()

    assert run_on_no_device(model, torch.bfloat16).boxes.dtype == torch.float32


def test_whoever_looks_into_a_tensor_is_found_out():
    with FakeTensorMode(), pytest.raises(DataDependentOutputException):
        bool(torch.ones(3, device="cuda", dtype=torch.bool).all())


def test_a_mask_on_a_gpu_is_not_looked_at():
    mask = torch.ones(3, dtype=torch.bool)

    assert all_real(mask)
    assert not all_real(mask.to("meta"))


def everything(model, rough=False):
    """All that the model says, and the gradients of all parameters."""
    with torch.autocast("cpu", torch.bfloat16, enabled=rough):
        said = model(*inputs(model))
    found = [said.logits, said.boxes]
    loss = said.logits.sigmoid().square().sum() + (said.boxes / 64).square().sum()
    return found, torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)


def test_the_forms_of_a_gpu_compute_the_same_with_the_same_gradients(model, request):
    found, gradients = everything(model)
    request.getfixturevalue("as_on_a_gpu")

    as_there, gradients_there = everything(model)

    torch.testing.assert_close(as_there, found, atol=1e-4, rtol=1e-5)
    for ours, theirs in zip(gradients, gradients_there, strict=True):
        assert (ours is None) == (theirs is None)
        if ours is not None:
            torch.testing.assert_close(theirs, ours, atol=1e-5 * (1 + ours.abs().max()), rtol=1e-4)


def test_in_bf16_they_stay_as_near(model, as_on_a_gpu):
    (logits, boxes), _ = everything(model)
    (rough_logits, rough_boxes), gradients = everything(model, rough=True)

    assert (rough_logits.sigmoid() - logits.sigmoid()).abs().mean() < 0.02
    assert (rough_boxes - boxes).abs().mean() < 0.02 * 64
    assert all(torch.isfinite(x).all() for x in gradients if x is not None)
