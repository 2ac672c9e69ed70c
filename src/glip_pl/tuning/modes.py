"""Ways to tune a model: which of its parameters learn, and what learns in their place.

``full`` trains every part that is not frozen; ``linear`` the head alone: its projections, scales
and biases; ``prompt`` only an offset for every token of one fixed prompt; ``lora`` small additions
to the weights of all parts that are not frozen. See GLIP, Sec. 4.5
(https://arxiv.org/abs/2112.03857), and LoRA (https://arxiv.org/abs/2106.09685).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from glip_pl.model import GLIP, PARTS, Part
from glip_pl.text.tuned_prompt import TunedPrompt
from glip_pl.tuning.lora import LoraSettings, attach

Mode = Literal["full", "linear", "prompt", "lora"]


@dataclass(frozen=True)
class Tuning:
    """How a model is tuned.

    Attributes:
        mode: See above.
        freeze: Parts that stay as they are, also where the mode would let them learn.
        lora: How large the additions of ``lora`` are.
    """

    mode: Mode = "full"
    freeze: tuple[Part, ...] = ()
    lora: LoraSettings = field(default_factory=LoraSettings)

    def prepare(self, model: GLIP, tuned_prompt: Callable[[], TunedPrompt]) -> None:
        """Make a model ready to learn; to be called once, when it has its weights.

        Args:
            model: The model.
            tuned_prompt: Makes the offsets of the prompt, called for ``prompt`` only.

        Raises:
            ValueError: Nothing is left that could learn, or the prompt cannot be tuned.
        """
        if model.prompt is not None:
            model.prompt.requires_grad_(False)
        learning = [part for part in PARTS if part not in self.freeze]
        _MODES[self.mode](model, learning, self.lora, tuned_prompt)
        if not any(parameter.requires_grad for parameter in model.parameters()):
            raise ValueError(
                f"nothing is left to learn: model.tuning.mode={self.mode} with model.tuning.freeze="
                f"{list(self.freeze)}; take parts out of model.tuning.freeze, or choose another "
                "model.tuning.mode"
            )


def _full(model: GLIP, learning: Sequence[Part], *_: object) -> None:
    model.freeze(*(part for part in PARTS if part not in learning))


def _linear(model: GLIP, learning: Sequence[Part], *_: object) -> None:
    model.freeze(*(part for part in PARTS if part != "head" or part not in learning))


def _prompt(
    model: GLIP, learning: Sequence[Part], _: LoraSettings, tuned_prompt: Callable[[], TunedPrompt]
) -> None:
    model.freeze(*PARTS)
    wanted = tuned_prompt()
    if model.prompt is None:
        model.prompt = wanted.to(next(model.parameters()).device)
    else:
        # It goes on learning, for the prompt that it was tuned for.
        model.prompt.remember(wanted.ids, wanted.words)
    model.prompt.requires_grad_(True)


def _lora(model: GLIP, learning: Sequence[Part], settings: LoraSettings, *_: object) -> None:
    model.freeze(*(part for part in PARTS if part not in learning))
    for part in learning:
        # The head has few numbers, and new names need new biases and scales.
        attach(model.modules_of(part), settings, vectors=part == "head")


_MODES: dict[Mode, Callable[..., None]] = {
    "full": _full,
    "linear": _linear,
    "prompt": _prompt,
    "lora": _lora,
}
