from pathlib import Path
from types import SimpleNamespace

import pytest
from helpers import FakeTokenizer, make_sample, write_coco
from torch.utils.data import BatchSampler, ConcatDataset

from glip_pl.data import CategoryDetection, GroundingDataModule, Pipeline, Sampling
from glip_pl.data.replay import Replay
from glip_pl.data.sampler import MixtureSampler
from glip_pl.data.scale import SameScaleBatches, ScaledSamples

SIDES = (8, 16, 24, 32)
BY_BATCH = Sampling(scale_by_batch=True)


def loader(root: Path, *, rank: int = 0, world: int = 1, **options):
    """A training loader of twelve images of 40 x 60 pixels in batches of three."""
    if not (root / "annotations").exists():
        boxes = {f"{k}.png": [(1, (6, 4, 30, 20))] for k in range(12)}
        write_coco(root, boxes, names={1: "cat"})
    module = GroundingDataModule(
        str(root),
        [CategoryDetection("annotations/train.json")],
        val={},
        test={},
        batch_size=3,
        train_transform=Pipeline(short_sides=SIDES),
        **options,
    )
    module.trainer = SimpleNamespace(global_rank=rank, world_size=world)
    module.setup("fit")
    module.connect(FakeTokenizer())
    return module.train_dataloader()


def sides(batch) -> list[int]:
    """The short side of every image of a batch."""
    return [min(question.size) for question in batch.questions]


@pytest.mark.parametrize("options", [{}, {"group_by_aspect": False}, {"weights": (1.0,)}])
def test_the_images_of_a_batch_share_their_scale(tmp_path, options):
    drawn = [sides(batch) for batch in loader(tmp_path, sampling=Sampling(**options))]

    assert [len(batch) for batch in drawn] == [3] * 4
    assert all(len(set(batch)) == 1 for batch in drawn)
    assert len({batch[0] for batch in drawn}) > 1


def test_every_image_draws_its_scale_where_a_recipe_says_so(tmp_path):
    drawn = [sides(batch) for batch in loader(tmp_path, sampling=Sampling(scale_by_batch=False))]

    assert any(len(set(batch)) > 1 for batch in drawn)


def test_only_what_comes_in_any_order_is_sorted():
    stream, replayed = Sampling(stream=True), Sampling(replay=Replay("old.yaml"))

    assert (stream.is_grouped, stream.has_one_scale) == (False, False)
    assert (replayed.is_grouped, replayed.has_one_scale) == (False, True)


def test_boxes_shrink_with_the_scale_of_their_batch(tmp_path):
    batch = next(iter(loader(tmp_path, sampling=BY_BATCH)))

    side = sides(batch)[0]
    wanted = [6 * side / 40, 4 * side / 40, 36 * side / 40, 24 * side / 40]
    assert batch.truths[0].boxes[0].tolist() == pytest.approx(wanted, rel=1e-5)


def test_workers_load_the_scale_of_their_batch(tmp_path):
    here, there = (
        [sides(batch) for batch in loader(tmp_path, sampling=BY_BATCH, num_workers=n)]
        for n in (0, 2)
    )

    assert here == there


def test_an_epoch_of_scaled_batches_has_every_image_once(tmp_path):
    batches = loader(tmp_path, sampling=BY_BATCH).batch_sampler

    assert len(batches) == 4
    assert sorted(index for batch in batches for (index, _), _ in batch) == list(range(12))


def test_processes_load_different_images_in_one_scale(tmp_path):
    one, other = (
        list(loader(tmp_path, sampling=BY_BATCH, rank=rank, world=2).batch_sampler)
        for rank in (0, 1)
    )

    for ours, theirs in zip(one, other, strict=True):
        assert {side for (_, side), _ in ours} == {side for (_, side), _ in theirs}
        assert not {index for (index, _), _ in ours} & {index for (index, _), _ in theirs}


def test_scales_come_anew_in_every_epoch():
    sampler = MixtureSampler([40], [1.0])
    batches = SameScaleBatches(BatchSampler(sampler, 2, drop_last=True), SIDES, seed=0)
    first = [batch[0][1] for batch in batches]
    again = [batch[0][1] for batch in batches]

    batches.sampler.set_epoch(1)  # Where Lightning looks for it.

    assert first == again
    assert first != [batch[0][1] for batch in batches]


def test_a_scaled_sample_is_resized_to_the_side_asked_for():
    samples = ScaledSamples(
        ConcatDataset([[make_sample([[0, 0, 60, 40]])]]), Pipeline(short_sides=SIDES, max_side=36)
    )

    assert samples[0, 16].image.shape == (16, 24, 3)
    assert samples[0, 32].image.shape == (24, 36, 3)  # max_side wins.
    assert len(samples) == 1
