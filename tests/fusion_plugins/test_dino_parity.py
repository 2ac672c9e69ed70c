"""Every stage of the Grounding DINO family against transformers, with random weights."""

from dataclasses import dataclass

import dino_oracle as small
import pytest
import torch
from torch import Tensor

from glip_pl.layers.multiscale import CellGrid
from glip_pl.layers.pyramid import flatten


@dataclass(frozen=True)
class Both:
    """What both say of the same inputs."""

    theirs: object
    own: object
    given: small.Inputs
    expected: object
    stages: dict[str, Tensor]


@pytest.fixture(scope="module", params=small.FAMILIES)
def both(request, tmp_path_factory):
    theirs = small.oracle(request.param)
    own = small.ours(theirs, small.save(theirs, tmp_path_factory.mktemp("dino") / "model"))
    given = small.inputs(own)
    stages = {}
    watched = {"neck": theirs.model.input_proj_vision, "cells": theirs.model.encoder.layers}
    for kind, modules in watched.items():
        for k, module in enumerate(modules):
            module.register_forward_hook(
                lambda _m, _i, out, key=f"{kind}.{k}": stages.__setitem__(key, out)
            )
    theirs.model.text_projection.register_forward_hook(
        lambda _m, _i, out: stages.__setitem__("text", out)
    )
    with torch.no_grad():
        expected = theirs(**given.for_oracle(own))
    return Both(theirs, own, given, expected, stages)


def near(found, expected):
    """Within 1e-4 of the largest number."""
    assert found.shape == expected.shape
    assert (found - expected).abs().max() < 1e-4 * expected.abs().max()


def encoded(both):
    with torch.no_grad():
        image = both.own.encode_image(both.given.images, both.given.mask)
        return image, both.own.encode_text(both.given.tokens)


def chosen_by_oracle(both):
    """The cells that the oracle chose."""
    return both.expected.enc_outputs_class.amax(-1).topk(small.QUERIES).indices


def test_levels_are_those_of_the_oracle(both):
    image, _ = encoded(both)

    for k, level in enumerate(image.levels):
        near(level, both.stages[f"neck.{k}"])


def test_text_features_are_those_of_the_oracle(both):
    _, text = encoded(both)
    mask = both.given.tokens.mask

    near(both.own.fusion.project_text(text.hidden)[mask], both.stages["text"][mask])


def test_every_encoder_layer_is_that_of_the_oracle(both):
    image, text = encoded(both)
    fusion, grid = both.own.fusion, CellGrid.of(image.mask, image.levels, image.strides)
    found = []
    hooks = [
        module.register_forward_hook(lambda _m, _i, out: found.append(out))
        for pair in zip(fusion.cells, fusion.phrases, strict=True)
        for module in pair
    ]
    with torch.no_grad():
        fusion.encode(image, text, grid)
    for hook in hooks:
        hook.remove()

    for k in range(2):
        (cells, tokens), _ = both.stages[f"cells.{k}"]
        near(found[2 * k][text.mask], tokens[text.mask])
        near(found[2 * k + 1][grid.mask], cells[grid.mask])


def selected(both):
    image, text = encoded(both)
    fusion, grid = both.own.fusion, CellGrid.of(image.mask, image.levels, image.strides)
    with torch.no_grad():
        cells, tokens = fusion.encode(image, text, grid)
        fusion.choose = lambda scores: chosen_by_oracle(both)
        proposed, proposals, real = fusion.select(cells, tokens, text.mask, grid)
        boxes = fusion.head.box(0)(proposed, proposals)
        logits = fusion.head.alignment(0)(proposed, tokens)
        del fusion.choose
        _, own_choice, _ = fusion.select(cells, tokens, text.mask, grid)
    return boxes, logits, real, (proposals, own_choice)


def test_proposals_are_those_of_the_oracle(both):
    boxes, logits, real, _ = selected(both)
    index = chosen_by_oracle(both)[..., None]

    assert real.all()  # Otherwise the oracle would have chosen cells that propose nothing.
    near(boxes, both.expected.init_reference_points)
    expected = both.expected.enc_outputs_class.gather(1, index.expand(-1, -1, 256))
    mask = both.given.tokens.mask[:, None].expand(logits.shape)
    near(logits[mask], expected[..., : logits.shape[2]][mask])


def test_the_chosen_queries_are_those_of_the_oracle(both):
    *_, (oracles, own) = selected(both)

    torch.testing.assert_close(own, oracles)


def test_every_decoder_layer_its_logits_and_its_boxes_are_those_of_the_oracle(both):
    image, text = encoded(both)
    both.own.fusion.choose = lambda scores: chosen_by_oracle(both)
    with torch.no_grad():
        fused = both.own.fusion(image, text)
        output = both.own.ground(image, text)
    del both.own.fusion.choose

    size = torch.tensor([[192.0, 128.0], [128.0, 128.0]]).repeat(1, 2)[:, None]
    for k, regions in enumerate((*fused.intermediate[1:], fused.regions)):
        near(regions, both.expected.intermediate_hidden_states[:, k])
    mask = text.mask[:, None].expand(output.logits.shape)
    near(output.logits[mask], both.expected.logits[..., : mask.shape[2]][mask])
    boxes = (
        torch.cat(
            [
                output.boxes[..., :2] + output.boxes[..., 2:],
                2 * output.boxes[..., 2:] - 2 * output.boxes[..., :2],
            ],
            -1,
        )
        / 2
        / size
    )
    near(boxes, both.expected.pred_boxes)


def test_a_level_is_flattened_as_the_oracle_does(both):
    image, _ = encoded(both)

    cells, counts = flatten(image.levels)

    assert sum(counts) == cells.shape[1] == both.expected.enc_outputs_class.shape[1]
