from dataclasses import replace

import pytest
import torch

from glip_pl.head import GroundingOutput
from glip_pl.inference.postprocess import PostProcess, phrase_scores
from glip_pl.prompts import PromptTemplate
from glip_pl.structures import Detections, Question

SURE = 20.0  # A logit whose sigmoid is one.


def logit(p):
    return torch.logit(torch.tensor(p))


def question(positive_map, size=(100, 100), original_size=(100, 100)):
    count = len(positive_map)
    return Question(
        prompt=PromptTemplate().join(["x"] * count),
        positive_map=torch.tensor(positive_map, dtype=torch.bool),
        weights=torch.tensor(positive_map, dtype=torch.float),
        phrase_ids=torch.arange(count),
        size=size,
        original_size=original_size,
    )


def output(boxes, logits, centerness=None):
    boxes, logits = torch.tensor(boxes, dtype=torch.float), torch.as_tensor(logits)
    center = torch.full((len(boxes),), SURE) if centerness is None else torch.tensor(centerness)
    return GroundingOutput(logits[None], boxes[None], center[None], boxes[None], (len(boxes),))


def test_a_phrase_scores_the_mean_of_its_tokens():
    logits = torch.stack([logit(0.2), logit(0.4), logit(0.9)])[None]

    mapped = torch.tensor([[1, 1, 0], [0, 0, 1]])

    scores = phrase_scores(logits, mapped > 0, mapped.float())

    assert scores[0].tolist() == pytest.approx([0.3, 0.9])


def test_a_phrase_compared_as_a_whole_scores_the_weighted_mean_of_its_logits():
    logits = torch.tensor([[2.0, -1.0, 0.5]])
    weights = torch.tensor([[0.75, 0.25, 0.0], [0.0, 0.0, 1.0]])

    scores = phrase_scores(logits, weights > 0, weights, "logits")

    assert torch.allclose(scores, torch.tensor([[1.25, 0.5]]).sigmoid())


def test_the_model_says_how_scores_of_tokens_become_those_of_phrases():
    told = replace(output([[0, 0, 10, 10]], [[2.0, -1.0]]), told="phrases")
    asked = question([[1, 1]])
    asked = replace(asked, weights=torch.tensor([[0.75, 0.25]]))

    (whole,) = PostProcess()(told, [asked])
    (mean,) = PostProcess(aggregate="mean")(told, [asked])

    sigmoid = torch.tensor([1.25, 2.0, -1.0]).sigmoid().tolist()
    assert whole.scores.tolist() == pytest.approx([sigmoid[0] ** 0.5], abs=1e-4)
    assert mean.scores.tolist() == pytest.approx([(sigmoid[1] / 2 + sigmoid[2] / 2) ** 0.5])


def test_the_score_is_the_geometric_mean_with_centerness():
    (found,) = PostProcess()(
        output([[0, 0, 10, 10]], [[logit(0.64)]], [float(logit(0.25))]), [question([[1]])]
    )

    assert found.scores.tolist() == pytest.approx([0.4])


def test_of_two_overlapping_boxes_of_a_phrase_the_better_stays():
    boxes = [[0, 0, 10, 10], [0, 0, 10, 9], [50, 50, 60, 60]]
    (found,) = PostProcess()(
        output(boxes, [[logit(0.5)], [logit(0.8)], [logit(0.3)]]), [question([[1]])]
    )

    assert found.boxes.tolist() == [boxes[1], boxes[2]]


def test_boxes_of_different_phrases_do_not_suppress_each_other():
    boxes = [[0, 0, 10, 10], [0, 0, 10, 10]]
    logits = torch.tensor([[2.0, -SURE], [-SURE, 1.0]])
    (found,) = PostProcess()(output(boxes, logits), [question([[1, 0], [0, 1]])])

    assert found.phrases.tolist() == [0, 1]


def test_boxes_are_clipped_and_carried_to_the_original_image():
    (found,) = PostProcess()(
        output([[-5, 0, 60, 40]], [[torch.tensor(1.0)]]),
        [question([[1]], size=(50, 50), original_size=(100, 200))],
    )

    assert found.boxes.tolist() == [[0, 0, 200, 80]]


def test_scores_at_the_threshold_are_dropped():
    (found,) = PostProcess(score_threshold=0.5)(
        output([[0, 0, 9, 9], [20, 0, 29, 9]], [[torch.tensor(0.0)], [torch.tensor(0.1)]]),
        [question([[1]])],
    )

    assert len(found.scores) == 1


def test_no_more_than_the_limit_are_kept_and_they_are_the_best():
    boxes = [[20 * i, 0, 20 * i + 10, 10] for i in range(4)]
    logits = [[torch.tensor(float(i))] for i in range(4)]
    (found,) = PostProcess(max_detections=2)(output(boxes, logits), [question([[1]])])

    assert found.boxes[:, 0].tolist() == [60, 40]


def test_only_the_best_phrase_of_a_place_is_kept_when_asked():
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 9], [50, 50, 60, 60]])
    found = Detections(boxes, torch.tensor([0.4, 0.9, 0.5]), torch.tensor([0, 1, 0]))

    assert found.best_of_each_place().phrases.tolist() == [1, 0]
