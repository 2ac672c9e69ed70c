"""An exported folder in the place of the model it came from, to be compared and scored."""

from pathlib import Path
from typing import Any, cast

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn

from glip_pl.fusion import PyramidFeatures, TextFeatures
from glip_pl.head import GroundingOutput
from glip_pl.model import GLIP
from glip_pl.prompts.tokens import TokenBatch


class _Graph:
    """A file of ONNX, called with tensors by name; what it has no input for is left out."""

    def __init__(self, path: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(path, options)
        self._inputs = [given.name for given in self._session.get_inputs()]

    def __call__(self, **values: Tensor) -> list[Tensor]:
        feeds = {name: np.ascontiguousarray(values[name].numpy()) for name in self._inputs}
        return [torch.from_numpy(value) for value in self._session.run(None, feeds)]


class _Text(nn.Module):
    """The text encoder by its graph; it has the weights of the other, for whoever watches them."""

    def __init__(self, graph: _Graph, like: nn.Module) -> None:
        super().__init__()
        self._graph, self._like = graph, like
        self.tokenizer: Any = like.tokenizer
        self.reads_phrases_alone = bool(like.reads_phrases_alone)

    def forward(self, tokens: TokenBatch) -> TextFeatures:
        """Encode tokenized captions [B, M] as features [B, M, d_text]."""
        (hidden,) = self._graph(ids=tokens.ids, text_mask=tokens.mask)
        return TextFeatures(hidden, tokens.mask, tokens.phrases)


class ExportedModel(nn.Module):
    """The three steps of `GLIP` by the graphs of a folder.

    Args:
        folder: What the graphs were written to.
        like: The model that they came from.
    """

    def __init__(self, folder: Path, like: GLIP) -> None:
        super().__init__()
        self._image, self._ground = _Graph(folder / "image.onnx"), _Graph(folder / "ground.onnx")
        self.text = _Text(_Graph(folder / "text.onnx"), like.text)
        self._like = like

    def encode_image(self, images: Tensor, mask: Tensor) -> PyramidFeatures:
        """See `GLIP.encode_image`."""
        levels = self._image(images=images, mask=mask)
        # The graph of the ground knows its strides.
        return PyramidFeatures(tuple(levels), (0,) * len(levels), mask)

    def with_prompt(self, features: TextFeatures, tokens: TokenBatch) -> TextFeatures:
        """See `GLIP.with_prompt`."""
        return self._like.with_prompt(features, tokens)

    def ground(self, image: PyramidFeatures, text: TextFeatures) -> GroundingOutput:
        """See `GLIP.ground`."""
        levels = {f"level_{k}": level for k, level in enumerate(image.levels)}
        logits, boxes, centerness, sizes = self._ground(
            **levels, mask=image.mask, hidden=text.hidden, text_mask=text.mask
        )
        regions = (logits, boxes, centerness, boxes, tuple(sizes.tolist()))
        return GroundingOutput(*regions, told=self._like.told)

    def as_model(self) -> GLIP:
        """Return itself for what detects with a model."""
        return cast(GLIP, self)
