import pytest

from glip_pl.data.formats.common.values import is_true


@pytest.mark.parametrize(
    "value",
    [0, "0", "False", "false ", "", None, 0.0, "0.0", False, "n", "F", "off", "NaN", float("nan")],
)
def test_a_flag_written_as_text_is_no_more_true_than_its_value(value):
    assert not is_true(value)


@pytest.mark.parametrize("value", [1, "1", "True", True, 1.0, "yes", "T", "on", -1])
def test_a_flag_that_is_set_is_true(value):
    assert is_true(value)
