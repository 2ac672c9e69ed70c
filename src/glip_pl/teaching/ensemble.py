"""Asking twice: an image's sentence, and the bare list of its phrases; the mean score counts.

A teacher that finds a thing by the sentence alone is less sure of it than one that finds it by the
list as well.
"""

from dataclasses import replace

from glip_pl.inference.ensemble import join_prompts
from glip_pl.inference.postprocess import PostProcess
from glip_pl.inference.result import Result
from glip_pl.prompts import Prompt
from glip_pl.prompts.caption_compiler import compile_caption
from glip_pl.prompts.compiled import CompiledPrompt
from glip_pl.prompts.tokens import Tokenizer
from glip_pl.structures import Detections

_SEPARATOR = ". "


def with_list(sentence: CompiledPrompt, tokenizer: Tokenizer) -> CompiledPrompt:
    """Add the list of its K phrases to a sentence: phrase k is asked for as k and as K + k."""
    count, spans, caption = len(sentence.names), [], ""
    for name in sentence.names:
        spans.append(((len(caption), len(caption) + len(name)),))
        caption += name + _SEPARATOR
    listed = compile_caption(caption.strip(), tokenizer, tokens_positive=spans)
    moved = (
        replace(chunk, phrase_ids=tuple(k + count for k in chunk.phrase_ids))
        for chunk in listed.chunks
    )
    return replace(sentence, names=sentence.names * 2, chunks=(*sentence.chunks, *moved))


def joined(found: Result, prompt: Prompt, postprocess: PostProcess) -> Detections:
    """Join what was found by sentence and list, as `with_list` asked; see `join_prompts`."""
    count = len(prompt.phrases)
    both = Detections(found.boxes, found.scores, found.labels)
    parts = [both.select(both.phrases // count == part) for part in (0, 1)]
    own = [Detections(part.boxes, part.scores, part.phrases % count) for part in parts]
    return join_prompts(own, postprocess)
