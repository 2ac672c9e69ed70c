"""Packages that are not installed: which ones, and what installs them."""

import re
from importlib.metadata import PackageNotFoundError, requires

_OURS = ("glip_pl", "fusion_plugins")


def lacking(error: ModuleNotFoundError) -> str | None:
    """Return what to install; None where a module of this project is not found, which is a fault.

    A package that one of the project's extras brings is told with that extra.
    """
    name = (error.name or "").partition(".")[0]
    if name in _OURS:
        return None
    if not name:  # Of Lightning, which says what to do itself.
        return " ".join(str(error).split())
    extra = _extras().get(_plain(name))
    what = f'"glip-pl[{extra}]"' if extra else name
    return f"the package {name} is not installed; run: pip install {what}"


def _extras() -> dict[str, str]:
    """Return the first extra that brings each package beyond the project's own needs."""
    try:
        listed = requires("glip-pl") or []
    except PackageNotFoundError:  # Run from its sources.
        return {}
    found: dict[str, str] = {}
    for line in listed:
        name = re.match(r"[\w.-]+", line)
        extra = re.search(r"""extra\s*==\s*["']([\w-]+)["']""", line)
        if name is not None and extra is not None:
            found.setdefault(_plain(name[0]), extra[1])
    return found


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "_", name).lower()
