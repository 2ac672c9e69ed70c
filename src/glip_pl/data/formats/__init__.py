"""Formats of annotation files, by the names that users type.

Names are imported when they are first used, so that reading an image does without all readers.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from glip_pl.data.formats.common.records import Annotation, AnnotationSet, Format, Record
    from glip_pl.data.formats.known import FORMATS, detect_format

__all__ = ["FORMATS", "Annotation", "AnnotationSet", "Format", "Record", "detect_format"]

_KNOWN = ("FORMATS", "detect_format")


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = "known" if name in _KNOWN else "common.records"
    return getattr(import_module(f"{__name__}.{module}"), name)
