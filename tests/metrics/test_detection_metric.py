import contextlib
import io

import pytest
import torch
from helpers import make_target, update
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from glip_pl.metrics import DetectionAP
from glip_pl.metrics.coco_ap import SUMMARY, original_boxes
from glip_pl.prompts import PromptTemplate
from glip_pl.structures import Detections

# Ids have gaps, as COCO's do.
NAMES = {2: "cat", 3: "dog", 7: "bird"}
BOX = (10.0, 20.0, 60.0, 90.0)


def target_of(boxes, phrases, *, image_id=1, crowd=(), size=(480, 640), original=(480, 640)):
    prompt = PromptTemplate().join(list(NAMES.values()))
    target = make_target(
        boxes, phrases, prompt, list(NAMES), image_id=image_id, size=size, original=original
    )
    return target.but(crowd=torch.tensor([k in crowd for k in range(len(boxes))], dtype=torch.bool))


def make_detections(boxes, scores, phrases):
    return Detections(
        boxes=torch.tensor(boxes, dtype=torch.float).reshape(-1, 4),
        scores=torch.tensor(scores, dtype=torch.float),
        phrases=torch.tensor(phrases, dtype=torch.long),
    )


NOTHING = make_detections([], [], [])


def result(*pairs):
    metric = DetectionAP(NAMES)
    for detections, target in pairs:
        update(metric, detections, target)
    return {name: float(value) for name, value in metric.compute().items()}


def random_pairs(count):
    """Images with jittered, missed, misnamed and invented boxes, some crowds and some empty."""
    torch.manual_seed(0)
    pairs = []
    for image_id in range(100, 100 + count):
        number = int(torch.randint(0, 6, ()))
        corner, extent = torch.rand(number, 2) * 300, 8 + torch.rand(number, 2) ** 2 * 250
        boxes = torch.cat([corner, corner + extent], dim=1)
        phrases = torch.randint(0, 3, (number,))
        crowd = [k for k in range(number) if torch.rand(()) < 0.15]
        target = target_of(boxes.tolist(), phrases.tolist(), image_id=image_id, crowd=crowd)
        guesses = boxes.repeat(2, 1) + torch.randn(2 * number, 4) * 6
        guesses = torch.cat([guesses, torch.tensor([[5.0, 5.0, 80.0, 70.0]])])
        named = torch.cat([phrases, torch.randint(0, 3, (number + 1,))])
        pairs.append((Detections(guesses, torch.rand(len(guesses)), named), target))
    return pairs


def pycocotools_summary(pairs):
    ids = list(NAMES)
    truth, found = [], []
    for detections, target in pairs:
        for g, k in target.truth.shows.nonzero().tolist():
            x1, y1, x2, y2 = target.truth.boxes[g].tolist()
            truth.append(
                {
                    "id": len(truth) + 1,
                    "image_id": target.truth.image_id,
                    "category_id": ids[k],
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": (x2 - x1) * (y2 - y1),
                    "iscrowd": int(target.truth.crowd[g]),
                }
            )
        for box, score, k in zip(
            detections.boxes.tolist(), detections.scores, detections.phrases, strict=True
        ):
            x1, y1, x2, y2 = box
            found.append(
                {
                    "image_id": target.truth.image_id,
                    "category_id": ids[k],
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "score": float(score),
                }
            )
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "images": [{"id": target.truth.image_id} for _, target in pairs],
            "annotations": truth,
            "categories": [{"id": k, "name": name} for k, name in NAMES.items()],
        }
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(found), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    precision = evaluation.eval["precision"][:, :, :, 0, -1]
    per_class = {
        f"class/{name}": precision[:, :, k].mean() for k, name in enumerate(NAMES.values())
    }
    return dict(zip(SUMMARY, evaluation.stats[:6], strict=True)) | per_class


def test_it_agrees_with_pycocotools():
    pairs = random_pairs(40)
    expected = pycocotools_summary(pairs)

    assert 0.1 < expected["map"] < 0.9
    # torchmetrics keeps values in single precision.
    assert result(*pairs) == pytest.approx(expected, abs=1e-6)


