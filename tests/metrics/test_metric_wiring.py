import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from command_line import parse
from helpers import CONFIGS, FakeTokenizer, targets_of, update, write_coco, write_image
from loaded_sets import loaded
from test_detection_metric import random_pairs
from test_metric_oracles import every_metric

from glip_pl.data import CategoryDetection, PhraseGrounding, ReferringExpressions, collate
from glip_pl.data.formats.common.caption_spans import NO_LINK_LEFT
from glip_pl.metrics import DetectionAP, GeneralizedReferring, PhraseRecall, ReferringAccuracy
from glip_pl.structures import Detections
from glip_pl.training.evaluation import Scores

BOX = [1, 2, 10, 20]
CAPTION = "a man and a dog"
MAN, DOG = [[0, 5]], [[10, 15]]


def write_captions(root, *images):
    """Write one image per caption with its annotations."""
    records, annotations = [], []
    for i, (caption, entries) in enumerate(images, start=1):
        write_image(root / "images" / f"{i}.png", 40, 60)
        size = {"height": 40, "width": 60}
        records.append({"id": i, "file_name": f"{i}.png", "caption": caption, **size})
        annotations += [{"image_id": i, **entry} for entry in entries]
    (root / "captions.json").write_text(json.dumps({"images": records, "annotations": annotations}))


def perfect(dataset):
    metric = dataset.make_metric()
    for target in targets_of(collate(list(dataset), FakeTokenizer())):
        box, phrase = target.truth.shows.nonzero().unbind(1)
        found = Detections(target.truth.boxes[box], torch.full((len(box),), 0.9), phrase)
        update(metric, found, target)
    return {name: float(value) for name, value in metric.compute().items()}


def test_the_metric_of_a_set_is_chosen_in_its_configuration(tmp_path):
    chosen = tmp_path / "sets.yaml"
    chosen.write_text(
        """
data:
  val:
    flickr:
      class_path: glip_pl.data.PhraseGrounding
      init_args:
        annotations: a.json
        metric:
          class_path: glip_pl.metrics.PhraseRecall
          init_args: {topk: [1, -1], protocol: merged, types: [people, scene]}
    grefcoco:
      class_path: glip_pl.data.ReferringExpressions
      init_args:
        annotations: a.json
        metric:
          class_path: glip_pl.metrics.GeneralizedReferring
          init_args: {score_threshold: 0.5}
    lvis:
      class_path: glip_pl.data.LvisDetection
      init_args: {annotations: a.json, ap: standard}
"""
    )

    data = parse(CONFIGS / "model/tiny.yaml", Path("data/shapes.yaml").resolve(), chosen).data
    sets = {name: entry.init_args for name, entry in data.val.items()}

    assert sets["flickr"].metric.init_args.protocol == "merged"
    assert sets["grefcoco"].metric.init_args.score_threshold == 0.5
    assert sets["lvis"].ap == "standard"


def test_categories_are_judged_by_ap(tmp_path):
    write_coco(tmp_path, {"a.png": [(1, BOX)]}, names={1: "cat"})

    metric = loaded(CategoryDetection("annotations/train.json"), tmp_path).make_metric()

    assert isinstance(metric, DetectionAP)
    assert metric.names == {1: "cat"}


def test_captions_are_judged_by_recall_and_sentences_by_accuracy():
    assert isinstance(PhraseGrounding("a.json").make_metric(), PhraseRecall)
    assert isinstance(ReferringExpressions("a.json").make_metric(), ReferringAccuracy)


def test_every_evaluation_gets_a_metric_of_its_own():
    dataset = PhraseGrounding("a.json", metric=PhraseRecall((1,)))

    first, second = dataset.make_metric(), dataset.make_metric()

    assert first is not second
    assert first.topk == second.topk == (1,)


def test_phrases_carry_the_types_of_their_annotations(tmp_path):
    entries = [
        {"bbox": BOX, "tokens_positive": DOG, "phrase_types": ["animals", "other"]},
        {"bbox": [30, 5, 9, 9], "tokens_positive": DOG, "phrase_types": ["animals"]},
        {"bbox": BOX, "tokens_positive": MAN, "phrase_types": "people"},
    ]
    write_captions(tmp_path, (CAPTION, entries))
    metric = PhraseRecall((1,), types=["people", "animals", "other", "scene"])
    dataset = loaded(PhraseGrounding("captions.json", metric=metric), tmp_path)

    assert dataset[0].truth.phrase_types == (("people",), ("animals", "other"))
    values = perfect(dataset)
    assert [values[f"recall@1/{t}"] for t in ("people", "animals", "other", "scene")] == [
        *(1, 1, 1, -1)
    ]


def test_captions_without_types_have_none(tmp_path):
    write_captions(tmp_path, (CAPTION, [{"bbox": BOX, "tokens_positive": DOG}]))

    assert loaded(PhraseGrounding("captions.json"), tmp_path)[0].truth.phrase_types == ()


