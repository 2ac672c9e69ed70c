import json
import math
from fractions import Fraction

import numpy as np
import pytest
from helpers import ROOT
from jsonargparse import ArgumentParser
from PIL import Image

from glip_pl.data import GroundingDataModule
from glip_pl.data.shapes import ShapesBuilder
from glip_pl.data.shapes.render import PAINT, render, shape_mask
from glip_pl.data.shapes.scenes import (
    COLORS,
    HELD_OUT,
    PAIRS,
    SEEN,
    SHAPES,
    WORDS,
    Scene,
    Thing,
    detection_scene,
    relation_scene,
)

SIZE = 128


def random_stream(seed=0):
    return np.random.Generator(np.random.PCG64(seed))


@pytest.fixture(scope="module")
def relation_scenes():
    rng = random_stream()
    targets = [*SEEN, *HELD_OUT] * 12
    return [relation_scene(rng, SIZE, target) for target in targets]


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """The data set with a handful of scenes."""
    root = tmp_path_factory.mktemp("data") / "shapes"
    ShapesBuilder(num_train=12, num_val=3, num_test=8).build(root)
    return root


def annotations(root, name):
    return json.loads((root / "annotations" / f"{name}.json").read_text())


def understand(caption):
    """Read a caption by its grammar: target pair, direction and landmark pair."""
    words = caption.split()
    assert words[0] == "the"
    landmark = words.index("the", 1)
    return tuple(words[1:3]), words[3], tuple(words[landmark + 1 :])


def side_of(thing, landmark):
    """The side of a landmark that a thing is on: the direction in which it is further away."""
    (x, y), (u, v) = (((a + c) / 2, (b + d) / 2) for a, b, c, d in (thing.box, landmark.box))
    if abs(x - u) > abs(y - v):
        return "left" if x < u else "right"
    return "above" if y < v else "below"


def touches(thing, landmark):
    """Whether a few pixels part a thing from a landmark that it is in line with."""
    (a1, b1, a2, b2), (c1, d1, c2, d2) = thing.box, landmark.box
    across, down = max(c1 - a2, a1 - c2), max(d1 - b2, b1 - d2)
    centers_across, centers_down = abs(a1 + a2 - c1 - c2) / 2, abs(b1 + b2 - d1 - d2) / 2
    return (3 <= across <= 6 and centers_down <= 4) or (3 <= down <= 6 and centers_across <= 4)


def named(scene, pair):
    return [k for k, thing in enumerate(scene.things) if thing.pair == pair]


def chances(scene, keep):
    """Per caption, the chance to pick the thing meant when only `keep` of the phrase is known."""
    result = []
    for prompt, meant in scene.captions:
        target, side, landmark = understand(prompt.caption)
        choices = [
            k
            for k in named(scene, target)
            if any(
                touches(scene.things[k], mark)
                and keep(side_of(scene.things[k], mark) == side, mark.pair == landmark)
                for mark in scene.things
                if mark.pair != target
            )
        ]
        assert meant in choices
        result.append(Fraction(1, len(choices)))
    return result


def mean_chance(scenes, keep):
    found = [chance for scene in scenes for chance in chances(scene, keep)]
    return sum(found) / len(found)


def test_exactly_one_candidate_fits_each_phrase(relation_scenes):
    for scene in relation_scenes:
        for prompt, meant in scene.captions:
            target, side, landmark = understand(prompt.caption)
            (mark,) = named(scene, landmark)

            fits = [
                k
                for k in named(scene, target)
                if side_of(scene.things[k], scene.things[mark]) == side
            ]

            assert fits == [meant]


def test_the_thing_meant_stands_right_beside_its_landmark(relation_scenes):
    for scene in relation_scenes:
        for prompt, meant in scene.captions:
            (mark,) = named(scene, understand(prompt.caption)[2])

            assert touches(scene.things[meant], scene.things[mark])


def test_without_relation_and_landmark_one_in_four_is_right(relation_scenes):
    assert mean_chance(relation_scenes, lambda side, mark: True) == Fraction(1, 4)


def test_the_landmark_alone_leaves_two_candidates(relation_scenes):
    assert mean_chance(relation_scenes, lambda side, mark: mark) == Fraction(1, 2)


def test_the_side_alone_leaves_two_candidates(relation_scenes):
    assert mean_chance(relation_scenes, lambda side, mark: side) == Fraction(1, 2)


def test_the_whole_phrase_leaves_nothing_open(relation_scenes):
    assert mean_chance(relation_scenes, lambda side, mark: side and mark) == 1


def test_every_candidate_is_meant_once(relation_scenes):
    for scene in relation_scenes:
        meant = [k for _, k in scene.captions]

        assert sorted(meant) == named(scene, scene.things[meant[0]].pair)


