import json
import logging
from collections import Counter
from types import MappingProxyType

import pytest
import torch
from helpers import FakeTokenizer, write_coco, write_image
from loaded_sets import loaded
from torch.utils.data import DataLoader

from glip_pl.data import CategoryDetection, GroundingDataModule, PhraseGrounding, Pipeline, Sampling
from glip_pl.data.datasets.samples import SampleContext
from glip_pl.data.formats import Annotation, AnnotationSet, Record
from glip_pl.data.formats.webdataset.shard_files import open_shards
from glip_pl.data.formats.webdataset.webdataset import WebDatasetShards
from glip_pl.data.resumable import ResumableLoader
from glip_pl.data.stream_sources import ShardSource, WholeSource
from glip_pl.data.streaming import SampleStream

NAMES = {1: "cat", 5: "dog"}
CAPTION = "a man and a dog"


def write_shards(root, count, *, per_shard=2):
    """Write `count` images with a cat and a caption each, so many to a shard."""
    for i in range(count):
        write_image(root / "source" / f"{i}.png", 20, 30)
    links = (Annotation((1, 2, 11, 12), 1, ((0, 5),)),)
    records = [Record(i, f"{i}.png", (20, 30), links, f"{CAPTION} {i}") for i in range(count)]
    (root / "shards").mkdir()
    for start in range(0, count, per_shard):
        some = AnnotationSet(root / "source", records[start : start + per_shard], NAMES)
        WebDatasetShards().write({"train": some}, root / "part")
        (root / "part" / "train-000000.tar").rename(root / "shards" / f"train-{start:06d}.tar")
    every = AnnotationSet(root / "source", records, NAMES)
    WebDatasetShards().write({"train": every}, root / "part")
    (root / "part" / "info.json").rename(root / "shards" / "info.json")
    return root / "shards"


def stream_of(shards, dataset=None, *, batch_size=1, transform=None, strict=False, **options):
    if dataset is None:
        dataset = CategoryDetection("shards", split="train")
    found = open_shards(shards, "train")
    dataset.take_names(found.common, shards)
    context = SampleContext(FakeTokenizer(), training=True, transform=transform, strict=strict)
    return SampleStream([ShardSource(dataset, found, context)], batch_size=batch_size, **options)


def epochs_of(stream, workers, count=1):
    """The image ids of so many epochs, each in its order."""
    loader = DataLoader(
        stream, batch_size=None, num_workers=workers, persistent_workers=workers > 0
    )
    return [[sample.truth.image_id for sample in loader] for _ in range(count)]


def test_all_loaders_of_all_processes_together_read_every_image_once(tmp_path):
    shards = write_shards(tmp_path, 16)

    seen = [
        image_id
        for rank in range(2)
        for image_id in epochs_of(stream_of(shards, rank=rank, world=2, num_workers=2), 2)[0]
    ]

    assert sorted(seen) == list(range(16))


def test_every_epoch_has_an_order_of_its_own_and_a_seed_fixes_them(tmp_path):
    shards = write_shards(tmp_path, 12)

    first, second = epochs_of(stream_of(shards, seed=1), 0, count=2)

    assert sorted(first) == sorted(second) == list(range(12))
    assert first != second
    assert epochs_of(stream_of(shards, seed=1), 0, count=2) == [first, second]
    assert epochs_of(stream_of(shards, seed=1, epoch=1), 0) == [second]
    assert epochs_of(stream_of(shards, seed=2), 0) != [first]


def test_loaders_in_processes_of_their_own_go_on_to_the_next_epoch(tmp_path):
    shards = write_shards(tmp_path, 8)

    first, second = epochs_of(stream_of(shards, num_workers=2), 2, count=2)

    assert sorted(first) == sorted(second) == list(range(8))
    assert first != second


def batches_of(stream, workers, epoch=0, first=0):
    """The ids, pixels and captions of each batch of an epoch, or of what is left of it."""
    stream.start(epoch, first)
    loader = DataLoader(stream, batch_size=2, num_workers=workers, collate_fn=list)
    return [
        [(s.truth.image_id, int(s.image.astype(int).sum()), s.prompt.caption) for s in batch]
        for batch in loader
    ]


@pytest.mark.parametrize("workers", [0, 2, 3])
def test_a_stream_is_the_same_with_any_number_of_workers(tmp_path, workers):
    shards = write_shards(tmp_path, 16)

    def stream(workers):
        dataset = CategoryDetection("shards", split="train", max_negatives=1)
        drawn = Pipeline(short_sides=(16, 20), color=0.5)
        return stream_of(shards, dataset, batch_size=2, num_workers=workers, transform=drawn)

    whole = batches_of(stream(1), 1, epoch=3)

    assert batches_of(stream(workers), workers, epoch=3) == whole
    assert batches_of(stream(workers), workers, epoch=3, first=3) == whole[3:]


