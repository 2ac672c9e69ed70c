"""Models behind the server: a list of questions in, a list of answers out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from glip_pl.inference.hints import hints
from glip_pl.runtime import Runtime, Vocabulary

if TYPE_CHECKING:  # An exported model is served without PyTorch.
    from glip_pl.inference.predictor import Predictor

_KEPT_PROMPTS = 256


@dataclass(frozen=True)
class Ask:
    """One image and what to find in it.

    Attributes:
        image: uint8 [H, W, 3], RGB.
        prompt: Names with dots between, or a sentence.
        caption: Whether it is a sentence.
        threshold: Least score; None takes those that came with the model.
    """

    image: np.ndarray
    prompt: str
    caption: bool = False
    threshold: float | None = None


@dataclass(frozen=True)
class Found:
    """What a model answers.

    Attributes:
        detections: A {"phrase", "score", "box"} for each box, best first.
        notes: What to know of the answer, a sentence each.
    """

    detections: list[dict[str, Any]]
    notes: tuple[str, ...] = ()


# What was found, or what is wrong with the question.
Answer = Found | ValueError
Engine = Callable[[Sequence[Ask]], list[Answer]]


def runtime_engine(model: Runtime) -> Engine:
    """Answer with an exported model; prompts that come again are not encoded again."""

    @lru_cache(maxsize=_KEPT_PROMPTS)
    def vocabulary(prompt: str, caption: bool, threshold: float | None) -> Vocabulary:
        return model.vocabulary(prompt, caption=caption, threshold=threshold)

    def answer(ask: Ask) -> Answer:
        try:
            asked = vocabulary(ask.prompt, ask.caption, ask.threshold)
            found = model.predict(ask.image, asked)
        except ValueError as error:
            return error
        notes = hints(asked.names, model.description.class_names)
        return Found(
            [
                {"phrase": name, "score": round(float(score), 4), "box": [round(x, 2) for x in box]}
                for name, score, box in zip(
                    found.names, found.scores, found.boxes.tolist(), strict=True
                )
            ],
            tuple(notes),
        )

    return lambda asks: [answer(ask) for ask in asks]


def predictor_engine(model: "Predictor") -> Engine:
    """Answer with a model of `glip_pl.load`: images of one threshold go through it together."""

    def engine(asks: Sequence[Ask]) -> list[Answer]:
        answers: dict[int, Answer] = {}
        groups: dict[float | None, list[tuple[int, Ask]]] = {}
        for k, ask in enumerate(asks):
            groups.setdefault(ask.threshold, []).append((k, ask))
        for threshold, members in groups.items():
            for (k, _), answer in zip(members, _together(model, members, threshold), strict=True):
                answers[k] = answer
        return [answers[k] for k in range(len(asks))]

    return engine


def _together(
    model: "Predictor", members: Sequence[tuple[int, Ask]], threshold: float | None
) -> list[Answer]:
    """Answer questions of one threshold; a prompt that cannot be read spoils its own only."""
    answers: list[Answer | None] = [None] * len(members)
    prompts = {}
    for k, (_, ask) in enumerate(members):
        try:
            prompts[k] = model.compile(ask.prompt, ask.caption)
        except ValueError as error:
            answers[k] = error
    images = [members[k][1].image for k in prompts]
    found = (
        model.predict(images, list(prompts.values()), threshold=threshold, batch_size=len(images))
        if images
        else []
    )
    for k, result in zip(prompts, found, strict=True):
        answers[k] = Found(result.to_records(), result.notes)
    return [answer for answer in answers if answer is not None]
