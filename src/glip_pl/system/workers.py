"""Loader processes that report what they cannot hand over, in the place of losing it."""

from multiprocessing.queues import Queue
from typing import Any

from torch._utils import ExceptionWrapper


def guard_worker(worker: int) -> None:
    """Let a loader process report a batch that it cannot hand over; for `worker_init_fn`.

    Batches leave a worker through shared memory, in a thread that prints what fails (a full
    /dev/shm, too many open files) and goes on: the batch is lost, and the trainer waits forever.
    """

    def report(queue: Any, error: Exception, item: Any) -> None:
        # An item is (number, batch); an error in the place of the batch is raised by the trainer.
        if isinstance(item, tuple):
            wrapped = ExceptionWrapper(  # type: ignore[no-untyped-call]
                (type(error), error, error.__traceback__),
                where=f"in DataLoader worker process {worker}",
            )
            queue.put((item[0], wrapped))

    # The hook is there for pools of processes, which have to report lost tasks, too.
    Queue._on_queue_feeder_error = report  # type: ignore[attr-defined]
