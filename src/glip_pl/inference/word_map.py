"""Which word raised which box: every region of an image against every token of a prompt."""

from dataclasses import dataclass

from torch import Tensor


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
        phrases: The K phrases.
    """

    regions: Tensor
    boxes: Tensor
    centerness: Tensor
    alignment: Tensor
    words: tuple[str, ...]
    positive_map: Tensor
    phrases: tuple[str, ...]

    def region_of(self, box: Tensor) -> int:
        """Return the region whose box is nearest to a box [4]."""
        return int((self.boxes - box.to(self.boxes)).abs().sum(-1).argmin())

    def words_of(self, box: Tensor) -> list[tuple[str, float]]:
        """Return how well a detected box [4] shows each word of the prompt, in its order."""
        alignment = self.alignment[self.region_of(box)].tolist()
        return [(word, score) for word, score in zip(self.words, alignment, strict=True) if word]

    def scores(self) -> Tensor:
        """Compute phrase scores [N, K], the mean over each phrase's tokens, before centerness."""
        weight = self.positive_map.to(self.alignment.dtype)
        return self.alignment @ (weight / weight.sum(-1, keepdim=True)).T
