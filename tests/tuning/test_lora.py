"""LoRA: every adapted weight learns and counts, whatever path reads it; nothing is left over."""

import pytest
import torch
from small_models import adapted, built, inputs, outputs
from torch import nn
from torch.nn.utils import parametrize

from glip_pl.inference.detector import Detector
from glip_pl.inference.postprocess import PostProcess
from glip_pl.tuning.lora import (
    Adapter,
    LoraSettings,
    LowRank,
    adapters,
    attach,
    base_state,
    detach,
    merge,
    merged_state,
)
from glip_pl.tuning.modes import Tuning


def learn(model):
    """Move every adapter."""
    torch.manual_seed(1)
    with torch.no_grad():
        for _, adapter in adapters(model):
            for parameter in adapter.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.05)


CASES = [("late", False), ("deep", True), ("query", False)]


@pytest.mark.parametrize(
    ("fusion", "swin"),
    [pytest.param(*case, marks=pytest.mark.slow) if case[1] else case for case in CASES],
)
def test_every_adapted_weight_gets_a_gradient_and_moves_the_evaluation(fusion, swin):
    model = adapted(fusion, swin=swin)
    said = model(*inputs(model))
    others = [x for layer in said.intermediate for x in (layer.logits, layer.boxes)]
    sum(x.sin().sum() for x in (said.logits, said.boxes, said.centerness, *others)).backward()
    before, idle = outputs(model), []

    for name, adapter in adapters(model):
        last = adapter.up if isinstance(adapter, LowRank) else adapter.shift
        # Keys before a softmax: what all of them share is cancelled there.
        if last.grad is None or not last.grad.any():
            idle.append(name)
        with torch.no_grad():
            last.normal_(std=10.0)
        if outputs(model).equal(before):
            idle.append(name)
        with torch.no_grad():
            last.zero_()

    assert idle == []


@pytest.mark.parametrize(("fusion", "swin"), CASES)
def test_merged_equals_unmerged_and_has_the_old_names(fusion, swin):
    plain, model = built(fusion, swin=swin), adapted(fusion, swin=swin)
    learn(model)
    unmerged, from_state = outputs(model), merged_state(model.state_dict())

    merge(model)

    assert set(model.state_dict()) == set(plain.state_dict())
    torch.testing.assert_close(outputs(model), unmerged, atol=1e-5, rtol=1e-5)
    for name, value in model.state_dict().items():
        torch.testing.assert_close(from_state[name], value, atol=0, rtol=0)


def test_new_adapters_change_nothing():
    torch.testing.assert_close(outputs(adapted()), outputs(built()), atol=1e-6, rtol=0)


def test_without_its_adapters_a_model_is_what_it_was():
    plain, model = built(), adapted()
    learn(model)
    base = base_state(model.state_dict())

    detach(model)

    assert outputs(model).equal(outputs(plain))
    for name, value in plain.state_dict().items():
        assert model.state_dict()[name].equal(value)
        assert base[name].equal(value)


def test_only_the_adapters_learn():
    model = adapted()

    learning = [n for n, p in model.named_parameters() if p.requires_grad]

    assert learning
    assert all(".parametrizations." in n and not n.endswith("original") for n in learning)


def test_a_frozen_part_has_no_adapter():
    model = built()

    Tuning("lora", ("backbone", "text")).prepare(model, lambda: None)

    assert {name.partition(".")[0] for name, _ in adapters(model)} == {"fpn", "fusion", "head"}


def test_tables_that_are_looked_up_have_no_adapter():
    model = adapted()

    holders = [m for m in model.modules() if parametrize.is_parametrized(m)]

    assert not any(isinstance(holder, nn.Embedding) for holder in holders)


def test_several_adapters_add_up():
    model = adapted()
    learn(model)
    for part in ("text", "fusion"):
        for parameter in getattr(model, part).parameters():
            parameter.requires_grad_(True)
        attach(model.modules_of(part), LoraSettings(rank=1))
    learn(model)
    unmerged = outputs(model)

    merge(model)

    torch.testing.assert_close(outputs(model), unmerged, atol=1e-5, rtol=1e-5)


def test_a_text_cache_notices_an_adapter_that_is_switched_off():
    model = adapted()
    detector = Detector(model, PostProcess())
    tokens = inputs(model)[2]
    with torch.no_grad():
        plain = detector.texts(tokens).hidden
        learn(model)
        tuned = detector.texts(tokens).hidden
        for _, adapter in adapters(model):
            adapter.scale.zero_()
        off = detector.texts(tokens).hidden

    assert not tuned.equal(plain)
    torch.testing.assert_close(off, plain)


def test_a_rank_of_nothing_is_refused():
    with pytest.raises(ValueError, match=r"model\.tuning\.lora\.rank=0.*1 or more"):
        LoraSettings(rank=0)


def test_an_addition_is_exact_under_autocast():
    layer = nn.Linear(32, 32)
    attach([*layer.modules()], LoraSettings(rank=2))
    learn(layer)
    exact = layer.weight

    with torch.autocast("cpu", torch.bfloat16):
        assert layer.weight.equal(exact)
    assert isinstance(next(iter(adapters(layer)))[1], Adapter)