@pytest.mark.parametrize("rank", [0, 1])
def test_with_uneven_shards_every_process_gets_as_many_samples(tmp_path, rank):
    shards = write_shards(tmp_path, 7, per_shard=3)  # 3, 3 and 1.
    stream = stream_of(shards, rank=rank, world=2)

    (seen,) = epochs_of(stream, 0)

    assert len(seen) == len(stream) == 3


def test_a_loader_fills_whole_batches(tmp_path):
    stream = stream_of(write_shards(tmp_path, 10), batch_size=4, num_workers=1)

    assert len(stream) == 8


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (
            {"num_workers": 4},
            r"3 shards of .* cannot be shared by 4 loaders.*lower data\.num_workers",
        ),
        ({"batch_size": 7}, r"6 records are less than a batch of 7.*lower data\.batch_size"),
    ],
)
def test_what_cannot_be_shared_is_refused(tmp_path, options, complaint):
    shards = write_shards(tmp_path, 6)

    with pytest.raises(ValueError, match=complaint):
        stream_of(shards, **options)


def test_shards_without_their_description_are_refused(tmp_path):
    (write_shards(tmp_path, 2) / "info.json").unlink()

    with pytest.raises(ValueError, match=r"no shards that info\.json describes.*glip data convert"):
        open_shards(tmp_path / "shards", "train")


def test_a_sample_is_that_of_the_set_read_as_a_whole(tmp_path):
    shards = write_shards(tmp_path, 2)
    whole = CategoryDetection("shards", split="train", fixed_prompt=True)
    samples = loaded(whole, tmp_path, training=True)
    expected = {sample.truth.image_id: sample for sample in samples}

    for sample in stream_of(shards, CategoryDetection("shards", split="train", fixed_prompt=True)):
        wanted = expected[sample.truth.image_id]
        assert sample.prompt == wanted.prompt
        assert sample.truth.boxes.tolist() == wanted.truth.boxes.tolist() == [[1, 2, 11, 12]]
        assert sample.truth.shows.tolist() == wanted.truth.shows.tolist()
        assert (sample.image == wanted.image).all()


def test_a_streamed_caption_is_packed_with_those_read_before(tmp_path):
    shards = write_shards(tmp_path, 30, per_shard=30)
    torch.manual_seed(0)

    stream = stream_of(shards, PhraseGrounding("shards", split="train", max_distractors=3))
    captions = [sample.prompt.caption for sample in stream]

    assert max(caption.count(CAPTION) for caption in captions) > 1


