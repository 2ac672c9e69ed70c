"""Text as people's tools write it: byte order marks, encodings, YAML whose values are words.

What a file says is never guessed: bytes that are no UTF-8, and that nothing declares to be anything
else, become U+FFFD, and whoever needs the words in question refuses them (`is_readable`).
"""

import codecs
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import yaml

from glip_pl.data.formats.common.json_keys import once

# What stands in the place of bytes that are no UTF-8.
REPLACED = "\ufffd"
NOT_UTF8 = "it is not in UTF-8 and does not say in what else; save it as UTF-8"
# The marks of UTF-32 begin with those of UTF-16 and come first.
_MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
_DECLARED = re.compile(rb"""^\s*<\?xml[^>]*?encoding\s*=\s*["']([A-Za-z0-9._-]+)["']""")
# Chinese exports declare the oldest of three encodings and use letters of the newest.
_LATER = {"gb2312": "gb18030", "gbk": "gb18030"}
# A description of a data set is a page of text; aliases of aliases could hang its reader.
_LONGEST_YAML = 8 << 20
_PART = 1 << 20  # Bytes that are decoded at once.


def decode(content: bytes) -> str:
    """Decode a text by its byte order mark, its XML declaration, or as UTF-8.

    Returns:
        The text without a mark; U+FFFD in the place of bytes that are wrong.
    """
    encoding, start = encoding_of(content)
    return content[start:].decode(encoding, errors="replace")


def decode_parts(file: Path) -> Iterator[str]:
    """Decode a file of any size as `decode` does, some bytes at a time.

    Raises:
        OSError: It cannot be read.
    """
    with file.open("rb") as opened:
        encoding, start = encoding_of(opened.read(200))
        opened.seek(start)
        decoder = codecs.getincrementaldecoder(encoding)("replace")
        while part := opened.read(_PART):
            yield decoder.decode(part)
        yield decoder.decode(b"", final=True)


def in_utf8(file: BinaryIO, encoding: str) -> BinaryIO:
    """Copy a text into a nameless file in UTF-8.

    Raises:
        ValueError: It is not in the encoding.
    """
    copy = tempfile.TemporaryFile()
    decoder = codecs.getincrementaldecoder(encoding)("surrogatepass")
    while part := file.read(_PART):
        copy.write(decoder.decode(part).encode("utf-8", "surrogatepass"))
    copy.write(decoder.decode(b"", final=True).encode("utf-8", "surrogatepass"))
    copy.seek(0)
    return copy


def encoding_of(head: bytes) -> tuple[str, int]:
    """Find the encoding of a text from its first bytes, and the length of its mark."""
    for mark, encoding in _MARKS.items():
        if head.startswith(mark):
            return encoding, len(mark)
    declared = _DECLARED.match(head[:200])
    encoding = declared[1].decode().lower() if declared else "utf-8"
    encoding = _LATER.get(encoding, encoding)
    try:
        codecs.getincrementaldecoder(encoding)
    except LookupError:  # No encoding has this name.
        return "utf-8", 0
    return encoding, 0


def is_readable(text: str) -> bool:
    """Whether a text was decoded and can be encoded again: no wrong bytes, no lone surrogates."""
    return REPLACED not in text and not any("\ud800" <= letter <= "\udfff" for letter in text)


def read_text(file: Path) -> str:
    """Read a text file all of whose words count.

    Raises:
        ValueError: It cannot be read, or is in an unknown encoding.
    """
    try:
        text = decode(file.read_bytes())
    except OSError as error:
        raise ValueError(
            f"cannot read {str(file)!r}: {error.strerror}; correct the path"
        ) from error
    if REPLACED in text:
        raise ValueError(f"cannot read {str(file)!r}: {NOT_UTF8}")
    return text


def read_lines(file: Path) -> list[str]:
    """Read the lines of a text file that say something, without blanks around them.

    Raises:
        ValueError: It cannot be read, or is in an unknown encoding.
    """
    return [line.strip() for line in read_text(file).splitlines() if line.strip()]


class _Words(yaml.BaseLoader):
    """Reads values as text, and refuses two of one key."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        held = super().construct_mapping(node, deep)
        return held if len(held) == len(node.value) else once(self.construct_pairs(node, deep))


def read_yaml_words(file: Path) -> Any:
    """Read a YAML file whose every value is text: a class called ``no`` is no ``False``.

    Raises:
        ValueError: It cannot be read, is no YAML, has two values of one key, or is too large or
            deep for a description.
    """
    text = read_text(file)
    if len(text) > _LONGEST_YAML:
        raise ValueError(
            f"{str(file)!r} has {len(text)} characters, more than the {_LONGEST_YAML} of any "
            "description of a data set; pass the right file"
        )
    try:
        _refuse_aliases(text)
        return yaml.load(text, Loader=_Words)
    except RecursionError:
        raise ValueError(f"cannot read {str(file)!r}: its brackets are nested too deep") from None
    except (ValueError, yaml.YAMLError) as error:
        told = " ".join(str(error).split())
        raise ValueError(f"cannot read {str(file)!r} as YAML: {told}; correct the file") from error


def _refuse_aliases(text: str) -> None:
    """Refuse a YAML of many aliases, each of which may stand for as much as all before it."""
    if text.count("*") > 100:
        aliases = sum(isinstance(t, yaml.AliasToken) for t in yaml.scan(text, yaml.BaseLoader))
        if aliases > 100:
            raise ValueError(f"it has {aliases} aliases; write out what they stand for")
