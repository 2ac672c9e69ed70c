"""The Python API: a model from anywhere, and what it finds in images and videos."""

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from glip_pl.boxes import clip, rescale
from glip_pl.data.collate import pad_images
from glip_pl.fusion import PyramidFeatures, TextFeatures
from glip_pl.head import GroundingOutput
from glip_pl.inference.batching import View
from glip_pl.inference.network import Network, Precision
from glip_pl.inference.options import Options
from glip_pl.inference.pixels import ImageLike, as_pixels, listed, source_of
from glip_pl.inference.result import UNKNOWN, Result
from glip_pl.inference.video import frames
from glip_pl.inference.word_map import WordMap
from glip_pl.prompts.compiled import CompiledPrompt
from glip_pl.prompts.request import compile_request
from glip_pl.prompts.tokens import Tokenizer
from glip_pl.structures import Detections
from glip_pl.system.machine import choose_device
from glip_pl.weights import About, Weights, read_weights, write_folder

PromptLike = str | CompiledPrompt


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
    return Predictor(
        read_weights(str(source), trust=trust),
        device=choose_device(device),
        precision=precision,
        trust=trust,
    )


@dataclass(frozen=True)
class EncodedImage:
    """An image with all the work done that needs no text; it may be asked many prompts.

    Attributes:
        features: What the backbone and the pyramid made of it.
        view: The image as the model saw it.
        source: Path or URL, where it has one.
        load_pixels: Returns the image, uint8 [H, W, 3].
    """

    features: PyramidFeatures
    view: View
    source: str | None
    load_pixels: Callable[[], np.ndarray]


