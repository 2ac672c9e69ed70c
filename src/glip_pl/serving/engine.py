"""Models behind the server: a list of questions in, a list of answers out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from glip_pl.runtime import Runtime, Vocabulary

_KEPT_PROMPTS = 256


@dataclass(frozen=True)
class Ask:
    """One image and what to find in it.

    Attributes:
        image: uint8 [H, W, 3], RGB.
        prompt: Names with dots between, or a sentence.
        caption: Whether it is a sentence.
        threshold: Least score.
    """

    image: np.ndarray
    prompt: str
    caption: bool
    threshold: float


# An answer is a list of {"phrase", "score", "box"}, or what is wrong with the question.
Answer = list[dict[str, Any]] | ValueError
Engine = Callable[[Sequence[Ask]], list[Answer]]


def runtime_engine(model: Runtime) -> Engine:
    """Answer with an exported model; prompts that come again are not encoded again."""

    @lru_cache(maxsize=_KEPT_PROMPTS)
    def vocabulary(prompt: str, caption: bool, threshold: float) -> Vocabulary:
        return model.vocabulary(prompt, caption=caption, threshold=threshold)

    def answer(ask: Ask) -> Answer:
        try:
            found = model.predict(
                ask.image, vocabulary(ask.prompt, ask.caption, round(ask.threshold, 3))
            )
        except ValueError as error:
            return error
        return [
            {"phrase": name, "score": round(float(score), 4), "box": [round(x, 2) for x in box]}
            for name, score, box in zip(
                found.names, found.scores, found.boxes.tolist(), strict=True
            )
        ]

    return lambda asks: [answer(ask) for ask in asks]
