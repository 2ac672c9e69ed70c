"""What is written for people: wrapped in a terminal, whole where programs read it."""

import logging
import sys

from glip_pl.system.screen import complain, next_command, show_warnings, wrapped, write


def terminal(monkeypatch, name):
    monkeypatch.setattr(getattr(sys, name), "isatty", lambda: True)


def test_a_terminal_gets_lines_that_fit(capsys, monkeypatch):
    terminal(monkeypatch, "stdout")

    write("  red circle 121, " + "blue square 115, " * 8, "next")

    first, *_, last = capsys.readouterr().out.splitlines()
    assert len(first) <= 80
    assert last == "next"


def test_what_follows_is_two_deeper_than_its_line():
    assert [line[:5] for line in wrapped("  a " + "b" * 77).splitlines()] == ["  a", "    b"]


def test_programs_get_a_fact_a_line(capsys):
    write("a " * 100)

    assert capsys.readouterr().out == "a " * 100 + "\n"


def test_a_path_is_never_torn_apart(capsys, monkeypatch):
    terminal(monkeypatch, "stderr")

    complain("see " + "x" * 100)

    assert capsys.readouterr().err.splitlines()[-1].strip() == "x" * 100


def test_a_long_path_stands_further_to_the_left_in_the_next_command():
    path = "--ckpt_path=" + "x" * 62

    assert next_command("glip", "test", path, "--x=1").splitlines() == [
        "next:    glip test \\",
        f"    {path} \\",
        "    --x=1",
    ]


def test_the_next_command_is_one_that_the_shell_finds(monkeypatch):
    monkeypatch.setattr(sys, "argv", [".venv/bin/glip", "fit"])
    monkeypatch.setenv("PATH", "")

    assert next_command("glip", "test", "--data=my set") == (
        "next:    .venv/bin/glip test '--data=my set'"
    )


def test_warnings_fit_too_and_come_once(capsys, monkeypatch):
    show_warnings()
    show_warnings()
    terminal(monkeypatch, "stderr")

    logging.getLogger("glip_pl.data").warning("%s", "word " * 40)

    lines = capsys.readouterr().err.splitlines()
    assert max(map(len, lines)) <= 80
    assert sum(line.count("word") for line in lines) == 40