def test_all_four_sides_are_as_likely(relation_scenes):
    sides = [understand(prompt.caption)[1] for s in relation_scenes for prompt, _ in s.captions]

    for side in ("left", "right", "above", "below"):
        # 108 scenes with 4 captions each: 108 expected, with a standard deviation of 10.
        assert abs(sides.count(side) - 108) < 40


def test_the_phrase_is_the_whole_caption(relation_scenes):
    prompt, _ = relation_scenes[0].captions[0]

    assert prompt.phrases == (prompt.caption,)


def test_captions_use_listed_words_only(relation_scenes):
    used = {
        word for s in relation_scenes for prompt, _ in s.captions for word in prompt.caption.split()
    }

    assert used == set(WORDS)


def test_no_boxes_overlap_or_leave_the_image(relation_scenes):
    rng = random_stream(1)
    for scene in [*relation_scenes, *(detection_scene(rng, SIZE, PAIRS) for _ in range(100))]:
        covered = np.zeros((SIZE, SIZE), dtype=int)
        for thing in scene.things:
            x1, y1, x2, y2 = thing.box
            assert 0 <= x1 < x2 <= SIZE
            assert 0 <= y1 < y2 <= SIZE
            covered[y1:y2, x1:x2] += 1

        assert covered.max() == 1


def test_each_colour_and_each_shape_is_held_out_once():
    colors, shapes = zip(*HELD_OUT, strict=True)

    assert sorted(colors) == sorted(COLORS)
    assert sorted(shapes) == sorted(SHAPES)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("width", [14, 27, 40])
def test_a_drawn_shape_reaches_all_four_sides_of_its_box(shape, width):
    height = width - 1

    assert shape_mask(shape, width, height).getbbox() == (0, 0, width, height)


@pytest.mark.parametrize("shape", SHAPES)
def test_nothing_is_painted_outside_the_box(shape):
    empty, box = Scene(()), (40, 50, 66, 75)
    before = np.asarray(render(empty, random_stream(), SIZE))
    after = np.asarray(render(Scene((Thing("red", shape, box),)), random_stream(), SIZE))

    rows, columns = (before != after).any(-1).nonzero()

    assert (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) == box


@pytest.mark.parametrize("color", COLORS)
def test_a_thing_is_painted_in_its_own_colour(color):
    scene = Scene((Thing(color, "square", (40, 40, 60, 60)),))
    red, green, blue = np.asarray(render(scene, random_stream(), SIZE))[50, 50].astype(int)

    nearest = min(COLORS, key=lambda name: math.dist(PAINT[name], (red, green, blue)))

    assert nearest == color


def test_training_and_ordinary_test_images_never_show_a_held_out_pair():
    rng = random_stream(2)

    shown = {thing.pair for _ in range(200) for thing in detection_scene(rng, SIZE, SEEN).things}

    assert shown == set(SEEN)


def test_a_scene_shows_what_it_must():
    rng = random_stream(3)

    for _ in range(20):
        scene = detection_scene(rng, SIZE, SEEN, must_show=HELD_OUT[:2])
        assert [thing.pair for thing in scene.things[:2]] == list(HELD_OUT[:2])


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_categories_of_ordinary_splits_are_the_seen_pairs(small, split):
    names = [category["name"] for category in annotations(small, split)["categories"]]

    assert names == [" ".join(pair) for pair in SEEN]


def test_the_unseen_split_names_and_annotates_held_out_pairs_only(small):
    unseen = annotations(small, "unseen")

    assert [category["name"] for category in unseen["categories"]] == [
        " ".join(pair) for pair in HELD_OUT
    ]
    ids = {category["id"] for category in unseen["categories"]}
    assert {box["category_id"] for box in unseen["annotations"]} <= ids
    assert {box["image_id"] for box in unseen["annotations"]} == {
        image["id"] for image in unseen["images"]
    }


def test_ids_of_seen_and_held_out_categories_do_not_meet(small):
    seen, unseen = (
        {category["id"] for category in annotations(small, split)["categories"]}
        for split in ("train", "unseen")
    )

    assert not seen & unseen
    assert len(seen | unseen) == len(PAIRS)


