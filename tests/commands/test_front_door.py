"""The list of commands, and what is told before anything heavy is imported."""

import errno
import subprocess
import sys
from collections.abc import Sequence
from importlib import import_module

import pytest
from helpers import ROOT

from glip_pl.cli import COMMANDS, main
from glip_pl.commands.lacking import lacking
from glip_pl.commands.messages import in_short
from glip_pl.commands.parser import CommandParser, run_function

HEAVY = ("torch", "pytorch_lightning", "torchmetrics", "albumentations", "transformers")
# Helpers of several commands.
SHARED = {
    "__init__",
    "described_model",
    "grounding_cli",
    "failures",
    "grounding_parser",
    "known_options",
    "caption_plan",
    "label_plans",
    "messages",
    "lacking",
    "parser",
    "plugin_options",
    "processes",
    "quiet",
    "said",
    "resume",
    "trainer",
}


def imported_by(*arguments):
    """The heavy packages that a command line imports, and its exit status."""
    program = (
        "import sys\nfrom glip_pl.cli import main\nstatus = 0\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit as stopped:\n    status = stopped.code\n"
        f"print('imported', status, *[name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()[-1].split()[1:]


def test_every_command_has_a_door_of_its_name():
    files = {path.stem for path in (ROOT / "src/glip_pl/commands").glob("*.py")}

    assert files - SHARED == set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_door_is_a_function_that_takes_arguments(name):
    assert callable(import_module(f"glip_pl.commands.{name}").run)


def test_the_overview_has_a_line_for_each_command_and_fits_the_screen(capsys):
    main(["--help"])

    lines = capsys.readouterr().out.splitlines()
    assert all(sum(line.startswith(f"  {name} ") for line in lines) == 1 for name in COMMANDS)
    assert max(map(len, lines)) <= 80


def test_the_version_is_told(capsys):
    main(["--version"])

    assert capsys.readouterr().out == "glip 0.1.0\n"


def test_a_command_that_was_stopped_says_so_without_a_traceback(capsys, monkeypatch):
    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("glip_pl.commands.data.run", stopped)

    with pytest.raises(SystemExit, match="130"):
        main(["data"])
    assert capsys.readouterr().err == "glip: stopped\n"


def test_a_misspelt_command_is_told_with_the_close_one(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["tset"])

    assert stopped.value.code == 2
    assert "no command 'tset'; did you mean test?" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        ["fti"],
        ["compare", "--help"],
        ["compare", "a", "b", "--anywy"],
        ["benchmark", "--help"],
        ["odinw", "--help"],
        ["convert", "--help"],
        ["data", "check", "--help"],
        ["predict", "--help"],
        ["predict", "--imag=a.jpg"],
        ["label", "--help"],
    ],
    ids=" ".join,
)
def test_nothing_heavy_is_imported_for(arguments):
    assert len(imported_by(*arguments)) == 1


def test_the_package_alone_imports_nothing_heavy():
    program = f"import sys, glip_pl\nprint([name for name in {HEAVY} if name in sys.modules])"

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)

    assert done.stdout.strip() == "[]"


def test_what_the_package_exports_is_found_where_it_lies():
    import glip_pl

    assert glip_pl.GLIP.__module__ == "glip_pl.model"
    with pytest.raises(AttributeError, match="no attribute 'Glip'"):
        _ = glip_pl.Glip


@pytest.mark.parametrize(
    ("given", "value"),
    [
        (["--shout"], True),
        (["--shout=true"], True),
        (["--shout", "false"], False),
        (["--shout", "x.jpg"], True),
        ([], False),
    ],
)
def test_a_switch_needs_no_value(given, value):
    parser = CommandParser()
    parser.add_argument("--shout", type=bool, default=False)
    parser.add_argument("image", nargs="?")

    assert parser.parse_args(given).shout is value


@pytest.mark.parametrize(
    ("given", "value"),
    [
        (["--images=a, b.jpg"], ["a, b.jpg"]),
        (["--images", "photos"], ["photos"]),
        (["--images=[a,b]"], ["a", "b"]),
        (["--images=null"], None),
    ],
)
def test_a_list_of_one_needs_no_brackets(given, value):
    parser = CommandParser()
    parser.add_argument("--images", type=list[str] | None, default=["x"])

    assert parser.parse_args(given).images == value


def test_a_sequence_of_one_needs_no_brackets():
    parser = CommandParser()
    parser.add_argument("--seeds", type=Sequence[int], default=(3,))

    assert list(parser.parse_args(["--seeds=30"]).seeds) == [30]


