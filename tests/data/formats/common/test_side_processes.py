"""Pieces parsed by several processes: the same results in the same order, whatever ends one."""

import os
import signal

import pytest

from glip_pl.data.formats.common import side_processes
from glip_pl.data.formats.common.side_processes import parse_beside


@pytest.fixture(autouse=True)
def _three_cores(monkeypatch):
    monkeypatch.setattr(side_processes, "free_cores", lambda: 3)


def test_results_come_in_order_from_other_processes():
    parsed = list(parse_beside(range(40), lambda piece: (piece, os.getpid())))

    assert [piece for piece, _ in parsed] == list(range(40))
    assert len({process for _, process in parsed} - {os.getpid()}) == 3


def test_what_a_killed_process_leaves_is_parsed_here():
    here = os.getpid()

    def parse(piece):
        if piece == 7 and os.getpid() != here:
            os.kill(os.getpid(), signal.SIGKILL)
        return piece

    assert list(parse_beside(range(40), parse)) == list(range(40))


def test_an_error_is_raised_as_by_one_process():
    def parse(piece):
        if piece == 7:
            raise ValueError(f"piece {piece} is wrong")
        return piece

    parsed = parse_beside(range(40), parse)

    assert [next(parsed) for _ in range(7)] == list(range(7))
    with pytest.raises(ValueError, match="piece 7 is wrong"):
        next(parsed)


def test_a_reader_that_stops_leaves_no_process():
    parsed = parse_beside(range(40), lambda piece: bytes(1 << 20))
    next(parsed)
    parsed.close()

    assert side_processes.multiprocessing.active_children() == []
