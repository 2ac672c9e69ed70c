"""Weights between two models: exact at the ends, an average between them."""

import pytest
import torch
from models import random_weights, write_checkpoint

from glip_pl.blending import blend_states
from glip_pl.blending.run import best_alpha
from glip_pl.cli import main
from glip_pl.weights import read_weights

FIRST = {"w": torch.tensor([0.1, 0.7]), "index": torch.tensor([1, 2])}
SECOND = {"w": torch.tensor([0.3, -0.7]), "index": torch.tensor([3, 4])}


def test_the_ends_are_the_two_models_bit_for_bit():
    for alpha, expected in ((0, FIRST), (1, SECOND)):
        blended = blend_states(FIRST, SECOND, alpha)
        assert all(blended[name].equal(value) for name, value in expected.items())


def test_between_them_numbers_are_averaged_and_indices_are_not():
    blended = blend_states(FIRST, SECOND, 0.25)

    torch.testing.assert_close(blended["w"], torch.tensor([0.15, 0.35]))
    assert blended["index"].tolist() == [1, 2]


def test_half_precision_is_averaged_in_full():
    low = {"w": torch.tensor([1.0], dtype=torch.bfloat16)}
    high = {"w": torch.tensor([1.0078125], dtype=torch.bfloat16)}

    assert blend_states(low, high, 0.9)["w"].item() == 1.0078125


def test_weights_of_another_model_are_refused():
    with pytest.raises(ValueError, match=r"only weights of one model.*w "):
        blend_states(FIRST, {**SECOND, "w": torch.zeros(3)}, 0.5)


def test_an_alpha_beyond_the_models_is_refused():
    with pytest.raises(ValueError, match=r"--alpha=1\.5 lies beyond"):
        blend_states(FIRST, SECOND, 1.5)


def test_the_best_alpha_keeps_most_of_the_worst_set():
    scores = {
        0.0: {"old": 0.6, "new": 0.1},
        0.5: {"old": 0.58, "new": 0.48},
        1.0: {"old": 0.2, "new": 0.5},
    }

    assert best_alpha(scores) == 0.5


def test_what_the_command_writes_is_read_as_weights(tmp_path, capsys):
    ends = [random_weights(seed=seed) for seed in (1, 2)]
    files = [str(write_checkpoint(tmp_path / f"{k}.ckpt", end)) for k, end in enumerate(ends)]

    main(["blend", *files, "--alpha=0.5", f"--output={tmp_path}/out"])

    blended = read_weights(str(tmp_path / "out/blend.ckpt")).build().state_dict()
    name = "head.box_offset.weight"
    assert blended[name].equal((ends[0].state[name] + ends[1].state[name]) / 2)
    assert "next:    glip predict" in capsys.readouterr().out
