"""Models of the Grounding DINO family beside transformers."""

import pytest
from parity import dino_oracle as small

from glip_pl.benchmark.limits import Limits
from glip_pl.benchmark.pairs import PairReport, show_pairs, time_pairs
from glip_pl.benchmark.published import ARCHITECTURES
from glip_pl.benchmark.run import Asked
from glip_pl.benchmark.vocabulary import names_to_detect
from glip_pl.training.from_weights import task_of
from glip_pl.weights import read_weights

MACHINE = {"device": "none"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    model = small.oracle("grounding-dino")
    return small.save(model, tmp_path_factory.mktemp("family") / "model")


def pairs(folder, *, size=(96, 128), train=False):
    weights = read_weights(str(folder))
    asked = Asked("small", names_to_detect(3), size, 1, "fp32", train, False, 1)
    return time_pairs(task_of(weights), weights.hyper_parameters, asked)


def test_both_compute_the_same_and_are_timed_by_turns(folder, capsys):
    report = pairs(folder)

    assert report.comparison.values < 1e-4
    assert report.comparison.boxes < 1e-2
    assert len(report.seconds) == 1
    show_pairs(report)
    shown = capsys.readouterr().out
    assert "times as fast, the median of the pairs" in shown
    assert "operations take" in shown


def test_a_training_step_is_timed_without_comparing_losses(folder):
    assert pairs(folder, train=True).comparison is None


def test_an_image_with_fewer_cells_than_queries_is_refused(folder):
    with pytest.raises(ValueError, match="give a larger --size"):
        pairs(folder, size=(16, 16))


def test_the_ratio_is_the_median_over_the_pairs():
    report = PairReport(
        {}, [(1.0, 3.0), (1.0, 9.0), (2.0, 8.0)], (1, 1), 1, 1, 1, None, MACHINE, Limits(1.0, 1.0)
    )

    assert report.ratio() == 4


def test_every_published_size_of_the_family_can_be_timed():
    sizes = {"grounding_dino": "tb", "mm_grounding_dino": "tbl", "llmdet": "tbl"}

    names = [f"{name}_{size}" for name, letters in sizes.items() for size in letters]
    assert set(names) <= set(ARCHITECTURES)
