from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from helpers import MATERIAL, ROOT, FakeTokenizer, write_coco
from jsonargparse import ArgumentParser
from torch.utils.data import DataLoader

from glip_pl.data import (
    CategoryDetection,
    DatasetBuilder,
    GroundingDataModule,
    Pipeline,
    Sampling,
    collate,
)
from glip_pl.data.sampler import MixtureSampler, SameAspectBatches, SameShapeBatches

DATASETS = MATERIAL / "datasets"
SMALL = Pipeline(short_sides=[32])
YAMLS = sorted((ROOT / "data").glob("*.yaml"))
PHOTO_SETS = [p for p in YAMLS if (DATASETS / p.stem.removesuffix("_grounding")).is_dir()]


def make_module(root: Path, images: int = 6, **options) -> GroundingDataModule:
    if not (root / "annotations").exists():
        for file, names in (("train.json", {1: "cat", 2: "dog"}), ("val.json", {1: "cat"})):
            boxes = {f"{k}.png": [(1, (1, 2, 10, 20))] for k in range(images)}
            write_coco(root, boxes, names=names, file=file)
    settings = {
        "train": [CategoryDetection("annotations/train.json")],
        "val": {"detection": CategoryDetection("annotations/val.json")},
        "test": {"detection": CategoryDetection("annotations/test.json")},
        "train_transform": SMALL,
        "eval_transform": SMALL,
    }
    return GroundingDataModule(str(root), **{**settings, **options})


def ready(module: GroundingDataModule, stage: str | None = "fit", rank: int = 0, world: int = 1):
    module.trainer = SimpleNamespace(global_rank=rank, world_size=world)
    module.prepare_data()
    module.setup(stage)
    module.connect(FakeTokenizer())
    return module


def ids(loader: DataLoader) -> list[int]:
    return [truth.image_id for batch in loader for truth in batch.truths]


def test_an_epoch_trains_on_every_image_once_and_orders_them_anew(tmp_path):
    loader = ready(make_module(tmp_path, batch_size=3)).train_dataloader()

    first = ids(loader)
    loader.batch_sampler.sampler.set_epoch(1)  # Where Lightning looks for it.
    second = ids(loader)

    assert sorted(first) == sorted(second) == [1, 2, 3, 4, 5, 6]
    assert first != second


def test_processes_train_on_different_images(tmp_path):
    loaders = [
        ready(make_module(tmp_path, batch_size=1), rank=rank, world=2).train_dataloader()
        for rank in (0, 1)
    ]

    assert sorted(ids(loaders[0]) + ids(loaders[1])) == [1, 2, 3, 4, 5, 6]


def test_a_set_smaller_than_a_batch_still_trains(tmp_path):
    loader = ready(make_module(tmp_path, images=2, batch_size=4)).train_dataloader()

    assert [len(batch) for batch in loader] == [2]


def test_a_last_batch_that_is_not_full_is_dropped(tmp_path):
    loader = ready(make_module(tmp_path, batch_size=4)).train_dataloader()

    assert [len(batch) for batch in loader] == [4]


def test_a_loader_asked_for_before_the_tokenizer_is_refused(tmp_path):
    module = make_module(tmp_path)
    module.setup("fit")

    with pytest.raises(ValueError, match=r"connect\(tokenizer\)"):
        module.train_dataloader()


def test_a_stage_reads_only_the_sets_that_it_needs(tmp_path):
    module = ready(make_module(tmp_path), "fit")  # There is no test.json, and that is fine.

    assert len(module.val_dataloader()) == 1
    with pytest.raises(ValueError, match=r"test\.json"):
        module.setup("test")


def test_a_stage_set_up_after_connecting_has_the_tokenizer_too(tmp_path):
    module = ready(make_module(tmp_path), "validate")

    module.setup("fit")

    assert len(ids(module.train_dataloader())) == 4


def test_loaders_come_in_the_order_of_their_names(tmp_path):
    train, val = (CategoryDetection(f"annotations/{file}.json") for file in ("train", "val"))
    module = ready(make_module(tmp_path, val={"b": train, "a": val}), "validate")

    assert module.val_names == ["b", "a"]
    assert [dataset.names for dataset in module.val.values()] == [["cat", "dog"], ["cat"]]


