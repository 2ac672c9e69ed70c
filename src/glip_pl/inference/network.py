"""A network ready to detect: images and compiled prompts in, detections out."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from glip_pl.boxes import box_iou
from glip_pl.fusion import PyramidFeatures
from glip_pl.inference.answers import settle
from glip_pl.inference.batching import View, batch_of, group
from glip_pl.inference.detector import Detector
from glip_pl.inference.options import Options
from glip_pl.inference.postprocess import PostProcess
from glip_pl.inference.tiles import merge, windows
from glip_pl.layers.precision import narrow_weights
from glip_pl.model import GLIP
from glip_pl.prompts.compiled import CompiledPrompt
from glip_pl.prompts.compiler import compile_names
from glip_pl.structures import Batch, Detections
from glip_pl.weights import About

Precision = Literal["fp32", "bf16"]


class Network:
    """Detect in images of any shapes what compiled prompts name.

    Nothing is changed by a call, so that threads may share it.
    """

    def __init__(
        self, model: GLIP, about: About, device: torch.device, precision: Precision
    ) -> None:
        """Move a model to its device, in evaluation mode for good.

        Args:
            model: With its weights.
            about: Thresholds, names and image sizes.
            device: Where to compute.
            precision: "bf16" keeps the weights of matrix products in half the memory, for good.
        """
        self.model, self.about, self.device = model.eval().to(device), about, device
        self.precision = precision
        if precision == "bf16":
            narrow_weights(self.model)
        self.detector = Detector(self.model, PostProcess())

    def sizes(self, options: Options) -> tuple[int, int]:
        """Return short and longest side of images as the model sees them."""
        return (
            options.short_side or self.about.short_side,
            options.max_side or self.about.max_side,
        )

    def detect(
        self,
        images: Sequence[np.ndarray],
        prompts: Sequence[CompiledPrompt],
        options: Options,
        batch_size: int | None,
    ) -> list[Detections]:
        """Detect in images, uint8 [H, W, 3] each, what the prompt of each names.

        Returns:
            One per image; the phrase -1 is what the prompt does not name, with `options.unknown`.
        """
        places = [
            [(0, 0, *image.shape[:2])]
            if options.tile is None
            else windows((image.shape[0], image.shape[1]), options.tile, options.overlap)
            for image in images
        ]
        sizes = self.sizes(options)
        views = [
            View.of(image[top:bottom, left:right], *sizes)
            for image, cut in zip(images, places, strict=True)
            for top, left, bottom, right in cut
        ]
        asked = [p for p, cut in zip(prompts, places, strict=True) for _ in cut]
        found = self._raw(views, asked, options, batch_size)
        joined, start, thresholds = [], 0, self._thresholds(prompts, options)
        for prompt, cut in zip(prompts, places, strict=True):
            parts = found[start : start + len(cut)]
            whole = parts[0] if len(cut) == 1 else merge(parts, cut, options.nms_iou)
            joined.append(_chosen(whole, thresholds[id(prompt)], options))
            start += len(cut)
        return joined

    def detect_views(
        self,
        views: Sequence[View],
        prompts: Sequence[CompiledPrompt],
        options: Options,
        batch_size: int | None,
    ) -> list[Detections]:
        """Detect in images that were resized before, each as a whole."""
        found = self._raw(views, prompts, options, batch_size)
        thresholds = self._thresholds(prompts, options)
        return [_chosen(f, thresholds[id(p)], options) for f, p in zip(found, prompts, strict=True)]

    def detect_encoded(
        self,
        image: PyramidFeatures,
        view: View,
        prompt: CompiledPrompt,
        options: Options,
    ) -> Detections:
        """Detect in an image that was encoded before."""
        with self.computing():
            found = self._detect_batch([view], [prompt], options, image)
        return _chosen(found[0], self.thresholds(prompt, options), options)

    @contextmanager
    def computing(self) -> Iterator[None]:
        """Compute without gradients and in the precision of the network."""
        bf16 = self.precision == "bf16"
        with (
            torch.inference_mode(),
            torch.autocast(self.device.type, torch.bfloat16, enabled=bf16),
        ):
            yield

    def batch_of(self, views: Sequence[View], prompts: Sequence[CompiledPrompt]) -> Batch:
        """Make a batch on the device."""
        return batch_of(views, prompts, self.model.text.tokenizer).to(self.device)

    def _raw(
        self,
        views: Sequence[View],
        prompts: Sequence[CompiledPrompt],
        options: Options,
        batch_size: int | None,
    ) -> list[Detections]:
        found: dict[int, Detections] = {}
        with self.computing():
            for members in group(views, prompts, batch_size):
                batch = [views[k] for k in members], [prompts[k] for k in members]
                found |= zip(members, self._detect_batch(*batch, options), strict=True)
        return [found[k] for k in range(len(views))]

    def _detect_batch(
        self,
        views: Sequence[View],
        prompts: Sequence[CompiledPrompt],
        options: Options,
        image: PyramidFeatures | None = None,
    ) -> list[Detections]:
        batch = self.batch_of(views, prompts)
        if image is None:
            image = self.model.encode_image(batch.images, batch.mask)
        of_prompts = self._thresholds(prompts, options).values()
        least = torch.stack([of_names.min() for of_names in of_prompts]).min()
        postprocess = options.postprocess(least[None])
        found = [
            settle(f.to("cpu"), prompt.answers, nms_iou=options.nms_iou)
            for f, prompt in zip(
                self.detector(batch, image, postprocess=postprocess), prompts, strict=True
            )
        ]
        if not options.unknown:
            return found
        rest = [self._others(prompt) for prompt in prompts]
        for b, others in enumerate(rest):
            if others is not None:
                one = PyramidFeatures(
                    tuple(level[b : b + 1] for level in image.levels),
                    image.strides,
                    image.mask[b : b + 1],
                )
                asked = self.batch_of([views[b]], [others])
                (known,) = self.detector(asked, one, postprocess=postprocess)
                found[b] = _with_unknown(
                    found[b], known.to("cpu"), self.thresholds(prompts[b], options)
                )
        return found

    def thresholds(self, prompt: CompiledPrompt, options: Options) -> Tensor:
        """Return the least score of each name of a prompt, [K]."""
        return options.thresholds(prompt.names, self.about.thresholds)

    def _thresholds(self, prompts: Sequence[CompiledPrompt], options: Options) -> dict[int, Tensor]:
        """Return the thresholds of each prompt by its identity; most often all are the same one."""
        distinct = {id(prompt): prompt for prompt in prompts}
        return {key: self.thresholds(prompt, options) for key, prompt in distinct.items()}

    def _others(self, prompt: CompiledPrompt) -> CompiledPrompt | None:
        """Compile the names of the training data that a prompt does not have."""
        if not self.about.class_names:
            raise ValueError(
                "--unknown needs the names of the training data, and this model was trained on "
                "captions, or its names are not known; drop --unknown"
            )
        named = {name.lower() for name in prompt.names}
        others = [name for name in self.about.class_names if name.lower() not in named]
        return compile_names(others, self.model.text.tokenizer) if others else None


def _chosen(found: Detections, thresholds: Tensor, options: Options) -> Detections:
    """Keep what is above its name's threshold, [K], and one name for a thing where asked."""
    # The unknown, -1, was judged when it was found.
    least = torch.where(found.phrases < 0, 0.0, thresholds[found.phrases.clamp(min=0)])
    found = found.select(found.scores >= least)
    if options.best_only:
        found = found.best_of_each_place()
    return found.select(slice(options.max_detections))


def _with_unknown(named: Detections, known: Detections, thresholds: Tensor) -> Detections:
    """Join what a prompt names with the confident boxes of names that it does not have."""
    sure = named.select(named.scores >= thresholds[named.phrases])
    more = unnamed(known, sure.boxes, float(thresholds.min()))
    return Detections(
        torch.cat([named.boxes, more.boxes]),
        torch.cat([named.scores, more.scores]),
        torch.cat([named.phrases, torch.full_like(more.phrases, -1)]),
    )


def unnamed(known: Detections, named: Tensor, threshold: float) -> Detections:
    """Confident boxes of names that the prompt does not have, where no named box lies.

    Args:
        known: Detections of the training names that the prompt lacks.
        named: [D, 4], boxes that the prompt's phrases took, xyxy pixels.
        threshold: Least score.
    """
    sure = known.select(known.scores >= threshold)
    if len(named) and len(sure.boxes):
        sure = sure.select(box_iou(sure.boxes, named).amax(1) <= 0.5)
    # One thing may answer to several names; as "unknown" it is shown once.
    return sure.best_of_each_place(iou=0.5)
