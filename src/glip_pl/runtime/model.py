"""An exported model: images and prompts to boxes."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import onnxruntime

from glip_pl.prompts.caption_compiler import compile_caption
from glip_pl.prompts.compiler import compile_names
from glip_pl.prompts.names import split_names
from glip_pl.prompts.request import parse_caption
from glip_pl.runtime.folder import GROUND, IMAGE, TEXT, TOKENIZER, read_description
from glip_pl.runtime.pixels import check_image, prepare
from glip_pl.runtime.postprocess import Found, best_boxes, one_per_place
from glip_pl.runtime.tokenizer import RuntimeTokenizer
from glip_pl.runtime.vocabulary import EncodedChunk, Vocabulary


class Runtime:
    """Detect with a folder that `glip export` wrote.

    Args:
        folder: The folder.
        threads: Threads of each graph; 0 takes all cores.

    Attributes:
        description: How the model is used.

    Raises:
        ValueError: The folder holds no exported model.
    """

    def __init__(self, folder: str | Path, *, threads: int = 0) -> None:
        self.folder = Path(folder)
        self.description = read_description(self.folder)
        self._options = onnxruntime.SessionOptions()
        self._options.intra_op_num_threads = threads
        # The exporter's sizes are guesses where there are several; onnxruntime would warn.
        self._options.log_severity_level = 3
        self._image, self._ground = self._open(IMAGE), self._open(GROUND)
        self._levels = [output.name for output in self._image.get_outputs()]
        self._ground_inputs = {given.name for given in self._ground.get_inputs()}

    def vocabulary(
        self, prompt: str | list[str], *, caption: bool = False, threshold: float | None = None
    ) -> Vocabulary:
        """Encode a prompt once for many images.

        Args:
            prompt: Names with dots or commas between, or a list of names; with `caption` a
                sentence, whose phrases are found by themselves or stand in brackets.
            caption: Whether it is a sentence.
            threshold: The least score of every name; by default those that came with the model.

        Raises:
            ValueError: It names nothing, or cannot be read by the model.
        """
        if isinstance(prompt, str) and "|" in prompt:
            raise ValueError(
                f"the prompt {prompt!r} has alternatives between bars, which the runtime does not "
                "know; name each thing by itself"
            )
        if caption:
            if not isinstance(prompt, str):
                raise ValueError(f"a caption is one sentence, not {type(prompt).__name__}")
            marked = parse_caption(prompt) if "[" in prompt else None
            compiled = compile_caption(
                marked.caption if marked else prompt,
                self._tokenizer,
                tokens_positive=marked.tokens_positive if marked else None,
            )
        else:
            names = split_names(prompt) if isinstance(prompt, str) else prompt
            compiled = compile_names(names, self._tokenizer)
        chunks = []
        for chunk in compiled.chunks:
            feeds = {"ids": chunk.tokens.ids, "text_mask": chunk.tokens.mask}
            (hidden,) = self._text.run(None, feeds)
            chunks.append(
                EncodedChunk(
                    hidden[0],
                    np.asarray(chunk.positive_map),
                    np.asarray(chunk.weights),
                    np.array(chunk.phrase_ids),
                )
            )
        thresholds = self._thresholds(compiled.names, threshold)
        return Vocabulary(compiled.names, thresholds, tuple(chunks), self.description.encoder)

    def predict(
        self,
        image: np.ndarray,
        prompt: "str | list[str] | Vocabulary",
        *,
        best_only: bool = True,
    ) -> Found:
        """Detect in one image.

        Args:
            image: uint8 [H, W, 3], RGB.
            prompt: What `vocabulary` takes or returns.
            best_only: One name per thing.

        Raises:
            ValueError: The image is none, the prompt names nothing, or the vocabulary was encoded
                by another model.
        """
        pixels = check_image(image)
        asked = prompt if isinstance(prompt, Vocabulary) else self.vocabulary(prompt)
        if asked.encoder != self.description.encoder:
            raise ValueError(
                f"the vocabulary was encoded by another model ({asked.encoder[:12]}, not "
                f"{self.description.encoder[:12]}); encode it with this one"
            )
        settings = self.description
        padded, mask = prepare(pixels, settings.short_side, settings.max_side)
        levels = self._image.run(None, {"images": padded, "mask": mask})
        size = (int(mask[0].any(1).sum()), int(mask[0].any(0).sum()))
        parts = [
            self._chunk(dict(zip(self._levels, levels, strict=True)), mask, chunk, asked, size)
            for chunk in asked.chunks
        ]
        joined = Found(
            np.concatenate([part.boxes for part in parts]),
            np.concatenate([part.scores for part in parts]),
            np.concatenate([part.labels for part in parts]),
        )
        order = np.argsort(-joined.scores, kind="stable")[: settings.max_detections]
        best = joined.select(order)
        best = best.select(best.scores >= asked.thresholds[best.labels])
        if best_only:
            best = best.select(one_per_place(best.boxes))
        scale = np.array([pixels.shape[1] / size[1], pixels.shape[0] / size[0]] * 2, np.float32)
        names = tuple(asked.names[label] for label in best.labels)
        return Found(best.boxes * scale, best.scores, best.labels, names)

    def _thresholds(self, names: Sequence[str], threshold: float | None) -> np.ndarray:
        """Return the least score of each name, [K]."""
        if threshold is not None:
            return np.full(len(names), threshold, np.float32)
        stored = {name.lower(): value for name, value in self.description.thresholds.items()}
        default = self.description.score_threshold
        return np.array([stored.get(name.lower(), default) for name in names], np.float32)

    def _chunk(
        self,
        levels: dict[str, np.ndarray],
        mask: np.ndarray,
        chunk: EncodedChunk,
        asked: Vocabulary,
        size: tuple[int, int],
    ) -> Found:
        """Detect what one part of a vocabulary names."""
        feeds = {
            **levels,
            "mask": mask,
            "hidden": chunk.hidden[None],
            "text_mask": np.ones((1, len(chunk.hidden)), bool),
        }
        outputs = self._ground.run(
            None, {name: value for name, value in feeds.items() if name in self._ground_inputs}
        )
        least = float(asked.thresholds[chunk.phrase_ids].min())
        found = best_boxes(
            tuple(outputs), chunk.positive_map, chunk.weights, least, size, self.description
        )
        return Found(found.boxes, found.scores, chunk.phrase_ids[found.labels])

    # Made when first used: a program that only loads packs needs neither.
    @cached_property
    def _text(self) -> onnxruntime.InferenceSession:
        return self._open(TEXT)

    @cached_property
    def _tokenizer(self) -> RuntimeTokenizer:
        settings = self.description
        return RuntimeTokenizer(
            self.folder / TOKENIZER, settings.max_tokens, settings.unknown_token
        )

    def _open(self, name: str) -> onnxruntime.InferenceSession:
        try:
            return onnxruntime.InferenceSession(
                self.folder / name, self._options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime's own errors have no common class.
            raise ValueError(
                f"{str(self.folder / name)!r} cannot be opened ({error}); export the model again "
                "with an onnxruntime of 1.32 or newer"
            ) from error
