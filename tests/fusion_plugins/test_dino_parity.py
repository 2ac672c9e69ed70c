"""Every stage of the Grounding DINO family against transformers, with random weights."""

import pytest
from parity.dino import check_family
from parity.dino_oracle import FAMILIES

STAGES = {
    "levels of maps": "level",
    "text features": "text",
    "encoder layers": "layer",
    "flattened cells": "cells",
    "proposals": "proposals",
    "cells that propose something": "real",
    "scores of proposals": "scores",
    "chosen queries": "chosen",
    "decoder layers": "decoder",
    "logits": "logits",
    "boxes": "boxes",
}


@pytest.fixture(scope="module", params=FAMILIES)
def stages(request):
    return list(check_family(request.param))


@pytest.mark.parametrize("kind", STAGES)
def test_stages_are_those_of_the_oracle(stages, kind):
    of_kind = [stage for stage in stages if stage.name.split()[0] == STAGES[kind]]

    assert of_kind
    assert [stage for stage in of_kind if not stage.passed] == []


def test_every_layer_is_compared(stages):
    names = {stage.name for stage in stages}

    assert {"layer 0, tokens", "layer 1, cells", "decoder 0", "decoder 1", "level 3"} <= names


def test_nothing_passes_by_a_tolerance_of_everything(stages):
    assert all(stage.tolerance < 0.01 for stage in stages)