def test_a_referring_sentence_is_one_phrase_whatever_its_spans(tmp_path):
    entries = [{"bbox": BOX, "tokens_positive": DOG}, {"bbox": [30, 5, 9, 9]}]
    write_captions(tmp_path, (CAPTION, entries))

    (sample,) = loaded(ReferringExpressions("captions.json"), tmp_path)

    assert sample.prompt.phrases == (CAPTION,)
    assert sample.truth.boxes.tolist() == [[1, 2, 11, 22], [30, 5, 39, 14]]
    assert sample.truth.shows.tolist() == [[True], [True]]


def test_a_sentence_that_speaks_of_nothing_stays(tmp_path):
    nothing = {"bbox": [0, 0, 0, 0], "empty": True, "category_id": -1, "tokens_positive": DOG}
    write_captions(tmp_path, (CAPTION, [nothing]), ("a cow", []), (CAPTION, [{"bbox": BOX}]))

    dataset = loaded(ReferringExpressions("captions.json", metric=GeneralizedReferring()), tmp_path)

    assert [len(sample.truth.boxes) for sample in dataset] == [0, 0, 1]
    assert dataset.problems == {}
    assert perfect(dataset) == {"precision": 1, "n_acc": 1, "t_acc": 1, "num_sentences": 3}


def test_a_sentence_that_lost_its_box_is_not_taken_for_one_of_nothing(tmp_path):
    write_captions(tmp_path, (CAPTION, [{"bbox": [0, 0, 0, 0]}]), (CAPTION, [{"bbox": BOX}]))

    dataset = loaded(ReferringExpressions("captions.json"), tmp_path)

    assert [sample.truth.image_id for sample in dataset] == [2]
    assert dataset.problems[NO_LINK_LEFT] == ["1 of 1.png"]


def test_a_blank_sentence_is_left_out(tmp_path):
    write_captions(tmp_path, (" ", [{"bbox": BOX}]), (CAPTION, [{"bbox": BOX}]))

    dataset = loaded(ReferringExpressions("captions.json"), tmp_path)

    assert dataset.problems["image without a caption"] == ["1 of 1.png"]


def test_categories_can_be_renamed_and_described(tmp_path):
    write_coco(tmp_path, {"a.png": [(1, BOX)]}, names={1: "RBC", 2: "WBC"})
    options = {
        "renamed": {1: "red blood cell"},
        "descriptions": {1: "a {name}, flat", 2: "many {name}"},
    }

    dataset = loaded(CategoryDetection("annotations/train.json", **options), tmp_path)

    assert dataset[0].prompt.caption == "a red blood cell, flat. many WBC"
    assert dataset[0].prompt.phrases == ("red blood cell", "WBC")
    assert dataset.names_by_id == {1: "red blood cell", 2: "WBC"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"renamed": {3: "cow"}}, "has a name for the category id 3"),
        ({"descriptions": {3: "a {name}"}}, r"'a \{name\}' for the category id 3"),
        (
            {"descriptions": {1: "a cat"}},
            r"'a cat' for the category id 1 .*a \{name\} here",
        ),
    ],
)
def test_words_for_categories_that_cannot_be_used_are_refused(options, message, tmp_path):
    write_coco(tmp_path, {"a.png": [(1, BOX)]}, names={1: "cat"})

    with pytest.raises(ValueError, match=message):
        loaded(CategoryDetection("annotations/train.json", **options), tmp_path)


@pytest.mark.slow
def test_metrics_can_be_imported_before_data():
    done = subprocess.run([sys.executable, "-c", "import glip_pl.metrics"], check=False)

    assert done.returncode == 0


WORKER = """
import sys
import torch
from torch import distributed
from test_detection_metric import random_pairs
from test_metric_oracles import every_metric

rank = int(sys.argv[1])
distributed.init_process_group("gloo", init_method=sys.argv[2], rank=rank, world_size=2)
# Shares of different sizes: the second process has two images.
pairs = random_pairs(12)
metrics = every_metric(pairs)
for found, target in pairs[:10] if rank == 0 else pairs[10:]:
    for metric in metrics:
        metric.update([found], [target.question], [target.truth])
values = [{k: float(v) for k, v in metric.compute().items()} for metric in metrics]
torch.save(values, sys.argv[3] + str(rank))
"""


@pytest.mark.slow
def test_two_gloo_processes_get_what_one_gets(tmp_path):
    script = tmp_path / "worker.py"
    script.write_text(WORKER)
    paths = os.pathsep.join([*sys.path, os.environ.get("PYTHONPATH", "")])
    places = [f"file://{tmp_path}/store", f"{tmp_path}/values"]
    workers = [
        subprocess.Popen(
            [sys.executable, str(script), str(rank), *places],
            env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        )
        for rank in range(2)
    ]
    pairs = random_pairs(12)
    alone = every_metric(pairs)
    for found, target in pairs:
        for metric in alone:
            update(metric, found, target)
    expected = [{k: float(v) for k, v in metric.compute().items()} for metric in alone]

    assert [worker.wait(120) for worker in workers] == [0, 0]
    for rank in range(2):
        assert torch.load(f"{places[1]}{rank}") == expected


def test_a_model_tested_on_other_data_is_scored_on_them_alone():
    scores = Scores()
    for name in ("first", "second"):
        scores.prepare("test", {name: SimpleNamespace(make_metric=PhraseRecall)})

    assert list(scores) == ["test/second"]
