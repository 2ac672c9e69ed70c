"""Which word raised which box: every region of an image against every token of a prompt."""

from dataclasses import dataclass

import torch
from torch import Tensor

from glip_pl.boxes import clip, rescale
from glip_pl.inference.encoded import EncodedImage
from glip_pl.inference.network import Network
from glip_pl.inference.postprocess import default_aggregate, phrase_scores
from glip_pl.prompts.compiled import CompiledPrompt


@dataclass(frozen=True)
class WordMap:
    """All regions of one image, before anything is chosen.

    Attributes:
        regions: O, region features [N, d_model].
        boxes: [N, 4], xyxy pixels of the image, inside it.
        centerness: [N] in [0, 1].
        alignment: [N, M] in [0, 1], how well each region shows each token.
        words: The text of each of the M tokens; "" for special ones.
        positive_map: Boolean [K, M], the tokens of each phrase.
        phrase_alignment: [N, K] in [0, 1], how well each region shows each phrase.
        phrases: The K phrases.
    """

    regions: Tensor
    boxes: Tensor
    centerness: Tensor
    alignment: Tensor
    words: tuple[str, ...]
    positive_map: Tensor
    phrase_alignment: Tensor
    phrases: tuple[str, ...]

    def region_of(self, box: Tensor) -> int:
        """Return the region whose box is nearest to a box [4]."""
        return int((self.boxes - box.to(self.boxes)).abs().sum(-1).argmin())

    def words_of(self, box: Tensor) -> list[tuple[str, float]]:
        """Return how well a detected box [4] shows each word of the prompt, in its order."""
        alignment = self.alignment[self.region_of(box)].tolist()
        return [(word, score) for word, score in zip(self.words, alignment, strict=True) if word]


def map_words(network: Network, image: EncodedImage, prompt: CompiledPrompt) -> WordMap:
    """Compare every region of an image with every word of a prompt of one part."""
    batch, model = network.batch_of([image.view], [prompt]), network.model
    with network.computing():
        fused = model.fusion(image.features, network.detector.text(batch.tokens))
        output = model.comparing_head()(fused)
    size = (image.view.pixels.shape[0], image.view.pixels.shape[1])
    boxes = rescale(clip(output.boxes[0].float(), size), size, image.view.original_size)
    # A head without a say about centerness calls every region central.
    central = output.centerness
    centerness = torch.ones(len(boxes)) if central is None else central[0].float().sigmoid()
    written = prompt.chunks[0].prompt.caption
    (question,) = batch.questions
    return WordMap(
        regions=fused.regions[0].float().cpu(),
        boxes=boxes.cpu(),
        centerness=centerness.cpu(),
        alignment=output.logits[0].float().sigmoid().cpu(),
        words=tuple(written[start:end] for start, end in batch.tokens.offsets[0].tolist()),
        positive_map=question.positive_map.cpu(),
        phrase_alignment=phrase_scores(
            output.logits[0].float(),
            question.positive_map,
            question.weights,
            default_aggregate(model.told),
        ).cpu(),
        phrases=prompt.names,
    )
