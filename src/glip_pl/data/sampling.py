"""Sampling: which training images an epoch has, and which of them come together."""

from dataclasses import dataclass

from glip_pl.data.replay import Replay


@dataclass(frozen=True)
class Sampling:
    """How batches are drawn from the training sets.

    Attributes:
        weights: How often each training set is drawn, relative to the others; by default each image
            is seen once per epoch.
        replay: Old data that take a part of every batch, so that tuning forgets less; an epoch is
            as long as one of the new data.
        group_by_aspect: Whether batches are all wide or all tall, to pad less; by default wherever
            images come in any order.
        scale_by_batch: Whether the images of a batch share one short side, which pads less still;
            by default so, but for streams; official GLIP draws one per image.
        stream: Whether sets in shards, which ``glip data convert`` writes, are read from front to
            back and never as a whole; others are mixed in as they are.
    """

    weights: tuple[float, ...] | None = None
    replay: Replay | None = None
    group_by_aspect: bool | None = None
    scale_by_batch: bool | None = None
    stream: bool = False

    def __post_init__(self) -> None:
        if self.stream and (self.group_by_aspect or self.scale_by_batch):
            raise ValueError(
                "data.sampling.stream reads the training sets from front to back, so that they "
                "cannot be sorted; leave out group_by_aspect and scale_by_batch, or pass "
                "--data.sampling.group_by_aspect=false --data.sampling.scale_by_batch=false where "
                "a recipe has them"
            )
        if self.replay is not None and (self.group_by_aspect or self.weights):
            raise ValueError(
                "data.sampling.replay fills a part of every batch, which group_by_aspect and "
                "weights would fill otherwise; leave them out"
            )

    @property
    def is_grouped(self) -> bool:
        """Whether batches are all wide or all tall."""
        if self.group_by_aspect is None:
            return not self.stream and self.replay is None
        return self.group_by_aspect

    @property
    def has_one_scale(self) -> bool:
        """Whether the images of a batch share one short side."""
        return not self.stream if self.scale_by_batch is None else self.scale_by_batch

    def check_weights(self, num_sets: int) -> None:
        """Refuse weights that are not one for each of `num_sets` training sets.

        Raises:
            ValueError: They are fewer or more, or one is not above 0.
        """
        weights = self.weights
        if weights is not None and (len(weights) != num_sets or any(not w > 0 for w in weights)):
            raise ValueError(
                f"data.sampling.weights is {list(weights)}, but data.train has {num_sets} sets; "
                "give each one a weight above 0"
            )
