"""A batch that a loader process cannot hand over ends the run; without a guard it waits forever."""

import resource

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from glip_pl.system.workers import guard_worker


class Zeros(Dataset):
    def __len__(self):
        return 2

    def __getitem__(self, index):
        return torch.zeros(3)


class Unsendable(Zeros):
    def __getitem__(self, index):
        return lambda: index


def open_no_more(worker):
    guard_worker(worker)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (4, hard))


def first_batch(dataset, start):
    loader = DataLoader(
        dataset,
        batch_size=None,
        num_workers=1,
        worker_init_fn=start,
        timeout=20,
        multiprocessing_context="fork",
    )
    return next(iter(loader))


def test_exhausted_file_handles_are_raised_by_the_trainer():
    with pytest.raises((OSError, RuntimeError), match="Too many open files"):
        first_batch(Zeros(), open_no_more)


def test_what_cannot_be_sent_is_raised_with_the_process_that_made_it(monkeypatch):
    # How long a loader waits for a process that is about to end: five seconds.
    monkeypatch.setattr("torch.utils.data._utils.MP_STATUS_CHECK_INTERVAL", 0.2)

    with pytest.raises(Exception, match="in DataLoader worker process 0"):
        first_batch(Unsendable(), guard_worker)


def test_what_can_be_sent_comes():
    assert first_batch(Zeros(), guard_worker).tolist() == [0, 0, 0]
