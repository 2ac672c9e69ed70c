"""Replay: old samples in every batch, all of them in turn, and epochs of the new data's length."""

from itertools import islice

import pytest
from torch.utils.data import IterableDataset

from glip_pl.data.replay import Replay, ReplaySampler, ReplayStream, old_order


class Order:
    """Eight new samples, in another order every epoch."""

    epoch = 0

    def set_epoch(self, epoch):
        self.epoch = epoch

    def __iter__(self):
        return iter([(k + self.epoch) % 8 for k in range(8)])

    def __len__(self):
        return 8


def sampler(**options):
    return ReplaySampler(Order(), 3, first_old=8, batch_size=4, old_per_batch=1, **options)


def test_every_batch_has_its_share_and_the_epoch_is_that_of_the_new_data():
    drawn = list(sampler())

    assert len(drawn) == len(sampler()) == 8  # Two batches: three of eight new samples are left.
    for batch in (drawn[:4], drawn[4:]):
        assert [index >= 8 for index in batch] == [False] * 3 + [True]


def test_another_epoch_has_other_old_samples_and_the_same_epoch_the_same():
    first, again, later = sampler(), sampler(), sampler()
    later.set_epoch(5)

    assert list(first) == list(again) != list(later)


def test_all_old_samples_come_once_before_any_comes_again():
    drawn = list(islice(old_order(5, 0, 0), 10))

    assert sorted(drawn[:5]) == sorted(drawn[5:]) == [0, 1, 2, 3, 4]


def test_two_processes_share_the_old_samples():
    parts = [list(islice(old_order(6, 0, 0, rank, 2), 3)) for rank in range(2)]

    assert sorted(parts[0] + parts[1]) == [0, 1, 2, 3, 4, 5]


def test_a_stream_gets_old_samples_behind_each_part_of_a_batch():
    class Stream(IterableDataset):
        epoch = 0

        def __iter__(self):
            return iter("abcdef")

        def __len__(self):
            return 6

    mixed = ReplayStream(Stream(), ["x", "y"], new_per_batch=3, old_per_batch=1)

    drawn = list(mixed)

    assert len(drawn) == len(mixed) == 8
    assert [s in "xy" for s in drawn] == [False] * 3 + [True] + [False] * 3 + [True]


@pytest.mark.parametrize("share", [0, 1, 1.5])
def test_a_share_of_nothing_or_all_is_refused(share):
    with pytest.raises(ValueError, match=r"data\.sampling\.replay\.share=.* between 0 and 1"):
        Replay("bccd", share)


def test_a_batch_of_one_has_no_room_for_both():
    with pytest.raises(ValueError, match=r"data\.batch_size is 1"):
        Replay("bccd").per_batch(1)


def test_a_batch_has_at_least_one_of_each():
    assert [Replay("bccd", s).per_batch(4) for s in (0.01, 0.5, 0.99)] == [1, 2, 3]
