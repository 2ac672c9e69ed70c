"""The same names written in other ways: other orders, plurals, articles, among other names."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from glip_pl.prompts import readable_names

_VOWELS = "aeiou"


@dataclass(frozen=True)
class Variant:
    """One way to write the names of a set.

    Attributes:
        name: What it is called in a report.
        words: What is written, in order.
        answers: Which of the set's names each of the words stands for; -1 for none.
    """

    name: str
    words: tuple[str, ...]
    answers: tuple[int, ...]


def variants_of(
    names: Sequence[str], *, orders: int = 3, distractors: Sequence[str] = (), seed: int = 0
) -> list[Variant]:
    """Write names in several ways; the first is the way that they are given.

    Args:
        names: As the set has them.
        orders: How many random orders.
        distractors: Names that no image shows, to stand among the others.
        seed: Of the orders.
    """
    readable, places = readable_names(names), tuple(range(len(names)))
    variants = [Variant("as given", tuple(readable), places)]
    for number in range(orders if len(names) > 1 else 0):
        order = random.Random(f"{seed} {number}").sample(places, len(places))
        words = tuple(readable[k] for k in order)
        variants.append(Variant(f"order {number + 1}", words, tuple(order)))
    variants.append(Variant("plural", tuple(map(plural, readable)), places))
    variants.append(Variant("article", tuple(map(with_article, readable)), places))
    known = {name.lower() for name in readable}
    others = [name for name in distractors if name.lower() not in known]
    if others:
        mixed = [*zip(readable, places, strict=True), *((name, -1) for name in others)]
        random.Random(f"{seed} distractors").shuffle(mixed)
        words, answers = zip(*mixed, strict=True)
        variants.append(Variant("distractors", words, answers))
    return variants


def plural(name: str) -> str:
    """Write a name in the plural by the common rules of English: "berry" becomes "berries"."""
    if name.endswith(("s", "x", "z", "ch", "sh")):
        return f"{name}es" if not name.endswith("es") else name
    if name.endswith("y") and name[-2:-1] not in _VOWELS:
        return f"{name[:-1]}ies"
    return f"{name}s"


def with_article(name: str) -> str:
    """Write a name with its article: "an apple"."""
    return f"{'an' if name[:1].lower() in _VOWELS else 'a'} {name}"
