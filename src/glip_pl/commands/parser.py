"""The parser that every command uses: plain errors, switches without values, lists of one.

What is typed is made complete before it is parsed: ``--caption`` stands for ``--caption=true``, and
``--images=photos`` for ``--images=[photos]``.
"""

import difflib
import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from types import NoneType
from typing import Any, NoReturn, get_args, get_origin

from jsonargparse import ArgumentParser, auto_cli

from glip_pl.commands.messages import as_typed, family, in_short
from glip_pl.configs.reading import read_safely
from glip_pl.system.screen import complain

read_safely()

_TRUTH_VALUES = ("true", "false", "yes", "no", "null")


_LISTS = (list, Sequence)
_LONGEST_CHOICES = 50  # Characters of them in a line of --help.


class CommandParser(ArgumentParser):
    """jsonargparse's parser, whose errors are the error alone, without usage before it."""

    def parse_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, *rest: Any, **options: Any
    ) -> Any:
        """Parse; a switch may stand alone, and a list of one needs no brackets."""
        given = _with_truth_values(list(sys.argv[1:] if args is None else args), self)
        return super().parse_args(_with_brackets(given, self), *rest, **options)

    def format_help(self, *rest: Any, **options: Any) -> str:
        """Name an option's value by the option where its choices would not fit into a line."""
        for action in self._actions:
            if len(str(action.metavar)) > _LONGEST_CHOICES:
                action.metavar = action.dest.upper()
        return super().format_help(*rest, **options)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Write what is wrong and what may have been meant, and exit with status 2."""
        if not self.exit_on_error:
            super().error(message, ex)
        hint = self._hint(message)
        message = as_typed(message, self)
        message = re.sub(r'Parser key "([^"]+)":\s*', r"--\1: ", message)
        # The name of the command is not part of its options' names.
        message = re.sub(r"\b(fit|validate|test)\.(?=(data|model|trainer)\b)", "", message)
        message = in_short(message)
        complain(f"glip: error: {message}\n{hint}{_prog(self)} --help lists the options.")
        raise SystemExit(2)

    def _hint(self, message: str) -> str:
        """Return a line with the option that was probably meant, or nothing."""
        unknown = re.search(r"(?i)unrecognized arguments: (--[^\s=]+)", message)
        if unknown is None:
            return ""
        known = [option for parser in family(self) for option in parser._option_string_actions]
        close = difflib.get_close_matches(unknown[1], known, n=1)
        return f"Did you mean {close[0]}?\n" if close else ""


def run_function(
    function: Callable[..., Any],
    args: list[str],
    *,
    positional: bool = False,
    renamed: Mapping[str, str] | None = None,
) -> Any:
    """Call a function with arguments of the command line, as its signature and docstring say.

    Args:
        function: Its name is that of the command.
        args: What was typed after the name.
        positional: Whether arguments without default stand alone, without ``--name``.
        renamed: Options that cannot be names in Python, such as "not", to the arguments they are.
    """
    for option, argument in (renamed or {}).items():
        args = [re.sub(rf"^--{option}(?==|$)", f"--{argument}", arg) for arg in args]
    return auto_cli(
        function,
        args=args,
        prog=f"glip {function.__name__}",
        as_positional=positional,
        parser_class=CommandParser,
    )


def _with_truth_values(args: list[str], parser: ArgumentParser) -> list[str]:
    """Write ``=true`` behind every switch that stands alone."""
    switches = {
        option
        for member in family(parser)
        for action in member._actions
        if getattr(action, "_typehint", None) in (bool, bool | None)
        for option in action.option_strings
    }
    return [
        f"{arg}=true" if arg in switches and following.lower() not in _TRUTH_VALUES else arg
        for arg, following in zip_longest(args, args[1:], fillvalue="")
    ]


def _with_brackets(args: list[str], parser: ArgumentParser) -> list[str]:
    """Write a value of a list option that has no brackets as a list of one."""
    lists = {
        option: texts
        for member in family(parser)
        for action in member._actions
        if (texts := _is_list_of_texts(getattr(action, "_typehint", None))) is not None
        for option in action.option_strings
    }
    complete, before = [], ""
    for arg in args:
        option, equals, value = arg.partition("=")
        if option in lists and equals:
            arg = f"{option}={_bracketed(value, texts=lists[option])}"
        elif before in lists and not arg.startswith("--"):
            arg = _bracketed(arg, texts=lists[before])
        complete.append(arg)
        before = arg
    return complete


def _is_list_of_texts(hint: Any) -> bool | None:
    """Return whether a type is a list of texts, or of numbers; None for whatever else.

    A type that may also be no list, as that of ``--trainer.devices``, reads values its own way.
    """
    is_list = get_origin(hint) in _LISTS
    kinds = [hint] if is_list else [k for k in get_args(hint) if k is not NoneType]
    if len(kinds) != 1 or get_origin(kinds[0]) not in _LISTS:
        return None
    element = get_args(kinds[0])[0]
    return element in (str, Path) if element in (str, Path, int, float) else None


def _bracketed(value: str, *, texts: bool) -> str:
    if value.startswith("[") or value in ("", "null"):
        return value
    return json.dumps([value], ensure_ascii=False) if texts else f"[{value}]"


def _prog(parser: ArgumentParser) -> str:
    """Return what stands before the options, with the command where there is but one."""
    commands = getattr(parser, "_subcommands_action", None)
    names = list(commands.choices) if commands is not None else []
    only = names if len(names) == 1 else []
    return " ".join([str(parser.prog).replace(" [options]", ""), *only])
