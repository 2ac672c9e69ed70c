"""Faults of the machine end in a traceback and, after it, one line that says what to do."""

import re

import pytest

from glip_pl.cli import main
from glip_pl.commands.failures import advice, raised_by_a_worker
from glip_pl.commands.processes import name_the_failed

KILLED = "DataLoader worker (pid 7) is killed by signal: Killed. "


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (KILLED, r"killed \(Killed\).*lower --data.num_workers"),
        (
            "DataLoader worker (pid 7) is killed by signal: Bus error. It is possible that "
            "dataloader's workers are out of shared memory.",
            r"/dev/shm.*--shm-size.*num_workers=0",
        ),
        (
            "unable to allocate shared memory(shm) for file </torch_10244_15>: No space left on "
            "device (28)",
            "--shm-size",
        ),
        ("DataLoader worker (pid(s) 70, 71) exited unexpectedly", "num_workers=0 to see why"),
        ("received 0 items of ancdata", r"no more files.*the limit is \d+.*ulimit -n"),
        (
            "unable to open shared memory object </torch_77_16> in read-write mode: Too many open "
            "files (24)",
            "ulimit -n",
        ),
        (
            "[gloo/transport/tcp/pair.cc:545] Read error [::1]:37: Connection reset by peer",
            "another",
        ),
        ("NCCL error in: ProcessGroupNCCL.cpp:1, remote process exited", "another process"),
        ("CUDA out of memory. Tried to allocate 2.00 GiB.", "lower --data.batch_size"),
    ],
)
def test_what_libraries_say_of_a_fault_is_known(said, told):
    error = RuntimeError(said)

    assert re.search(told, advice(error))


def test_a_fault_is_known_by_what_caused_it():
    error = RuntimeError("the loader failed")
    error.__cause__ = RuntimeError(KILLED)

    assert "loader process was killed" in advice(error)


def test_memory_that_ran_out_is_known_by_its_kind():
    assert "memory ran out" in advice(MemoryError())


@pytest.mark.parametrize("error", [RuntimeError("shapes do not fit"), KeyError("x")], ids=str)
def test_of_other_errors_nothing_is_said(error):
    assert advice(error) is None


def worker_said(file, message):
    return ValueError(
        "Caught ValueError in DataLoader worker process 0.\nOriginal Traceback (most recent call "
        f'last):\n  File "/lib/torch/worker.py", line 3, in _loop\n  File "{file}", line 5, in '
        f"read\n    raise ValueError(\nValueError: {message}\n"
    )


def test_our_message_is_known_where_a_loader_process_raised_it():
    assert raised_by_a_worker(worker_said(main.__code__.co_filename, "no such file")) == (
        "no such file"
    )


@pytest.mark.parametrize(
    "error", [worker_said("/lib/numpy/core.py", "shape"), ValueError("Caught it")], ids=["", " "]
)
def test_messages_of_others_are_not_taken_for_ours(error):
    assert raised_by_a_worker(error) is None


def test_what_to_do_comes_after_the_traceback_with_where_to_resume(monkeypatch, capsys):
    def run(args):
        error = RuntimeError(KILLED)
        error.add_note("resume it with --ckpt_path=x/last.ckpt")
        raise error

    monkeypatch.setattr("glip_pl.commands.compare.run", run)

    with pytest.raises(SystemExit) as ended:
        main(["compare"])

    lines = capsys.readouterr().err.splitlines()
    assert ended.value.code == 1
    assert lines[0].startswith("Traceback")
    assert lines[-2].startswith("glip: error: a loader process was killed")
    assert lines[-1] == "resume it with --ckpt_path=x/last.ckpt"


def test_under_torchrun_an_error_is_left_for_its_summary(monkeypatch, tmp_path):
    def run(args):
        raise RuntimeError(KILLED)

    monkeypatch.setattr("glip_pl.commands.compare.run", run)
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(tmp_path / "error.json"))

    with pytest.raises(SystemExit):
        main(["compare"])

    assert KILLED.strip() in (tmp_path / "error.json").read_text()


@pytest.mark.parametrize(("code", "how"), [("-9", "killed by signal 9"), ("2", "with status 2")])
def test_a_process_that_ends_the_others_is_named(code, how):
    message = (
        f"[rank: 1] Child process with PID 7 terminated with code {code}. Forcefully terminating "
        "all other processes to avoid zombies"
    )

    assert how in name_the_failed(message)
    assert "process of rank: 1" in name_the_failed(message)


def test_other_messages_stay():
    assert name_the_failed("GPU available: True") is None
