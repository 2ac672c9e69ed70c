import pytest

from glip_pl.system.machine import choose_device


@pytest.mark.parametrize("name", ["gpu7", "cuda:99", ""])
def test_a_device_that_is_not_there_is_refused(name):
    with pytest.raises(ValueError, match=rf"there is no device '{name}' here .*--device=cpu"):
        choose_device(name)


def test_a_processor_is_always_there():
    assert choose_device("cpu").type == "cpu"