def test_class_names_are_those_of_the_training_sets(tmp_path):
    train = [CategoryDetection(f"annotations/{file}.json") for file in ("val", "train")]
    module = ready(make_module(tmp_path, train=train))

    assert module.class_names == ["cat", "dog"]


def test_training_samples_prompts_and_validation_names_everything(tmp_path):
    sets = [CategoryDetection("annotations/train.json", max_negatives=0) for _ in range(2)]
    make_module(tmp_path)  # Writes images that show the first of two names.
    module = ready(make_module(tmp_path, train=sets[:1], val={"all": sets[1]}))

    named = [
        {len(question.phrase_ids) for batch in loader for question in batch.questions}
        for loader in (module.train_dataloader(), *module.val_dataloader())
    ]

    assert named == [{1}, {2}]


def test_prompt_tuning_asks_every_image_for_all_names(tmp_path):
    make_module(tmp_path)
    train = [CategoryDetection("annotations/train.json", max_negatives=0)]
    module = ready(make_module(tmp_path, train=train))
    module.connect(FakeTokenizer(), one_prompt=True)

    batches = list(module.train_dataloader())

    assert {q.prompt.caption for batch in batches for q in batch.questions} == {"cat. dog"}


def test_a_missing_root_tells_what_to_pass(tmp_path):
    module = make_module(tmp_path)
    module.root = tmp_path / "nowhere"

    with pytest.raises(ValueError, match=r"nowhere' does not exist; pass --data\.root=PATH"):
        module.setup("fit")


def test_a_builder_writes_the_data_before_they_are_read(tmp_path):
    class Builder(DatasetBuilder):
        def build(self, root: Path) -> None:
            write_coco(root, {"a.png": [(1, (1, 2, 10, 20))]}, names={1: "cat"})

    root = tmp_path / "made"
    sets = {"train": [CategoryDetection("annotations/train.json")], "val": {}, "test": {}}
    module = ready(GroundingDataModule(str(root), **sets, builder=Builder()))

    assert len(module.train[0].records) == 1


def test_strict_data_are_refused_with_all_that_is_wrong(tmp_path):
    boxes = {"a.png": [(1, (1, 2, 0, 20)), (7, (1, 2, 3, 4)), (1, (1, 2, 3, 4))]}
    write_coco(tmp_path, boxes, names={1: "cat"})
    module = make_module(tmp_path, strict=True)

    with pytest.raises(ValueError, match=r"(?s)1 left out: box without area.*1 left out.*strict"):
        module.setup("fit")


def test_strict_training_stops_at_a_broken_image(tmp_path):
    module = ready(make_module(tmp_path, strict=True))
    (tmp_path / "images/3.png").write_bytes(b"broken")

    with pytest.raises(ValueError, match=r"cannot read the image '.*3\.png'"):
        list(module.train_dataloader())


def test_a_random_evaluation_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"data\.eval_transform is random"):
        make_module(tmp_path, eval_transform=Pipeline(flip=0.5))


@pytest.mark.parametrize("weights", [[1.0, 2.0], [0.0], [-1.0]])
def test_weights_that_do_not_fit_the_sets_are_refused(tmp_path, weights):
    with pytest.raises(ValueError, match=r"data\.sampling\.weights"):
        make_module(tmp_path, sampling=Sampling(weights=weights))


def test_weights_draw_a_small_set_more_often(tmp_path):
    drawn = list(MixtureSampler([900, 100], [1.0, 3.0], seed=5))

    assert len(drawn) == 1000
    # 750 are expected of the second set; the standard deviation is 13.7.
    assert sum(index >= 900 for index in drawn) == pytest.approx(750, abs=60)
    assert min(drawn) >= 0
    assert max(drawn) < 1000


def test_processes_share_one_weighted_draw():
    whole = list(MixtureSampler([6, 4], [1.0, 1.0]))
    shares = [list(MixtureSampler([6, 4], [1.0, 1.0], rank=rank, world=2)) for rank in (0, 1)]

    assert shares == [whole[0::2], whole[1::2]]


