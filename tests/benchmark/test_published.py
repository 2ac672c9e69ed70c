import pytest
import torch

from glip_pl.benchmark.limits import Limits, measure_limits
from glip_pl.benchmark.measure import first_run
from glip_pl.benchmark.published import describe, random_task
from glip_pl.layers.linear import linear


def test_a_model_of_any_fusion_starts_at_random_without_a_download():
    described = describe("resnet50", "query")

    assert described["backbone"]["init_args"]["weights"] is None
    assert described["text"]["init_args"] == {
        "pretrained": "bert-base-uncased",
        "load_weights": False,
    }
    fusion = described["fusion"]["init_args"]
    assert (fusion["num_layers"], fusion["num_queries"], fusion["d_model"]) == (6, 100, 256)
    assert "anchor_scale" not in fusion


@pytest.mark.parametrize("fusion", ["late", "query", "closed_set"])
def test_it_can_be_built(fusion):
    first, second = (random_task(describe("tiny", fusion)) for _ in range(2))

    for one, other in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize(
    ("model", "fusion", "message"),
    [
        ("glip_t", "late", "--model=glip_t has a fusion of its own"),
        ("tiny", "lates", "--fusion='lates' is not known; choose one of closed_set, deep"),
    ],
)
def test_what_is_refused(model, fusion, message):
    with pytest.raises(ValueError, match=message):
        describe(model, fusion)


def test_a_machine_multiplies_and_copies():
    limits = measure_limits(torch.device("cpu"), "fp32")

    # A product of 1024 does 340 operations a byte: no machine copies faster than it multiplies.
    assert limits.operations > limits.bytes > 1e8


def test_the_bound_is_what_takes_longer_of_products_and_copies():
    limits = Limits(operations=100.0, bytes=10.0)

    assert (limits.least(200, 10), limits.least(200, 50)) == (2.0, 5.0)


def test_what_a_linear_layer_does_in_one_pass_is_counted():
    layer, x = torch.nn.Linear(8, 4), torch.ones(3, 8)

    with torch.no_grad():
        _, operations = first_run(lambda: linear(layer, x, activation="relu"), x.device)

    assert operations == 2 * 3 * 8 * 4
