"""Prompts: category names joined into one caption, and the map from phrases to tokens.

A detector that grounds has no class index. Its "classes" are phrases inside a prompt such as
``"person. bicycle. hair drier"``, and a box is labelled by *which tokens* it should align with.
This package owns that bookkeeping and nothing else: characters here, a Boolean map out.
`compiler` and `captions` in it also count tokens, and pack any text into prompts that fit.

Words used: a *phrase* is one category name or noun phrase; ``tokens_positive`` are its character
spans in the caption (the name MDETR's annotations use); a *positive map* is the same fact counted
in tokens. See GLIP, Sec. 3.1 (https://arxiv.org/abs/2112.03857).
"""

from glip_pl.prompts.compiled import Chunk, CompiledPrompt, compile_chunk
from glip_pl.prompts.names import clean_name, readable_names, split_names
from glip_pl.prompts.prompt import Prompt, PromptTemplate, Span, mirror, surround
from glip_pl.prompts.sampling import training_names
from glip_pl.prompts.spans import positive_map

__all__ = [
    "Chunk",
    "CompiledPrompt",
    "Prompt",
    "PromptTemplate",
    "Span",
    "clean_name",
    "compile_chunk",
    "mirror",
    "positive_map",
    "readable_names",
    "split_names",
    "surround",
    "training_names",
]
