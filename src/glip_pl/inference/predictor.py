"""The Python API: a model from anywhere, and what it finds in images and videos."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
from torch import Tensor

from glip_pl.data.collate import pad_images
from glip_pl.fusion import TextFeatures
from glip_pl.inference.asked import PromptLike
from glip_pl.inference.batching import FEWEST, View
from glip_pl.inference.encoded import EncodedImage, all_listed, loader
from glip_pl.inference.network import Precision
from glip_pl.inference.opened import OpenedModel
from glip_pl.inference.options import Options, check_batch_size, check_options
from glip_pl.inference.pixels import ImageLike, as_pixels, source_of
from glip_pl.inference.result import Result
from glip_pl.inference.video import frames
from glip_pl.inference.word_map import WordMap, map_words
from glip_pl.prompts.compiled import CompiledPrompt
from glip_pl.structures import Detections
from glip_pl.system.machine import choose_device
from glip_pl.system.paths import path_of
from glip_pl.weights import read_weights


def load(
    source: str | Path,
    *,
    device: str = "auto",
    precision: Precision = "fp32",
    trust: Sequence[str] = (),
) -> "Predictor":
    """Open a model of any kind, ready to detect.

    Args:
        source: A run's .ckpt, a folder of weights, a file of official GLIP, a published name such
            as "glip_t", or "hf:user/repo".
        device: "auto", "cpu" or "cuda".
        precision: "fp32", or "bf16" for speed: scores move by a hundredth or so.
        trust: Modules of your own whose classes the weights may name.

    Raises:
        ValueError: There is nothing there, it is damaged, or it names a class that is not allowed.
    """
    if precision not in ("fp32", "bf16"):
        raise ValueError(f"precision={precision!r} is not known; give fp32 or bf16")
    path_of("source", source)  # "hf:user/repo" is to stay as it is.
    return Predictor(
        read_weights(str(source), trust=trust),
        device=choose_device(device),
        precision=precision,
        trust=trust,
    )


class Predictor(OpenedModel):
    """A model that finds in images what prompts name. Threads may share one."""

    def predict(
        self,
        images: ImageLike | EncodedImage | Sequence[ImageLike | EncodedImage],
        prompt: PromptLike | Sequence[PromptLike],
        *,
        caption: bool = False,
        threshold: float | Mapping[str, float] | None = None,
        nms_iou: float = 0.6,
        max_detections: int = 100,
        best_only: bool = True,
        unknown: bool = False,
        short_side: int | None = None,
        max_side: int | None = None,
        tile: int | None = None,
        overlap: float = 0.2,
        batch_size: int | None = None,
        urls: bool = False,
    ) -> list[Result]:
        """Detect in images what a prompt names.

        Boxes and scores of an image do not depend on the others of the call.

        Args:
            images: A path, a URL, a Pillow image, an array, a tensor, what `encode_image` returned,
                or a list of them; see `as_pixels`.
            prompt: Names with dots between, "cat. dog."; or one such text per image.
            caption: Read prompts as sentences, whose phrases are found by themselves or stand in
                brackets, "[a cat] on [the sofa]".
            threshold: See `Options`, as for the following.
            nms_iou: Of two boxes of one name that overlap more, the lower is dropped.
            max_detections: Boxes per image.
            best_only: One name per thing.
            unknown: Show what the model knows and the prompt does not name.
            short_side: Pixels of the shorter side as the model sees it.
            max_side: Bound of the longer side.
            tile: Side of windows for small objects, in pixels of the image.
            overlap: What windows share.
            batch_size: Images at a time; by default 8, and up to 32 small ones.
            urls: Whether URLs may be fetched.

        Returns:
            One result per image, in order.

        Raises:
            ValueError: An image cannot be read, a prompt names nothing, or an option is off.
        """
        options = Options(
            threshold=threshold,
            nms_iou=nms_iou,
            max_detections=max_detections,
            best_only=best_only,
            unknown=unknown,
            short_side=short_side,
            max_side=max_side,
            tile=tile,
            overlap=overlap,
        )
        check_batch_size(batch_size)
        given = all_listed(images)
        prompts = self.prompts(prompt, len(given), caption)
        # What is encoded already has a size of its own and joins no batch.
        plain = {k: i for k, i in enumerate(given) if not isinstance(i, EncodedImage)}
        pixels = [as_pixels(image, urls=urls) for image in plain.values()]
        asked = [prompts[k] for k in plain]
        found = self.network.detect(pixels, asked, options, batch_size)
        results = {
            k: self._shown(detections, prompts[k], shown, source_of(plain[k]))
            for k, shown, detections in zip(plain, pixels, found, strict=True)
        }
        for k, image in enumerate(given):
            if isinstance(image, EncodedImage):
                results[k] = self._of_encoded(image, prompts[k], options)
        return [results[k] for k in range(len(given))]

    def stream(
        self,
        video: str | Path,
        prompt: PromptLike,
        *,
        caption: bool = False,
        every: int = 1,
        batch_size: int | None = None,
        options: Options | None = None,
    ) -> Iterator[tuple[np.ndarray, Result]]:
        """Detect in the frames of a video, in order.

        Args:
            video: The file.
            prompt: As for `predict`.
            caption: As for `predict`.
            every: Look at every so manieth frame only.
            batch_size: Frames at a time; 8 by default.
            options: What `predict` takes one by one.

        Returns:
            Yields each frame, uint8 [H, W, 3], RGB, and what was found in it.

        Raises:
            ValueError: There is no such video, or an option is off; on the way, a video that cannot
                be read or has no frame.
        """
        check_batch_size(batch_size)
        (asked,) = self.prompts(prompt, 1, caption)
        shown = frames(video, every=every)
        groups = iter(lambda: list(islice(shown, batch_size or FEWEST)), [])
        chosen = check_options(options)
        return (pair for group in groups for pair in self._of_frames(group, asked, chosen))

    def encode_image(
        self,
        image: ImageLike,
        *,
        short_side: int | None = None,
        max_side: int | None = None,
        urls: bool = False,
    ) -> EncodedImage:
        """Do all the work on an image that needs no text; `predict` takes what is returned."""
        pixels = as_pixels(image, urls=urls)
        options = Options(short_side=short_side, max_side=max_side)
        view = View.of(pixels, *self.network.sizes(options))
        with self.network.computing():
            images, mask = self._padded(view)
            features = self.network.model.encode_image(images, mask)
        return EncodedImage(features, view, source_of(image), loader(pixels, source_of(image)))

    def encode_text(self, prompt: PromptLike, *, caption: bool = False) -> list[TextFeatures]:
        """Encode a prompt: token features [1, M, d_text] of each part that is read at once."""
        (asked,) = self.prompts(prompt, 1, caption)
        with self.network.computing():
            return [
                self.network.detector.text(self.tokenizer([chunk.prompt]).to(self.network.device))
                for chunk in asked.chunks
            ]

    def word_map(
        self, image: ImageLike | EncodedImage, prompt: PromptLike, *, caption: bool = False
    ) -> WordMap:
        """Compare every region of an image with every word of a prompt.

        Raises:
            ValueError: The prompt is longer than the text encoder reads at once.
        """
        encoded = image if isinstance(image, EncodedImage) else self.encode_image(image)
        (asked,) = self.prompts(prompt, 1, caption)
        if len(asked.chunks) > 1:
            raise ValueError(
                f"the prompt takes {len(asked.chunks)} parts; ask for the words of fewer names"
            )
        return map_words(self.network, encoded, asked)

    def _of_encoded(self, image: EncodedImage, prompt: CompiledPrompt, options: Options) -> Result:
        if options.tile is not None:
            raise ValueError("an encoded image has no windows; pass the image itself with tile=")
        found = self.network.detect_encoded(image.features, image.view, prompt, options)
        place = image.view.original_size, image.source, image.load_pixels
        return self._named(found, prompt, *place)

    def _shown(
        self, found: Detections, prompt: CompiledPrompt, pixels: np.ndarray, source: str | None
    ) -> Result:
        size = pixels.shape[0], pixels.shape[1]
        return self._named(found, prompt, size, source, loader(pixels, source))

    def _named(
        self,
        found: Detections,
        prompt: CompiledPrompt,
        size: tuple[int, int],
        source: str | None,
        load_pixels: Callable[[], np.ndarray],
    ) -> Result:
        return Result.of_detections(
            *(found, prompt.names),
            size=size,
            source=source,
            load_pixels=load_pixels,
            notes=self.hints(prompt),
        )

    def _of_frames(
        self, images: list[np.ndarray], prompt: CompiledPrompt, options: Options
    ) -> Iterator[tuple[np.ndarray, Result]]:
        found = self.network.detect(images, [prompt] * len(images), options, len(images))
        for image, detections in zip(images, found, strict=True):
            yield image, self._shown(detections, prompt, image, None)

    def _padded(self, view: View) -> tuple[Tensor, Tensor]:
        images, mask = pad_images([view.pixels])
        return images.to(self.network.device), mask.to(self.network.device)
