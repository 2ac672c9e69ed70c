"""The one prompt of prompt tuning: all names of the target, in training as in evaluation."""

from torch import Tensor

from glip_pl.data import CategoryDetection, GroundingDataModule
from glip_pl.prompts.tokens import Tokenizer
from glip_pl.text import TextEncoder
from glip_pl.text.tuned_prompt import TunedPrompt


def tuned_prompt(data: GroundingDataModule, text: TextEncoder) -> TunedPrompt:
    """Make the offsets of the prompt that all training and validation sets share.

    Raises:
        ValueError: Prompts differ from image to image or from set to set, or the text encoder
            cannot read the prompt at once.
    """
    sets = [*data.train, *data.val.values()]
    found: dict[str, Tensor] = {}
    for dataset in sets:
        if not isinstance(dataset, CategoryDetection):
            raise ValueError(
                "model.tuning.mode=prompt needs one prompt for all images, but "
                f"{dataset.annotations!r} has captions; use sets of categories, or "
                "model.tuning.mode=lora"
            )
        caption, ids = _read(dataset, text.tokenizer)
        found[caption] = ids
    if len(found) != 1:
        raise ValueError(
            "model.tuning.mode=prompt needs one prompt, but the sets have "
            f"{' and '.join(repr(c[:60]) for c in found)}; tune for sets of the same names"
        )
    ((caption, ids),) = found.items()
    return TunedPrompt.of_prompt(ids, caption, text.d_text)


def _read(dataset: CategoryDetection, tokenizer: Tokenizer) -> tuple[str, Tensor]:
    """Tokenize the names of a set as its samples will be."""
    prompt = dataset.whole_prompt
    count = tokenizer.count([prompt.caption])[0]
    if count > tokenizer.max_tokens:
        raise ValueError(
            "model.tuning.mode=prompt needs a prompt that is read at once, but the "
            f"{len(dataset.names)} names of {dataset.annotations!r} take {count} "
            f"tokens of {tokenizer.max_tokens}; name fewer things, or use model.tuning.mode=lora"
        )
    tokens = tokenizer([prompt])
    return prompt.caption, tokens.ids[0, tokens.mask[0]]