def test_perfect_detections_score_one():
    detections = make_detections([BOX], [0.9], [1])

    values = result((detections, target_of([BOX], [1])))

    assert values["map"] == values["map_50"] == values["map_75"] == values["class/dog"] == 1


def test_a_size_or_category_without_true_boxes_is_minus_one():
    values = result((make_detections([BOX], [0.9], [1]), target_of([BOX], [1])))

    # 50 x 70 pixels is medium: more than 32², less than 96².
    assert values["map_medium"] == 1
    assert values["map_small"] == values["map_large"] == -1
    assert values["class/cat"] == values["class/bird"] == -1


def test_finding_nothing_scores_zero():
    assert result((NOTHING, target_of([BOX], [1])))["map"] == 0


def test_false_alarms_without_any_true_box_leave_the_score_undefined():
    values = result((make_detections([BOX], [0.9], [1]), target_of([], [])))

    assert set(values.values()) == {-1}


def test_no_image_leaves_the_score_undefined():
    assert set(result().values()) == {-1}


def test_the_keys_are_the_same_with_and_without_images():
    assert result().keys() == result(*random_pairs(3)).keys()


def test_a_better_scored_false_alarm_in_an_empty_image_halves_the_precision():
    alarm = make_detections([BOX], [0.9], [0])
    right = make_detections([BOX], [0.5], [0])

    values = result(
        (alarm, target_of([], [], image_id=1)), (right, target_of([BOX], [0], image_id=2))
    )

    assert values["map"] == pytest.approx(0.5)


def test_a_box_that_shows_two_phrases_is_wanted_for_both():
    target = target_of([BOX], [0])
    target.truth.shows[0, 1] = True

    values = result((make_detections([BOX], [0.9], [0]), target))

    assert values["class/cat"] == 1
    assert values["class/dog"] == 0


def test_crowds_are_neither_wanted_nor_false_alarms():
    crowd, single = (0.0, 0.0, 200.0, 200.0), (300.0, 300.0, 350.0, 350.0)
    target = target_of([crowd, single], [0, 0], crowd=[0])
    detections = make_detections([(10, 10, 40, 40), single], [0.9, 0.5], [0, 0])

    assert result((detections, target))["class/cat"] == 1


def test_true_boxes_are_carried_to_the_image_file():
    target = target_of([BOX], [0], size=(100, 100), original=(200, 300))

    assert original_boxes(*target).tolist() == [[30, 40, 180, 180]]


def test_detections_are_compared_in_pixels_of_the_image_file():
    target = target_of([BOX], [0], size=(100, 100), original=(200, 300))

    assert result((make_detections([(30, 40, 180, 180)], [0.9], [0]), target))["map"] == 1


def test_sizes_are_those_of_the_image_file():
    target = target_of([(0, 0, 20, 20)], [0], size=(100, 100), original=(1000, 1000))

    values = result((make_detections([(0, 0, 200, 200)], [0.9], [0]), target))

    assert values["map_large"] == 1
    assert values["map_small"] == -1


def test_reset_forgets_all_images():
    metric = DetectionAP(NAMES)
    update(metric, NOTHING, target_of([BOX], [0]))
    metric.reset()
    update(metric, make_detections([BOX], [0.9], [0]), target_of([BOX], [0]))

    assert metric.compute()["map"] == 1


def test_a_prompt_of_free_text_is_refused():
    metric = DetectionAP({2: "cat"})

    with pytest.raises(ValueError, match=r"category id 3, which has no name.*PhraseRecall"):
        update(metric, NOTHING, target_of([BOX], [0]))


@pytest.mark.parametrize("split", [0, 3, 17])
def test_any_split_among_processes_gives_the_same_result(split):
    pairs = random_pairs(20)
    here, there = DetectionAP(NAMES), DetectionAP(NAMES)
    for k, (detections, target) in enumerate(pairs):
        update(here if k < split else there, detections, target)
    # What two processes would exchange: the tables of the states, in the order of their names.
    sent = iter([torch.cat(getattr(there, state)) for state in there.metric_state])
    here.dist_sync_fn = lambda table, group=None: [table, next(sent)]
    here.distributed_available_fn = lambda: True

    gathered = {name: float(value) for name, value in here.compute().items()}

    assert gathered == result(*pairs)
