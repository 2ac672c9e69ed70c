import pytest
import torch

from glip_pl.benchmark.limits import measure_limits
from glip_pl.benchmark.published import describe, random_task


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