def test_what_may_be_a_number_is_not_made_a_list():
    parser = CommandParser()
    parser.add_argument("--devices", type=list[int] | int)

    assert parser.parse_args(["--devices=2"]).devices == 2


def test_a_wrong_value_is_told_with_the_option_as_it_is_typed(capsys):
    parser = CommandParser(prog="glip bark")
    parser.add_argument("--seeds", type=list[int])

    with pytest.raises(SystemExit):
        parser.parse_args(["--seeds=many"])

    assert "glip: error: --seeds: " in capsys.readouterr().err


UNION = """--x: Does not validate against any of the Union subtypes
  Subtypes: [...]
  Errors:
    - {first}
    - Expected a <class 'NoneType'>
  Given value type: <class 'str'>
  Given value: fp8"""


@pytest.mark.parametrize(
    ("first", "told"),
    [
        ("Expected a typing.Literal['16', '32']", "--x: 'fp8' is none of '16', '32'"),
        ("Expected a <class 'int'>", "--x: 'fp8' is no int"),
        (
            "Problem with given class_path 'a.Wandb':\n        not\n        met",
            "--x: Wandb: not met",
        ),
    ],
)
def test_a_value_of_no_type_is_told_in_one_line(first, told):
    assert in_short(UNION.format(first=first)) == told


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        (["adapter"], "name a command: save, merge"),
        (
            ["adapter", "merg"],
            "there is no command 'merg'; did you mean merge? The commands are save, merge",
        ),
        (["serve"], "the following arguments are required: --weights"),
        (["serve", "--weights=a", "--port=many"], "--port: 'many' is no int"),
        (["predict", "--precision=fp8"], "--precision: 'fp8' is none of 'fp32', 'bf16'"),
    ],
)
def test_what_the_parser_refuses_is_told_as_it_is_typed(typed, told, capsys):
    with pytest.raises(SystemExit):
        main(typed)

    assert f"glip: error: {told}\n" in capsys.readouterr().err


def test_a_long_list_of_choices_fits_the_terminal(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")

    with pytest.raises(SystemExit):
        main(["benchmark", "--help"])

    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ModuleNotFoundError("", name="pyarrow.parquet"), 'pip install "glip-pl[label]"'),
        (ModuleNotFoundError("", name="python_multipart"), 'pip install "glip-pl[serve]"'),
        (ModuleNotFoundError("", name="wandb"), "pip install wandb"),
        (ModuleNotFoundError("Requirement 'x>=1' not\n met."), "Requirement 'x>=1' not met."),
    ],
)
def test_a_package_that_is_not_installed_is_told_with_what_brings_it(error, told):
    assert lacking(error).endswith(told)


def test_a_lost_module_of_this_project_is_a_fault_and_no_lacking_package():
    assert lacking(ModuleNotFoundError("", name="glip_pl.nowhere")) is None


def test_an_option_that_is_unknown_is_told_with_the_close_one(capsys):
    parser = CommandParser(prog="glip bark")
    parser.add_argument("--loudness", type=int)

    with pytest.raises(SystemExit) as stopped:
        parser.parse_args(["--ludness=3"])

    assert stopped.value.code == 2
    told = capsys.readouterr().err
    assert "Did you mean --loudness?" in told
    assert "usage" not in told


@pytest.mark.parametrize("given", [["--not=cat"], ["--not", "cat"]])
def test_an_option_may_have_a_name_that_python_has_not(given):
    def bark(*, unwanted: str = "", notable: str = "") -> tuple[str, str]:
        return unwanted, notable

    asked = [*given, "--notable=dog"]
    assert run_function(bark, asked, renamed={"not": "unwanted"}) == ("cat", "dog")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device; make room"),
        (OSError(errno.EROFS, "Read-only file system", "/data"), "'/data': Read-only file system"),
        (IsADirectoryError(errno.EISDIR, "Is a directory", "a"), "'a': Is a directory; correct"),
    ],
)
def test_what_the_system_refuses_is_one_line(monkeypatch, capsys, error, told):
    def run(args):
        raise error

    monkeypatch.setattr(import_module("glip_pl.commands.data"), "run", run)
    with pytest.raises(SystemExit) as stopped:
        main(["data"])

    assert stopped.value.code == 2
    assert capsys.readouterr().err.startswith(f"glip: error: {told}")
