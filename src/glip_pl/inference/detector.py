"""From a batch of images and prompts to labelled boxes, with nothing computed twice.

An image is encoded once for all chunks of a vocabulary, and a caption once for all images.
"""

from collections import OrderedDict
from collections.abc import Iterator
from itertools import chain
from threading import Lock

import torch
import torch.nn.functional as F
from torch import Tensor

from glip_pl.fusion import PyramidFeatures, TextFeatures
from glip_pl.inference.postprocess import PostProcess
from glip_pl.model import GLIP
from glip_pl.prompts.tokens import TokenBatch
from glip_pl.structures import Batch, Detections, Question
from glip_pl.text import TextEncoder

# One for all caches, since a model that holds one is copied, and no lock can be.
_ONE_AT_A_TIME = Lock()


class Detector:
    """Detect the phrases of prompts of any length.

    A prompt that the text encoder cannot read at once comes in chunks (see `Batch`). Each phrase
    stands in one chunk, so duplicates are removed chunk by chunk, and the best boxes of all chunks
    are the best of the image. With late fusion a chunk costs one matrix product.

    Attributes:
        texts: The captions encoded before.
    """

    def __init__(self, model: GLIP, postprocess: PostProcess, *, cached_texts: int = 256) -> None:
        """Prepare to detect.

        Args:
            model: In evaluation mode whenever this is called.
            postprocess: How scores become detections.
            cached_texts: Captions whose features are kept.
        """
        self.model, self.postprocess = model, postprocess
        self.texts = TextCache(model.text, cached_texts)

    @torch.no_grad()
    def __call__(
        self,
        batch: Batch,
        image: PyramidFeatures | None = None,
        *,
        postprocess: PostProcess | None = None,
    ) -> list[Detections]:
        """Detect in every image of a batch.

        Args:
            batch: Images and prompts.
            image: What `GLIP.encode_image` made of the images, where it is known already.
            postprocess: How scores become detections in this call; by default that of the detector.
        """
        chosen = postprocess or self.postprocess
        if image is None:
            image = self.model.encode_image(batch.images, batch.mask)
        chunks = [
            chosen(self.model.ground(image, self.text(tokens)), questions)
            for tokens, questions in _chunks(batch)
        ]
        if len(chunks) == 1:
            return chunks[0]
        return [_best(found, chosen.max_detections) for found in zip(*chunks, strict=True)]

    def text(self, tokens: TokenBatch) -> TextFeatures:
        """Encode captions, or take them from the cache, with the offsets of a tuned prompt."""
        return self.model.with_prompt(self.texts(tokens), tokens)


class TextCache:
    """Text features by content: the same tokens and the same weights give what was kept.

    Threads may share it.

    Args:
        encoder: Encodes what is not kept; changing its weights in place, as training does, makes
            the cache start over.
        size: Captions to keep; the one not used for longest goes first.
    """

    def __init__(self, encoder: TextEncoder, size: int) -> None:
        self._encoder, self._size = encoder, size
        self._state: tuple[object, ...] = ()
        self._kept: OrderedDict[bytes, Tensor] = OrderedDict()

    def __call__(self, tokens: TokenBatch) -> TextFeatures:
        """Encode captions [B, M] as features [B, M, d_text]; padding has features of zero."""
        with _ONE_AT_A_TIME:
            return self._encode(tokens)

    def _encode(self, tokens: TokenBatch) -> TextFeatures:
        state = self._current_state()
        if state != self._state:
            self._kept.clear()
            self._state = state
        counts = tokens.mask.sum(1).tolist()
        told = tokens.ids if tokens.phrases is None else torch.cat([tokens.ids, tokens.phrases], 1)
        masks = tokens.mask if tokens.phrases is None else tokens.mask.repeat(1, 2)
        keys = [
            row[mask].numpy().tobytes() for row, mask in zip(told.cpu(), masks.cpu(), strict=True)
        ]
        # The captions of this call stay, even if they are more than the cache may keep.
        rows = {key: self._kept[key] for key in keys if key in self._kept}
        missing = {key: b for b, key in enumerate(keys) if key not in rows}
        if missing:
            some = list(missing.values())
            encoded = self._encoder(tokens.pick(some))
            for row, (key, b) in enumerate(missing.items()):
                rows[key] = encoded.hidden[row][tokens.mask[b]]
        for key, hidden in rows.items():
            self._kept[key] = hidden
            self._kept.move_to_end(key)
        while len(self._kept) > self._size:
            self._kept.popitem(last=False)
        longest = tokens.ids.shape[1]
        padded = [
            F.pad(rows[key], (0, 0, 0, longest - count))
            for key, count in zip(keys, counts, strict=True)
        ]
        return TextFeatures(torch.stack(padded), tokens.mask, tokens.phrases)

    def __len__(self) -> int:
        return len(self._kept)

    def _current_state(self) -> tuple[object, ...]:
        """All that the features depend on beside the tokens; writing to a tensor counts it up."""
        device = next(self._encoder.parameters()).device.type
        held = chain(self._encoder.parameters(), self._encoder.buffers())
        weights = [(id(p), p.dtype, p._version) for p in held]
        precision = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
        return (self._encoder.training, device, precision, *weights)


def _chunks(batch: Batch) -> Iterator[tuple[TokenBatch, list[Question]]]:
    """Yield the chunks of a batch, with questions whose positive maps are those of the chunk."""
    start = 0
    for size in batch.chunk_sizes:
        columns = slice(start, start + size)
        yield batch.tokens.select(columns), [q.select_tokens(columns) for q in batch.questions]
        start += size


def _best(found: tuple[Detections, ...], most: int) -> Detections:
    """Join the detections of several chunks and keep the best."""
    joined = Detections(
        torch.cat([f.boxes for f in found]),
        torch.cat([f.scores for f in found]),
        torch.cat([f.phrases for f in found]),
    )
    return joined.select(joined.scores.argsort(descending=True, stable=True)[:most])