def test_a_weighted_draw_changes_with_the_epoch():
    sampler = MixtureSampler([50, 50], [1.0, 1.0])
    first = list(sampler)
    sampler.set_epoch(1)

    assert list(sampler) != first


WIDE, TALL, SQUARE = (40, 60), (60, 40), (50, 50)


def test_a_training_batch_is_wide_or_tall_in_the_order_of_its_sampler():
    #        0     1     2       3     4     5     6     7
    sizes = [WIDE, TALL, SQUARE, WIDE, WIDE, TALL, WIDE, WIDE]

    batches = list(SameAspectBatches([7, 1, 0, 3, 2, 5, 6, 4], sizes, 2))

    # A square counts as tall. The wide 4 and the tall 5 are what is left.
    assert batches == [[7, 0], [1, 2], [3, 6], [4, 5]]


def test_grouping_drops_no_more_images_than_batches_without_it():
    sizes = [TALL] * 5 + [WIDE] * 14

    for epoch in range(20):
        order = torch.randperm(19, generator=torch.Generator().manual_seed(epoch)).tolist()
        grouped = SameAspectBatches(order, sizes, 4)
        batches = list(grouped)

        assert len(batches) == len(grouped) == 4
        assert all(len(batch) == 4 for batch in batches)
        assert len({index for batch in batches for index in batch}) == 16
        mixed = [batch for batch in batches if len({index < 5 for index in batch}) == 2]
        assert mixed in ([], batches[-1:])


def test_a_side_smaller_than_a_batch_has_its_turn():
    sizes = [TALL] + [WIDE] * 6
    seen = set()
    for epoch in range(20):
        order = torch.randperm(7, generator=torch.Generator().manual_seed(epoch)).tolist()
        seen |= {index for batch in SameAspectBatches(order, sizes, 4) for index in batch}

    assert seen == set(range(7))


def test_a_share_smaller_than_a_batch_is_one_batch():
    grouped = SameAspectBatches([1, 0], [WIDE, TALL], 4)

    assert list(grouped) == [[0, 1]]
    assert len(grouped) == 1


@pytest.mark.parametrize("weights", [None, [1.0, 3.0]])
def test_every_process_gets_as_many_grouped_batches_of_its_share(tmp_path, weights):
    sets = {}
    for name, size, images in (("wide", WIDE, 9), ("tall", TALL, 7)):
        boxes = {f"{name}{k}.png": [(1, (1, 2, 3, 4))] for k in range(images)}
        write_coco(tmp_path, boxes, names={1: "cat"}, size=size, file=f"{name}.json")
        sets[name] = CategoryDetection(f"annotations/{name}.json")
    options = {
        "train": list(sets.values()),
        "val": {},
        "batch_size": 2,
        "sampling": Sampling(weights=weights, scale_by_batch=False),
    }
    loaders = [
        ready(make_module(tmp_path, **options), rank=rank, world=2).train_dataloader()
        for rank in (0, 1)
    ]

    for epoch in range(3):
        drawn = []
        for loader in loaders:
            loader.batch_sampler.sampler.set_epoch(epoch)
            batches = list(loader.batch_sampler)
            assert len(batches) == len(loader) == 4
            assert all(len({index < 9 for index, _ in batch}) == 1 for batch in batches[:-1])
            drawn += [index for batch in batches for index, _ in batch]
        if weights is None:
            assert sorted(drawn) == list(range(16))
        assert max(drawn) < 16


def test_grouped_batches_come_anew_in_every_epoch(tmp_path):
    loader = ready(
        make_module(tmp_path, sampling=Sampling(scale_by_batch=False), batch_size=3)
    ).train_dataloader()

    first = ids(loader)
    loader.batch_sampler.sampler.set_epoch(1)

    assert sorted(first) == [1, 2, 3, 4, 5, 6]
    assert ids(loader) != first


def test_evaluation_batches_hold_images_of_one_padded_shape():
    sizes = [(32, 64), (33, 64), (20, 50), (64, 33), (1, 1), (32, 33)]

    batches = list(SameShapeBatches(sizes, 2))

    #         32 x 32  32 x 64         64 x 64
    assert batches == [[4], [0, 2], [5], [1, 3]]


