"""A run goes on with the names that it began with."""

from types import SimpleNamespace

import pytest
from tiny_run import tiny_task

from glip_pl.training.names import refuse_other_names


def resumed(*, takes_new_names=False):
    """A task that resumes a run on "cat" with data that name "dog"."""
    task = tiny_task()
    task._trainer = SimpleNamespace(state=SimpleNamespace(fn="fit"))
    task.class_names, task.takes_new_names = ["dog"], takes_new_names
    task.on_load_checkpoint({"class_names": ["cat"], "state_dict": task.state_dict()})
    return task.class_names


def test_the_same_names_in_another_order_are_the_same():
    refuse_other_names(["cat", "dog"], ["dog", "cat"])


def test_other_names_are_listed():
    with pytest.raises(ValueError, match=r"'a', 'b', 'c' \(4 in all\) gone, 'x' new; .*--weights"):
        refuse_other_names(["a", "b", "c", "d", "e"], ["e", "x"])


def test_a_resume_with_other_names_is_refused():
    with pytest.raises(ValueError, match="'cat' gone, 'dog' new"):
        resumed()


def test_a_resume_with_other_names_goes_on_where_it_is_asked_for():
    assert resumed(takes_new_names=True) == ["dog"]
