"""What is asked of each image, and what is written of what was found there."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

from glip_pl.inference.predictor import Predictor
from glip_pl.inference.result import Result
from glip_pl.labelling.sources import Item
from glip_pl.prompts.compiled import CompiledPrompt


@dataclass(frozen=True)
class Skip:
    """An image that is left out, which is no failure.

    Attributes:
        reason: Why, as it is counted.
    """

    reason: str


class LabelTask(ABC):
    """How the engine asks and writes.

    Attributes:
        phrases: The names that all images are asked for; empty where each has its own.
    """

    phrases: tuple[str, ...]

    @abstractmethod
    def prompt_of(self, item: Item) -> CompiledPrompt | Skip:
        """Return what to look for in an image, or why nothing."""

    @abstractmethod
    def record(self, item: Item, found: Result) -> dict[str, Any]:
        """Return what is written of an image, beside its name, ready for JSON."""

    @abstractmethod
    def choices(self) -> dict[str, Any]:
        """Return all that changes what is written, ready for JSON."""


class NamedBoxes(LabelTask):
    """Boxes for what a prompt names, the same for all images that have none of their own.

    Args:
        model: Compiles the prompts of single images.
        prompt: The prompt of all others.
        caption: Whether prompts are sentences.
    """

    def __init__(self, model: Predictor, prompt: CompiledPrompt, *, caption: bool = False) -> None:
        self.phrases = prompt.names
        self.prompt = prompt
        self._model, self._caption = model, caption

    def prompt_of(self, item: Item) -> CompiledPrompt:
        """See `LabelTask.prompt_of`."""
        return (
            self.prompt if item.prompt is None else self._model.compile(item.prompt, self._caption)
        )

    def record(self, item: Item, found: Result) -> dict[str, Any]:
        """Return the size of the image and its boxes."""
        height, width = found.size
        return {"height": height, "width": width, "detections": found.to_records()}

    def choices(self) -> dict[str, Any]:
        """See `LabelTask.choices`."""
        return {
            "captions": [chunk.prompt.caption for chunk in self.prompt.chunks],
            "answers": self.prompt.answers,
            "caption": self._caption,
        }
