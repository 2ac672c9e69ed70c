"""From a batch of images and prompts to labelled boxes, with nothing computed twice.

An image is encoded once for all chunks of a vocabulary, and a caption once for all images.
"""

from collections import OrderedDict
from collections.abc import Iterator
from itertools import chain, pairwise
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

_PHRASES_OF_A_CAPTION = 64  # As many take about the memory of a caption.
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

    What is kept are captions, or single phrases where the encoder reads each alone, so that a name
    is encoded once whatever it is asked with. Threads may share the cache.

    Args:
        encoder: Encodes what is not kept; changing its weights in place, as training does, makes
            the cache start over.
        size: Captions to keep; what was not used for longest goes first.
    """

    def __init__(self, encoder: TextEncoder, size: int) -> None:
        self._encoder = encoder
        self._size = size * _PHRASES_OF_A_CAPTION if encoder.reads_phrases_alone else size
        self._state: tuple[object, ...] = ()
        self._kept: OrderedDict[bytes, Tensor] = OrderedDict()

    def __call__(self, tokens: TokenBatch) -> TextFeatures:
        """Encode captions [B, M] as features [B, M, d_text]; padding has features of zero."""
        with _ONE_AT_A_TIME:
            if not _all_alike(tokens):
                return self._encode(tokens)
            one = self._encode(tokens.pick([0])).hidden  # What images of one prompt have.
            hidden = one.repeat(len(tokens.ids), 1, 1)
            return TextFeatures(hidden, tokens.mask, tokens.phrases)

    def _encode(self, tokens: TokenBatch) -> TextFeatures:
        state = self._current_state()
        if state != self._state:
            self._kept.clear()
            self._state = state
        captions = [
            _pieces(tokens.pick([b]), self._encoder.reads_phrases_alone)
            for b in range(len(tokens.ids))
        ]
        pieces = {key: piece for caption in captions for key, piece in caption}
        # The pieces of this call stay, even if they are more than the cache may keep.
        found = {key: self._kept[key] for key in pieces if key in self._kept}
        missing = {key: piece for key, piece in pieces.items() if key not in found}
        if missing:
            encoded = self._encoder(TokenBatch.stack(list(missing.values())))
            for row, (key, piece) in enumerate(missing.items()):
                found[key] = encoded.hidden[row, : piece.ids.shape[1]]
        for key, hidden in found.items():
            self._kept[key] = hidden
            self._kept.move_to_end(key)
        while len(self._kept) > self._size:
            self._kept.popitem(last=False)
        longest = tokens.ids.shape[1]
        rows = [torch.cat([found[key] for key, _ in caption]) for caption in captions]
        padded = [F.pad(row, (0, 0, 0, longest - len(row))) for row in rows]
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


def _all_alike(tokens: TokenBatch) -> bool:
    """Whether all captions [B, M] of a batch of several are the same."""
    told = [x for x in (tokens.ids, tokens.mask, tokens.phrases) if x is not None]
    return len(tokens.ids) > 1 and all(bool((x[1:] == x[:1]).all()) for x in told)


def _pieces(caption: TokenBatch, alone: bool) -> list[tuple[bytes, TokenBatch]]:
    """Cut a caption [1, M], without its padding, into what is encoded by itself.

    Args:
        caption: The tokens.
        alone: Whether a phrase is encoded by itself.

    Returns:
        Each piece [1, m] with what tells it from others.
    """
    real = caption.select(slice(0, int(caption.mask.sum())))
    if caption.phrases is None or real.phrases is None:
        return [(real.ids.cpu().numpy().tobytes(), real)]
    if not alone:
        told = torch.cat([real.ids, real.phrases]).cpu()
        return [(told.numpy().tobytes(), real)]
    numbers = real.phrases[0].tolist()
    starts = [m for m in range(len(numbers)) if m == 0 or numbers[m] != numbers[m - 1]]
    cut = [real.select(slice(a, b)) for a, b in pairwise([*starts, len(numbers)])]
    return [(piece.ids.cpu().numpy().tobytes(), piece) for piece in cut]


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
