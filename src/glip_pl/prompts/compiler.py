"""The prompt compiler: names to prompts that fit the text encoder, nothing lost.

A text encoder reads so many tokens and no more. Vocabularies of any length are therefore packed
into *chunks*, prompts that each fit, and every phrase of a chunk knows which of the given names it
is: its *id*, the position among the names, which does not depend on the packing. What is odd about
the names is reported instead of being dropped in silence.
"""

from collections.abc import Hashable, Mapping, Sequence

from glip_pl.prompts.compiled import (
    Chunk,
    CompiledPrompt,
    Ids,
    PromptReport,
    compile_chunk,
    weigh_together,
)
from glip_pl.prompts.limits import check_number, check_readable, check_room, room_for_names
from glip_pl.prompts.names import clean_name, readable_names
from glip_pl.prompts.packing import pack
from glip_pl.prompts.prompt import Prompt, PromptTemplate
from glip_pl.prompts.tokens import SPECIAL_TOKENS, Tokenizer

NAME_PLACE = "{name}"


def compile_names(
    names: Sequence[str],
    tokenizer: Tokenizer,
    *,
    template: PromptTemplate | None = None,
    descriptions: Mapping[int, str] | None = None,
    names_per_chunk: int | None = None,
) -> CompiledPrompt:
    """Write names into as few prompts as the text encoder's tokens allow, in their order.

    Names are made readable (`readable_names`). A name given twice is written once: its boxes belong
    to the first id, and the report says so. The same names always give the same chunks.

    Args:
        names: What to look for.
        tokenizer: Counts tokens and says how many there may be.
        template: How names become a caption.
        descriptions: Text for some ids that helps the model and is no part of the phrase:
            "flat and round" is written behind the name, "pizza, flat and round"; with ``{name}``
            the text is written in place of the name, "a {name} on a plate", and the first one is
            the phrase.
        names_per_chunk: Fill chunks with so many names where they fit, as official GLIP does for
            LVIS (40). By default the chunks are as few as possible and about equally long.

    Raises:
        ValueError: There are no names, or one has no token, or alone more than the encoder reads.
    """
    if not names:
        raise ValueError("the prompt is empty; name at least one thing to look for")
    if names_per_chunk is not None and names_per_chunk < 1:
        raise ValueError(f"names_per_chunk={names_per_chunk} leaves no names; give 1 or more")
    template, descriptions = template or PromptTemplate(), descriptions or {}
    _check_ids(descriptions, len(names))
    check_number(names)
    phrases = readable_names(names)
    check_readable(names, phrases, tokenizer)
    pieces = [describe(phrase, descriptions.get(i)) for i, phrase in enumerate(phrases)]
    same = _groups([piece.caption for piece in pieces])
    first = [ids[0] for ids in same]
    prompts = _join(template, [pieces[i] for i in first], tokenizer, names_per_chunk)
    chunks, words, start = list[Chunk](), dict[int, Ids](), 0
    for prompt in prompts:
        end = start + len(prompt.tokens_positive)
        chunk = compile_chunk(prompt, first[start:end], tokenizer)
        words |= _read_back(chunk, template)
        chunks.append(chunk)
        start = end
    unspellable = tokenizer.unspellable([phrases[i] for i in first])
    # The words around a phrase tell it apart as well, so those count as part of its tokens.
    alike = _groups([(words[i], descriptions.get(i)) for i in first])
    report = PromptReport(
        names=tuple(names),
        phrases=tuple(phrases),
        token_counts=tuple(chunk.num_tokens for chunk in chunks),
        duplicates=tuple(ids for ids in same if len(ids) > 1),
        collisions=_collisions(names, phrases, first),
        alike=tuple(tuple(first[k] for k in group) for group in alike if len(group) > 1),
        unspellable=tuple(i for i, bad in zip(first, unspellable, strict=True) if bad),
    )
    return CompiledPrompt(tuple(names), weigh_together(chunks), report)


def _check_ids(descriptions: Mapping[int, str], count: int) -> None:
    """Refuse descriptions of names that are not there."""
    unknown = sorted(i for i in descriptions if not 0 <= i < count)
    if unknown:
        raise ValueError(
            f"descriptions has the ids {unknown}, but there are {count} names; give ids from 0 to "
            f"{count - 1}"
        )


def describe(phrase: str, description: str | None) -> Prompt:
    """Write a name with the text that belongs to it; the name alone is the phrase."""
    if description is None:
        return Prompt(phrase, (((0, len(phrase)),),))
    if NAME_PLACE not in description:
        return Prompt(f"{phrase}, {description}", (((0, len(phrase)),),))
    before, after = description.split(NAME_PLACE, 1)
    span = (len(before), len(before) + len(phrase))
    return Prompt(before + phrase + after.replace(NAME_PLACE, phrase), ((span,),))


def _groups(keys: Sequence[Hashable]) -> list[Ids]:
    """List positions of equal keys, in the order of their first one."""
    groups: dict[Hashable, list[int]] = {}
    for i, key in enumerate(keys):
        groups.setdefault(key, []).append(i)
    return [tuple(group) for group in groups.values()]


def _collisions(
    names: Sequence[str], phrases: Sequence[str], ids: Sequence[int]
) -> tuple[Ids, ...]:
    """Find groups of ids whose phrases differ only by their notes."""
    groups = _groups([clean_name(names[i]) or names[i] for i in ids])
    grouped = [tuple(ids[k] for k in group) for group in groups]
    return tuple(group for group in grouped if len({phrases[i] for i in group}) > 1)


def _join(
    template: PromptTemplate, pieces: Sequence[Prompt], tokenizer: Tokenizer, most: int | None
) -> list[Prompt]:
    """Pack pieces into prompts that fit."""
    captions = [piece.caption for piece in pieces]
    room, separator = room_for_names(template, tokenizer)
    tokens = tokenizer.count(captions)
    while True:
        check_room(captions, tokens, room - separator)
        groups = pack([count + separator for count in tokens], room, most)
        prompts = [template.join_prompts([pieces[k] for k in group]) for group in groups]
        longest = max(tokenizer.count([prompt.caption for prompt in prompts])) + SPECIAL_TOKENS
        if longest <= tokenizer.max_tokens:
            return prompts
        # Joined words can have more tokens than alone; try again with so much less room.
        room -= longest - tokenizer.max_tokens


def _read_back(chunk: Chunk, template: PromptTemplate) -> dict[int, Ids]:
    """Look up the token ids of each phrase.

    Raises:
        ValueError: A token reaches beyond its phrase, so that template and name became one word.
    """
    words = dict[int, Ids]()
    rows = zip(chunk.phrase_ids, chunk.prompt.tokens_positive, chunk.positive_map, strict=True)
    for i, phrase_spans, row in rows:
        start, end = min(phrase_spans)[0], max(b for _, b in phrase_spans)
        offsets = chunk.tokens.offsets[0, row]
        if int(offsets[:, 0].min()) < start or int(offsets[:, 1].max()) > end:
            raise ValueError(
                f"{template} glues {chunk.prompt.caption[start:end]!r} to the text around it; "
                "begin and end the separator with a blank or a mark, and the prefix and "
                "descriptions likewise"
            )
        words[i] = tuple(chunk.tokens.ids[0, row].tolist())
    return words
