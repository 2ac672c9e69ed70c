"""A model that is dealt to processes (FSDP2) learns what one in each process learns."""

import pytest
from faults.bench import Bench
from faults.cluster import sharded_run
from pytorch_lightning.callbacks import EMAWeightAveraging, Timer

from glip_pl.training.sharding import refuse_averages


@pytest.mark.slow
def test_two_processes_that_share_a_model_learn_what_two_with_a_model_each_learn(tmp_path):
    assert "resumed by both" in sharded_run(Bench(tmp_path))


def test_averages_of_a_model_that_is_dealt_out_are_refused():
    with pytest.raises(ValueError, match="EMAWeightAveraging keeps a copy of the whole model"):
        refuse_averages([Timer(), EMAWeightAveraging()])


def test_other_callbacks_may_stay():
    refuse_averages([Timer()])