def test_a_broken_image_and_a_shard_cut_off_are_skipped_and_told(tmp_path, caplog):
    shards = write_shards(tmp_path, 6, per_shard=3)
    first, second = sorted(shards.glob("*.tar"))
    first.write_bytes(first.read_bytes().replace(b"\x89PNG", b"\x89ping"[:4], 1))
    content = second.read_bytes()
    second.write_bytes(content[: len(content) // 4])

    with caplog.at_level(logging.WARNING):
        seen = Counter(epochs_of(stream_of(shards), 0)[0])

    assert set(seen) < set(range(6))
    assert 0 not in seen
    assert sum(seen.values()) == 6  # What is left is read again.
    assert "cannot read the image" in caplog.text
    assert "shard that breaks off" in caplog.text


def test_a_strict_stream_stops_at_a_broken_shard(tmp_path):
    shards = write_shards(tmp_path, 6, per_shard=3)
    second = sorted(shards.glob("*.tar"))[1]
    second.write_bytes(second.read_bytes()[:1500])
    stream = stream_of(shards, strict=True)

    with pytest.raises(
        ValueError, match=r"(?s)1 left out: shard that breaks off.*leave out data\.strict"
    ):
        list(stream)


def module(root, sampling=MappingProxyType({}), **options):
    train = options.pop("train", [CategoryDetection("shards", split="train")])
    return GroundingDataModule(
        *(str(root), train),
        val={},
        test={},
        batch_size=2,
        sampling=Sampling(stream=True, **sampling),
        train_transform=Pipeline(short_sides=(20, 24)),
        **options,
    )


def test_the_data_module_streams_batches(tmp_path):
    write_shards(tmp_path, 8)
    data = module(tmp_path)
    data.setup("fit")
    data.connect(FakeTokenizer())

    loader = data.train_dataloader()
    batches = list(loader)

    assert len(loader) == len(batches) == 4
    assert data.class_names == ["cat", "dog"]
    assert sorted(truth.image_id for batch in batches for truth in batch.truths) == list(range(8))


def test_few_shots_cannot_be_chosen_from_a_stream(tmp_path):
    write_shards(tmp_path, 4)

    with pytest.raises(ValueError, match="`shots` would choose from all its images"):
        module(tmp_path, train=[CategoryDetection("shards", split="train", shots=1)]).setup("fit")


@pytest.mark.parametrize("option", ["group_by_aspect", "scale_by_batch"])
def test_a_stream_cannot_be_sorted(tmp_path, option):
    with pytest.raises(ValueError, match=rf"cannot be sorted.*--data\.sampling\.{option}=false"):
        module(tmp_path, {option: True})


def test_a_stream_without_shards_is_refused(tmp_path):
    write_coco(tmp_path, {"a.png": []}, names={1: "cat"})

    with pytest.raises(ValueError, match=r"annotations/train\.json'\) has none; write them"):
        module(tmp_path, train=[CategoryDetection("annotations/train.json")]).setup("fit")


# Mixtures


def folder_set(root, count=10, **options):
    """A set of JSON and files, whose ids start at 1,001 and whose one name is owl."""
    path = write_coco(
        root, {f"{k}.png": [(1, (2, 2, 9, 9))] for k in range(count)}, names={1: "owl"}
    )
    document = json.loads(path.read_text())
    for entry in document["images"]:
        entry["id"] += 1000
    for entry in document["annotations"]:
        entry["image_id"] += 1000
    path.write_text(json.dumps(document))
    return CategoryDetection("annotations/train.json", max_negatives=1, **options)


def mixed(root, workers, *, weights=None, place=(0, 1), batch_size=2):
    """A stream of 16 images in shards and of 10 in a folder."""
    if not (root / "shards").exists():
        write_shards(root, 16)
    context = SampleContext(
        FakeTokenizer(), training=True, transform=Pipeline(short_sides=(16, 20), color=0.5)
    )
    dataset, whole = CategoryDetection("shards", split="train"), folder_set(root)
    found = open_shards(root / "shards", "train")
    dataset.take_names(found.common, root / "shards")
    whole.load(root, training=True)
    sources = [
        ShardSource(dataset, found, context),
        WholeSource("folder", whole.samples(context)),
    ]
    rank, world = place
    return SampleStream(
        *(sources, weights),
        batch_size=batch_size,
        rank=rank,
        world=world,
        num_workers=workers,
    )


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("weights", [None, [1.0, 3.0]])
def test_a_mixture_goes_on_where_it_stopped_with_any_number_of_workers(tmp_path, workers, weights):
    whole = batches_of(mixed(tmp_path, 0, weights=weights), 0, epoch=2)

    assert batches_of(mixed(tmp_path, workers, weights=weights), workers, epoch=2) == whole
    rest = batches_of(mixed(tmp_path, workers, weights=weights), workers, epoch=2, first=5)
    assert rest == whole[5:]


def test_weights_say_how_often_a_set_is_drawn(tmp_path):
    stream = mixed(tmp_path, 0, weights=[1.0, 3.0], batch_size=1)

    seen = [image_id > 1000 for epoch in epochs_of(stream, 0, count=20) for image_id in epoch]

    assert len(seen) == 20 * 24  # Of 26 images each of eight lanes, one a shard, gives three.
    assert sum(seen) / len(seen) == pytest.approx(0.75, abs=0.05)


def test_without_weights_a_set_is_drawn_as_often_as_it_has_images(tmp_path):
    seen = [i > 1000 for epoch in epochs_of(mixed(tmp_path, 0), 0, count=20) for i in epoch]

    assert sum(seen) / len(seen) == pytest.approx(10 / 26, abs=0.06)


def test_a_set_beside_shards_is_dealt_to_all_lanes_before_any_image_comes_again(tmp_path):
    whole = folder_set(tmp_path)
    whole.load(tmp_path)
    source = WholeSource("folder", whole.samples(SampleContext(FakeTokenizer())))

    lanes = [source.lane(place, 5, seed=0, epoch=1) for place in range(5)]

    ids = [[lane(k).truth.image_id for lane in lanes for k in (r, r + 1)] for r in (0, 2)]
    assert [sorted(found) for found in ids] == [list(range(1001, 1011))] * 2
    assert ids[0] != ids[1]


def test_processes_share_a_mixture(tmp_path):
    streams = [mixed(tmp_path, 0, place=(rank, 2), batch_size=1) for rank in range(2)]

    first, second = (epochs_of(stream, 0)[0] for stream in streams)

    assert len(first) == len(second)
    assert not {i for i in first if i < 1000} & {i for i in second if i < 1000}


def test_the_data_module_mixes_shards_captions_and_a_folder(tmp_path):
    write_shards(tmp_path, 8)
    train = [
        CategoryDetection("shards", split="train"),
        PhraseGrounding("shards", split="train"),
        folder_set(tmp_path),
    ]
    data = module(tmp_path, train=train, sampling={"weights": (1.0, 1.0, 1.0)})
    data.setup("fit")
    data.connect(FakeTokenizer())

    captions = [q.prompt.caption for batch in data.train_dataloader() for q in batch.questions]

    assert data.class_names == ["cat", "dog", "owl"]
    kinds = {"owl" if c == "owl" else "caption" if CAPTION in c else "names" for c in captions}
    assert kinds == {"owl", "caption", "names"}


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_of_a_stream_begins_where_the_run_stands(tmp_path, workers):
    shards = write_shards(tmp_path, 16)

    def batches(first):
        loader = ResumableLoader(stream_of(shards), batch_size=1, num_workers=workers)
        loader.collate_fn = lambda samples: samples[0].truth.image_id
        loader.place = lambda: (1, first)
        return list(loader)

    assert batches(3) == batches(0)[3:]