class Predictor:
    """A model that finds in images what prompts name. Threads may share one.

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
        """Build the model that the weights describe; `load` opens files."""
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
        batch_size: int = 8,
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
            batch_size: Images at a time.
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
        if batch_size < 1:
            raise ValueError(f"batch_size={batch_size} must be a positive number")
        given = self._listed(images)
        prompts = self._prompts(prompt, len(given), caption)
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
        batch_size: int = 8,
        options: Options | None = None,
    ) -> Iterator[tuple[np.ndarray, Result]]:
        """Detect in the frames of a video, in order.

        Args:
            video: The file.
            prompt: As for `predict`.
            caption: As for `predict`.
            every: Look at every so manieth frame only.
            batch_size: Frames at a time.
            options: What `predict` takes one by one.

        Yields:
            Each frame, uint8 [H, W, 3], RGB, and what was found in it.

        Raises:
            ValueError: The video cannot be read or has no frame.
        """
        (asked,) = self._prompts(prompt, 1, caption)
        chosen, waiting = options or Options(), list[np.ndarray]()
        for frame in frames(Path(video), every=every):
            waiting.append(frame)
            if len(waiting) == batch_size:
                yield from self._of_frames(waiting, asked, chosen)
                waiting = []
        yield from self._of_frames(waiting, asked, chosen)

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
        return EncodedImage(features, view, source_of(image), _loader(pixels, source_of(image)))

    def encode_text(self, prompt: PromptLike, *, caption: bool = False) -> list[TextFeatures]:
        """Encode a prompt: token features [1, M, d_text] of each part that is read at once."""
        (asked,) = self._prompts(prompt, 1, caption)
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
        (asked,) = self._prompts(prompt, 1, caption)
        if len(asked.chunks) > 1:
            raise ValueError(
                f"the prompt takes {len(asked.chunks)} parts; ask for the words of fewer names"
            )
        batch, model = self.network.batch_of([encoded.view], [asked]), self.network.model
        with self.network.computing():
            fused = model.fusion(encoded.features, self.network.detector.text(batch.tokens))
            output = model.comparing_head()(fused)
        size = (encoded.view.pixels.shape[0], encoded.view.pixels.shape[1])
        boxes = rescale(clip(output.boxes[0].float(), size), size, encoded.view.original_size)
        written = asked.chunks[0].prompt.caption
        offsets = batch.tokens.offsets[0].tolist()
        (question,) = batch.questions
        return WordMap(
            regions=fused.regions[0].float().cpu(),
            boxes=boxes.cpu(),
            centerness=_centerness(output).cpu(),
            alignment=output.logits[0].float().sigmoid().cpu(),
            words=tuple(written[start:end] for start, end in offsets),
            positive_map=question.positive_map.cpu(),
            phrases=asked.names,
        )

    def save(self, folder: str | Path) -> None:
        """Write the model as a folder of weights that `load` reads.

        Raises:
            ValueError: The folder exists, or the model was narrowed to bf16.
        """
        if self.network.precision != "fp32":
            raise ValueError(
                'this model keeps half the digits (precision="bf16"); load it in fp32 to save it'
            )
        write_folder(Path(folder), self._weights(), self.network.model.text)

    def push_to_hub(self, repository: str, *, private: bool = False) -> str:
        """Upload the model as "user/name" to the Hugging Face hub; return its address.

        Raises:
            ValueError: The hub refuses, or there is no network.
        """
        from huggingface_hub import HfApi  # Needed here alone, and slow to import.

        with tempfile.TemporaryDirectory() as name:
            folder = Path(name) / repository.rpartition("/")[2]
            self.save(folder)
            try:
                hub = HfApi()
                address = hub.create_repo(repository, private=private, exist_ok=True)
                hub.upload_folder(repo_id=repository, folder_path=folder)
            except Exception as error:  # Of the hub, of its HTTP client, or of the system.
                raise ValueError(
                    f"the model was not uploaded to {repository!r} ({error}); log in with "
                    "`hf auth login`, and check the name and the network"
                ) from error
            finally:
                shutil.rmtree(folder, ignore_errors=True)
        return str(address)

    def result(
        self,
        found: Detections,
        prompt: CompiledPrompt,
        *,
        size: tuple[int, int],
        source: str | None,
        load_pixels: Callable[[], np.ndarray],
    ) -> Result:
        """Name the detections of an image; see `Result`."""
        return Result(
            boxes=found.boxes,
            scores=found.scores,
            labels=found.phrases,
            names=tuple(UNKNOWN if k < 0 else prompt.names[k] for k in found.phrases.tolist()),
            phrases=prompt.names,
            size=size,
            source=source,
            load_pixels=load_pixels,
        )

    def hints(self, prompt: CompiledPrompt) -> list[str]:
        """Say what a user should know who asks for this prompt, a line each."""
        foreign = self.foreign(prompt)
        if not foreign:
            return []
        asked = f"{', '.join(map(repr, foreign[:5]))} {'is' if len(foreign) == 1 else 'are'}"
        known = ", ".join(self.class_names[:10]) + (" ..." if len(self.class_names) > 10 else "")
        count = len(self.class_names)
        return [f"this model was trained on {count} names; {asked} none of them: {known}"]

    def foreign(self, prompt: CompiledPrompt) -> list[str]:
        """Return the names of a prompt that a model of a known vocabulary never saw."""
        known = {word for name in self.class_names for word in name.lower().split()}
        return [
            name
            for name in prompt.names
            if known and not known & set(name.lower().replace(",", " ").split())
        ]

    def _listed(
        self, images: ImageLike | EncodedImage | Sequence[ImageLike | EncodedImage]
    ) -> list[ImageLike | EncodedImage]:
        if isinstance(images, EncodedImage):
            return [images]
        return listed(images)

    def _compile(
        self, text: str, caption: bool = False, unwanted: str | None = None
    ) -> CompiledPrompt:
        return compile_request(text, self.tokenizer, caption=caption, unwanted=unwanted)

    def _prompts(self, prompt: Any, count: int, caption: bool) -> list[CompiledPrompt]:
        one_each = not isinstance(prompt, str | CompiledPrompt)
        given = list(prompt) if one_each and isinstance(prompt, Sequence) else [prompt] * count
        wrong = [p for p in given if not isinstance(p, str | CompiledPrompt)]
        if wrong:
            raise ValueError(
                f"a prompt of type {type(wrong[0]).__name__} cannot be read; give a text such as "
                '"cat. dog.", or a list with one text per image'
            )
        if len(given) != count:
            raise ValueError(
                f"there are {len(given)} prompts for {count} images; give one text for all, such "
                'as "cat. dog.", or one for each'
            )
        return [p if isinstance(p, CompiledPrompt) else self.compile(p, caption) for p in given]

    def _of_encoded(self, image: EncodedImage, prompt: CompiledPrompt, options: Options) -> Result:
        if options.tile is not None:
            raise ValueError("an encoded image has no windows; pass the image itself with tile=")
        found = self.network.detect_encoded(image.features, image.view, prompt, options)
        return self.result(
            found,
            prompt,
            size=image.view.original_size,
            source=image.source,
            load_pixels=image.load_pixels,
        )

    def _shown(
        self, found: Detections, prompt: CompiledPrompt, pixels: np.ndarray, source: str | None
    ) -> Result:
        size, load_pixels = (pixels.shape[0], pixels.shape[1]), _loader(pixels, source)
        return self.result(found, prompt, size=size, source=source, load_pixels=load_pixels)

    def _of_frames(
        self, images: list[np.ndarray], prompt: CompiledPrompt, options: Options
    ) -> Iterator[tuple[np.ndarray, Result]]:
        found = self.network.detect(images, [prompt] * len(images), options, max(len(images), 1))
        for image, detections in zip(images, found, strict=True):
            yield image, self._shown(detections, prompt, image, None)

    def _padded(self, view: View) -> tuple[Tensor, Tensor]:
        images, mask = pad_images([view.pixels])
        return images.to(self.network.device), mask.to(self.network.device)

    def _weights(self) -> Weights:
        state = {
            name: value.detach().cpu() for name, value in self.network.model.state_dict().items()
        }
        return Weights(self._description, state, self._source, self.about)


def _loader(pixels: np.ndarray, source: str | None) -> Callable[[], np.ndarray]:
    """Keep pixels that have no file, and read others again when they are wanted."""
    if source is not None and Path(source).is_file():
        return partial(as_pixels, source)
    return lambda: pixels


def _centerness(output: GroundingOutput) -> Tensor:
    """Return how central each region of the first image is, [N] in [0, 1]; 1 without a say."""
    if output.centerness is None:
        return torch.ones(output.boxes.shape[1])
    return output.centerness[0].float().sigmoid()