def test_detection_boxes_hold_the_colour_that_their_category_names(small):
    train = annotations(small, "train")
    names = {category["id"]: category["name"] for category in train["categories"]}
    files = {image["id"]: image["file_name"] for image in train["images"]}

    for box in train["annotations"]:
        pixels = np.asarray(Image.open(small / "images" / files[box["image_id"]])).astype(int)
        x, y, width, height = box["bbox"]
        # The centre of gravity lies inside each of the three shapes.
        middle = pixels[y + round(height * 0.55), x + width // 2]
        nearest = min(COLORS, key=lambda name: math.dist(PAINT[name], middle))
        assert nearest == names[box["category_id"]].split()[0]


@pytest.mark.parametrize("split", ["train", "val", "test", "unseen"])
def test_referring_splits_ask_for_the_pairs_that_they_should(small, split):
    records = annotations(small, f"referring_{split}")["images"]

    targets = {understand(record["caption"])[0] for record in records}

    assert targets <= set(HELD_OUT if split == "unseen" else SEEN)


def test_a_referring_image_has_four_records_with_different_boxes(small):
    train = annotations(small, "referring_train")

    assert len(train["images"]) == len(train["annotations"]) == 4 * 12
    for k in range(0, 48, 4):
        assert len({record["file_name"] for record in train["images"][k : k + 4]}) == 1
        assert len({tuple(box["bbox"]) for box in train["annotations"][k : k + 4]}) == 4


def test_positive_characters_span_the_caption(small):
    train = annotations(small, "referring_train")

    for record, box in zip(train["images"], train["annotations"], strict=True):
        assert box["image_id"] == record["id"]
        assert box["tokens_positive"] == [[0, len(record["caption"])]]


def test_the_same_seed_gives_the_same_bytes(small, tmp_path):
    ShapesBuilder(num_train=12, num_val=3, num_test=8).build(tmp_path / "again")

    files = sorted(path.relative_to(small) for path in small.rglob("*") if path.is_file())
    assert len(files) == 1 + 8 + 2 * (12 + 3 + 8 + 8)
    for path in files:
        assert (small / path).read_bytes() == (tmp_path / "again" / path).read_bytes()


def test_another_seed_gives_other_scenes(small, tmp_path):
    ShapesBuilder(seed=1, num_train=12, num_val=3, num_test=8).build(tmp_path / "other")

    assert annotations(small, "train") != annotations(tmp_path / "other", "train")


def test_a_data_set_that_is_there_is_left_alone(tmp_path):
    builder = ShapesBuilder(num_train=1, num_val=1, num_test=1)
    builder.build(tmp_path / "shapes")
    (tmp_path / "shapes" / "note.txt").write_text("mine")

    builder.build(tmp_path / "shapes")

    assert (tmp_path / "shapes" / "note.txt").exists()


def test_other_arguments_replace_the_data_set(tmp_path):
    ShapesBuilder(num_train=1, num_val=1, num_test=1).build(tmp_path / "shapes")

    ShapesBuilder(num_train=2, num_val=1, num_test=1).build(tmp_path / "shapes")

    assert len(annotations(tmp_path / "shapes", "train")["images"]) == 2


def test_a_folder_with_other_files_is_never_overwritten(tmp_path):
    (tmp_path / "thesis.txt").write_text("important")

    with pytest.raises(
        ValueError, match=r"holds files that are not the shapes data set.*data\.root"
    ):
        ShapesBuilder(num_train=1, num_val=1, num_test=1).build(tmp_path)

    assert (tmp_path / "thesis.txt").read_text() == "important"


def test_an_interrupted_build_leaves_nothing_behind(tmp_path, monkeypatch):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("glip_pl.data.shapes.builder._mdetr", interrupt)

    with pytest.raises(KeyboardInterrupt):
        ShapesBuilder(num_train=1, num_val=1, num_test=1).build(tmp_path / "shapes")

    assert list(tmp_path.iterdir()) == []


def test_an_image_too_small_for_a_scene_is_refused():
    with pytest.raises(ValueError, match=r"size 64 leaves no room.*at least 128"):
        ShapesBuilder(size=64)


@pytest.mark.parametrize(("name", "captions"), [("shapes", 1), ("shapes_referring", 4)])
def test_the_shipped_configuration_builds_and_loads_the_data_set(name, captions, tmp_path):
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(GroundingDataModule, "data")
    parser.add_argument("--trainer", type=dict)  # A file may also say how long to train.
    few = {"num_train": 4, "num_val": 2, "num_test": 3}
    shipped = ROOT / "data" / f"{name}.yaml"
    given = [f"--data.root={tmp_path / 'shapes'}"]
    given += [f"--data.builder.init_args.{key}={value}" for key, value in few.items()]
    # The fragment is meant for a parser that takes configuration files.
    parser.add_argument("--config", action="config")

    data = parser.instantiate_classes(parser.parse_args([f"--config={shipped}", *given])).data
    data.prepare_data()
    data.setup("fit")
    data.setup("test")

    assert len(data.train[0].records) == 4 * captions
    assert [len(dataset.records) for dataset in data.val.values()] == [2 * captions]
    assert [len(dataset.records) for dataset in data.test.values()] == [3 * captions] * 2
    assert not any(d.problems for d in (*data.train, *data.val.values(), *data.test.values()))