def test_processes_share_evaluation_batches_without_duplicates():
    sizes = [(32, 32)] * 5 + [(32, 64)] * 3

    shares = [list(SameShapeBatches(sizes, 2, rank=rank, world=2)) for rank in (0, 1)]

    assert shares == [[[0, 1], [4], [7]], [[2, 3], [5, 6]]]


def test_no_process_is_left_without_evaluation_work():
    shares = [list(SameShapeBatches([(32, 32)] * 3, 8, rank=r, world=3)) for r in range(3)]

    assert shares == [[[0]], [[1]], [[2]]]


def test_fewer_images_than_processes_are_refused():
    with pytest.raises(ValueError, match=r"2 images.*--trainer\.devices=2"):
        SameShapeBatches([(32, 32)] * 2, 8, world=3)


def test_an_evaluation_batch_pads_every_image_the_same(tmp_path):
    module = ready(make_module(tmp_path), "validate")

    (loader,) = module.val_dataloader()
    (batch,) = list(loader)

    assert batch.images.shape == (6, 3, 32, 64)
    assert {question.size for question in batch.questions} == {(32, 48)}


@pytest.mark.parametrize("workers", [0, 2])
def test_a_seed_fixes_the_training_data_and_epochs_differ(tmp_path, workers):
    options = {"num_workers": workers, "train_transform": Pipeline(short_sides=[32], color=1.0)}

    def draw() -> list[torch.Tensor]:
        torch.manual_seed(0)
        loader = ready(make_module(tmp_path, batch_size=6, **options)).train_dataloader()
        drawn = []
        for epoch in range(2):
            loader.batch_sampler.sampler.set_epoch(epoch)  # Where Lightning looks for it.
            drawn += [batch.images.sort(0).values for batch in loader]
        return drawn

    first, second = draw(), draw()

    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert not torch.equal(first[0], first[1])


def test_workers_of_different_processes_draw_differently(tmp_path):
    options = {"num_workers": 1, "train_transform": Pipeline(short_sides=[32], color=1.0)}
    batches = []
    for rank in (0, 1):
        torch.manual_seed(0)  # As `seed_everything` does in every process.
        module = ready(make_module(tmp_path, images=1, **options), rank=rank, world=2)
        batches += list(module.train_dataloader())

    assert [batch.truths[0].image_id for batch in batches] == [1, 1]
    assert not torch.equal(batches[0].images, batches[1].images)


@pytest.mark.parametrize("path", YAMLS, ids=lambda path: path.stem)
def test_every_data_file_builds_a_data_module(path):
    parser = ArgumentParser()
    parser.add_class_arguments(GroundingDataModule, "data")
    parser.add_argument("--trainer", type=dict)  # A file may also say how long to train.

    module = parser.instantiate_classes(parser.parse_path(path)).data

    assert path.read_text().startswith("# ")
    assert isinstance(module, GroundingDataModule)
    assert isinstance(module.train_transform, Pipeline)
    assert module.train or path.stem == "d3"  # There is nothing to train on.
    assert module.val_names or path.stem == "d3"
    assert module.test_names


@pytest.mark.skipif(not DATASETS.is_dir(), reason=f"{DATASETS} is absent")
@pytest.mark.parametrize("path", PHOTO_SETS, ids=lambda path: path.stem)
def test_every_photo_set_loads_without_problems(path):
    parser = ArgumentParser()
    parser.add_class_arguments(GroundingDataModule, "data")
    parser.add_argument("--trainer", type=dict)  # A file may also say how long to train.
    module = parser.instantiate_classes(parser.parse_path(path)).data
    module.root = DATASETS / path.stem.removesuffix("_grounding")

    module.setup(None)
    module.connect(FakeTokenizer(256))

    for dataset in [*module.train, *module.val.values(), *module.test.values()]:
        assert dataset.problems == {}
        samples = module.eval_samples(dataset)
        batch = collate([samples[0], samples[len(samples) - 1]], FakeTokenizer(256))
        assert all(truth.shows.any() for truth in batch.truths if len(truth.boxes))
