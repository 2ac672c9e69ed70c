"""What argparse and jsonargparse say of wrong options, in the words of who typed them."""

import difflib
import re
from collections.abc import Iterator

from jsonargparse import ArgumentParser


def as_typed(message: str, parser: ArgumentParser) -> str:
    """Return a message of argparse with options and commands as they are typed."""
    lacking = re.search(r"the following arguments are required: (.*)", message)
    if lacking is not None:
        actions = [action for member in family(parser) for action in member._actions]
        options = {action.dest for action in actions if action.option_strings}
        names = [f"--{name}" if name in options else name for name in lacking[1].split(", ")]
        return message.replace(lacking[1], ", ".join(names))
    unnamed = re.search(r'expected "subcommand" to be one of \{(.*)\}', message)
    if unnamed is not None:
        return f"name a command: {unnamed[1].replace(',', ', ')}"
    wrong = re.search(r"argument subcommand: invalid choice: '(.*)' \(choose from (.*)\)", message)
    if wrong is not None:
        commands = re.findall(r"[\w-]+", wrong[2])
        close = difflib.get_close_matches(wrong[1], commands, n=1)
        hint = f"did you mean {close[0]}? The" if close else "the"
        return f"there is no command {wrong[1]!r}; {hint} commands are {', '.join(commands)}"
    return message


def in_short(message: str) -> str:
    """Return what jsonargparse says of a value of the wrong type, in one line.

    Where several types are allowed, it lists what each says of the value; a class that refuses what
    it was built from says it best.
    """
    single = re.search(r"Expected an? ([^\n]*?)\. Got value: ([^\n]*)\Z", message)
    if single is not None:
        return f"{message[: single.start()]}{_refused(single[2], _kinds(single[1]))}"
    head, union, listed = message.partition("Does not validate against any of the Union subtypes")
    if not union:
        return message
    given = re.search(r"Given value: (.*)", listed)
    refused = r"Problem with given class_path '([\w.]+)':\s*(.*?)\s*(?=\n\s*- |\Z)"
    built = re.search(refused, listed, re.DOTALL)
    if built is not None:
        return f"{head}{built[1].rpartition('.')[2]}: {in_short(' '.join(built[2].split()))}"
    expected = re.findall(r"Expected an? (.*)$", listed, re.M)
    kinds = [kind for wanted in expected for kind in _kinds(wanted)]
    return f"{head}{_refused(given[1], kinds)}" if kinds and given is not None else message


def _kinds(wanted: str) -> list[str]:
    """Return the values or the type that jsonargparse expected, in words."""
    kind = re.sub(r"<class '(?:\w+\.)*(\w+)'>", r"\1", wanted).removeprefix("typing.")
    if kind.startswith("Literal["):
        return kind[8:-1].split(", ")
    return [] if kind == "NoneType" else [kind]


def _refused(value: str, kinds: list[str]) -> str:
    if len(kinds) == 1 and not kinds[0].startswith("'"):
        return f"{value!r} is no {kinds[0]}"
    first = sorted(kinds, key=lambda kind: not kind.startswith("'"))  # Values before types.
    return f"{value!r} is none of {', '.join(first)}"


def family(parser: ArgumentParser) -> Iterator[ArgumentParser]:
    """Yield a parser and those of its subcommands."""
    yield parser
    commands = getattr(parser, "_subcommands_action", None)
    for member in commands.choices.values() if commands is not None else ():
        yield from family(member)
