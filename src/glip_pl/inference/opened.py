"""A model as it was opened: its names and digest, the prompts that it reads, and saving it."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from glip_pl.inference.asked import one_each
from glip_pl.inference.hints import hints
from glip_pl.inference.hub import upload
from glip_pl.inference.network import Network, Precision
from glip_pl.prompts.compiled import CompiledPrompt
from glip_pl.prompts.request import compile_request
from glip_pl.prompts.tokens import Tokenizer
from glip_pl.system.paths import path_of
from glip_pl.weights import About, Weights, write_folder

_NO_LOGIT = 1e-6  # Scores so near to 0 or 1 have none.


class OpenedModel:
    """A model with what came with its weights, which reads prompts and can be written again.

    Attributes:
        about: Names, thresholds and image sizes that came with the weights.
        network: The model on its device.
    """

    def __init__(
        self,
        weights: Weights,
        *,
        device: torch.device,
        precision: Precision = "fp32",
        trust: Sequence[str] = (),
    ) -> None:
        """Build the model that the weights describe; `glip_pl.load` opens files."""
        self.about: About = weights.about
        self._description = weights.hyper_parameters
        self._source = weights.source
        self.network = Network(weights.build(trust=trust), weights.about, device, precision)
        self.compile = lru_cache(maxsize=64)(self._compile)

    @property
    def tokenizer(self) -> Tokenizer:
        """That of the model's text encoder."""
        return self.network.model.text.tokenizer

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the training data; empty where they are not known."""
        return self.about.class_names

    def digest(self) -> str:
        """SHA-256 of the weights as they compute: two models with the same find the same."""
        return self._weights().digest()

    def prompts(self, prompt: Any, count: int, caption: bool) -> list[CompiledPrompt]:
        """Compile one prompt for all of `count` images, or a list with one for each.

        Raises:
            ValueError: It is no prompt, or there are more or fewer than images.
        """
        given = one_each(prompt, count)
        return [p if isinstance(p, CompiledPrompt) else self.compile(p, caption) for p in given]

    def probabilities(self, scores: Tensor) -> Tensor:
        """Return how likely boxes with such scores are right, [D], as `glip calibrate` found it.

        Args:
            scores: Of a result, [D].

        Raises:
            ValueError: The weights were never calibrated.
        """
        if not self.about.score_temperature:
            raise ValueError(
                f"{self._source} was not calibrated; run: glip calibrate --weights=WEIGHTS "
                "--data=DATA"
            )
        logits = torch.logit(scores, eps=_NO_LOGIT)
        return torch.sigmoid(logits / self.about.score_temperature + self.about.score_shift)

    def save(self, folder: str | Path) -> None:
        """Write the model as a folder of weights that `load` reads.

        Raises:
            ValueError: The folder exists, or the model was narrowed to bf16.
        """
        if self.network.precision != "fp32":
            raise ValueError(
                'this model keeps half the digits (precision="bf16"); load it in fp32 to save it'
            )
        write_folder(path_of("folder", folder), self._weights(), self.network.model.text)

    def push_to_hub(self, repository: str, *, private: bool = False) -> str:
        """Upload the model as "user/name" to the Hugging Face hub; return its address.

        Raises:
            ValueError: The hub refuses, or there is no network.
        """
        return upload(self.save, repository, private=private)

    def hints(self, prompt: CompiledPrompt) -> list[str]:
        """Return what a user should know who asks for this prompt, a line each."""
        return hints(prompt.names, self.class_names)

    def _compile(
        self, text: str, caption: bool = False, unwanted: str | None = None
    ) -> CompiledPrompt:
        return compile_request(text, self.tokenizer, caption=caption, unwanted=unwanted)

    def _weights(self) -> Weights:
        state = {
            name: value.detach().cpu() for name, value in self.network.model.state_dict().items()
        }
        return Weights(self._description, state, self._source, self.about)
