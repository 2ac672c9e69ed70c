"""Metrics on given predictions."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from glip_pl.metrics import LVISAP, PhraseRecall
from glip_pl.prompts import Prompt
from glip_pl.structures import Detections, Question, Truth
from parity.case import Case, Stage

# Metrics are kept in single precision.
ATOL = 1e-6
PROTOCOLS = {"separate": "any", "merged": "merged"}
LVIS_NAMES = {
    "AP": "map",
    "AP50": "map_50",
    "AP75": "map_75",
    "APs": "map_small",
    "APm": "map_medium",
    "APl": "map_large",
    "APr": "map_rare",
    "APc": "map_common",
    "APf": "map_frequent",
}


def check_recall(case: Case) -> Iterator[Stage]:
    """Compare the phrase recall of Flickr30k Entities by both protocols."""
    sentences = case.facts["sentences"].values()
    phrases = [phrase for texts in sentences for text in texts for phrase in text]
    types = sorted({name for phrase in phrases for name in phrase["phrase_type"]})
    for official, protocol in PROTOCOLS.items():
        metric = PhraseRecall((1, 5, 10, -1), protocol=protocol, types=types)
        for prediction in case.facts["predictions"]:
            found, question, truth = _sentence(case.facts, prediction)
            metric.update([found], [question], [truth])
        values = metric.compute()
        for k, by_type in case.facts["expected"][official].items():
            for name, expected in by_type.items():
                key = f"recall@{'all' if k == '-1' else k}" + ("" if name == "all" else f"/{name}")
                yield Stage(f"{official} {key}", abs(float(values[key]) - expected), ATOL)


def check_lvis(case: Case) -> Iterator[Stage]:
    """Compare the average precision of LVIS, with its limits per category and per image."""
    for name, expected in case.facts["expected"].items():
        protocol, _, limit = name.partition("_")
        metric = LVISAP(
            case.facts["dataset"],
            protocol=protocol,
            max_detections=int("".join(c for c in limit if c.isdigit())),
        )
        categories = [category["id"] for category in case.facts["dataset"]["categories"]]
        for image in case.facts["predictions"]:
            labels = torch.tensor([categories.index(c) for c in image["labels"]])
            found = Detections(_boxes(image["boxes"]), torch.tensor(image["scores"]), labels)
            question = _question(torch.tensor(categories))
            metric.update(
                [found], [question], [_truth(int(image["image_id"]), [], len(categories))]
            )
        values = metric.compute()
        for official, ours in LVIS_NAMES.items():
            deviation = abs(float(values[ours]) - expected[official])
            yield Stage(f"{name} {official}", deviation, ATOL)


def _sentence(
    facts: dict[str, Any], prediction: dict[str, Any]
) -> tuple[Detections, Question, Truth]:
    """Return the ranked boxes of a sentence's phrases, and the true ones."""
    phrases = facts["sentences"][prediction["image_id"]][prediction["sentence_id"]]
    boxes, shows, guesses, scores, named = [], [], [], [], []
    for k, phrase in enumerate(phrases):
        for box in facts["gt_boxes"][prediction["image_id"]][phrase["phrase_id"]]:
            boxes.append(box)
            shows.append([j == k for j in range(len(phrases))])
        ranked = prediction["boxes"][k]
        guesses += ranked
        scores += [1 / rank for rank in range(1, len(ranked) + 1)]
        named += [k] * len(ranked)
    types = tuple(tuple(phrase["phrase_type"]) for phrase in phrases)
    truth = replace(
        _truth(int(prediction["image_id"]), boxes, len(phrases)),
        shows=torch.tensor(shows),
        phrase_types=types,
    )
    found = Detections(_boxes(guesses), torch.tensor(scores), torch.tensor(named))
    return found, _question(torch.full((len(phrases),), -1)), truth


def _boxes(rows: list[list[float]]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float).reshape(-1, 4)


def _question(phrase_ids: Tensor) -> Question:
    count = len(phrase_ids)
    prompt = Prompt("a" * count, tuple(((k, k + 1),) for k in range(count)))
    mapped = torch.zeros(count, 1)
    return Question(prompt, mapped > 0, mapped, phrase_ids, (1, 1), (1, 1))


def _truth(image_id: int, boxes: list[list[float]], num_phrases: int) -> Truth:
    """Make a truth whose boxes show nothing yet."""
    shows = torch.zeros(len(boxes), num_phrases, dtype=torch.bool)
    return Truth(_boxes(boxes), shows, torch.zeros(len(boxes), dtype=torch.bool), image_id)
