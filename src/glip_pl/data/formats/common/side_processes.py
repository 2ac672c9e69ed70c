"""Pieces of a large file parsed by processes beside this one, their results in order.

Each process takes every so many-th piece and sends what it made of it through a pipe of its own,
where it waits until it is asked for: no process is ahead by more than one result, so that memory
stays bounded whatever is slow. A piece whose process was killed, or could not parse it, is parsed
here, where an error is told as if there were one process only.
"""

import multiprocessing
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from typing import TypeVar

from glip_pl.system.machine import free_cores

# Fewer pieces for each process are parsed before it has begun, and more processes than that wait
# for this one, which takes their results.
_LEAST_PIECES, _MOST_PROCESSES = 4, 4

S = TypeVar("S")
T = TypeVar("T")


def parse_beside(pieces: Sequence[S], parse: Callable[[S], T]) -> Iterator[T]:
    """Parse every piece, several at a time where there are many and more than one core is free.

    Args:
        pieces: The pieces; files in them must be read by position, since all share them.
        parse: Makes what can be pickled of a piece.
    """
    count = min(free_cores(), len(pieces) // _LEAST_PIECES, _MOST_PROCESSES)
    # A loader's process may have none of its own; elsewhere a fork is not safe, or not there.
    if count < 2 or sys.platform != "linux" or multiprocessing.current_process().daemon:
        yield from map(parse, pieces)
        return
    # A fork has the libraries and the opened file, where a new process would take seconds to import
    # what this one did. Loaders are forked in the same way.
    context = multiprocessing.get_context("fork")
    receivers, processes = list[Connection](), []
    try:
        for first in range(count):
            receiver, sender = context.Pipe(duplex=False)
            receivers.append(receiver)
            own = (pieces[first::count], parse, tuple(receivers), sender)
            processes.append(context.Process(target=_send, args=own, daemon=True))
            processes[-1].start()
            sender.close()
        for place, piece in enumerate(pieces):
            try:
                result = receivers[place % count].recv()
            except (EOFError, OSError):
                result = parse(piece)
            yield result
    finally:
        for receiver in receivers:
            receiver.close()
        for process in processes:
            process.join()


def _send(
    pieces: Sequence[S],
    parse: Callable[[S], T],
    receivers: Sequence[Connection],
    sender: Connection,
) -> None:
    """Parse pieces and hand each over; end quietly when one cannot be, or nobody takes it."""
    # What the first process does at a signal, such as saving a checkpoint, is not for this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for receiver in receivers:  # Or nobody would notice the end of the first process.
        receiver.close()
    try:
        for piece in pieces:
            sender.send(parse(piece))
    except Exception:
        return
