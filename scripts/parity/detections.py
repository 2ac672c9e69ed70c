"""Detections of both sides, and questions in the words of official GLIP."""

import torch

from glip_pl.boxes import inclusive
from glip_pl.prompts import Prompt
from glip_pl.structures import Detections, Question
from parity.case import Stage


def unmatched(
    name: str,
    found: Detections,
    reference: Detections,
    labels: list[int],
    *,
    box: float = 0.05,
    score: float = 1e-3,
) -> Stage:
    """Count the detections of either side that have no partner on the other."""
    ours = inclusive(found.boxes).double()
    same = torch.tensor(labels)[found.phrases][:, None] == reference.phrases.long()
    near = (ours[:, None] - reference.boxes.double()).abs().amax(-1) <= box
    alike = (found.scores[:, None].double() - reference.scores.double()).abs() <= score
    free = same & near & alike
    matched = 0
    for row in range(len(free)):
        (partners,) = free[row].nonzero(as_tuple=True)
        if len(partners):
            matched += 1
            free[:, partners[0]] = False
    return Stage(f"{name} unmatched", float(max(free.shape) - matched), 0.0)


def label_question(
    labels: dict[int, list[int]], size: tuple[int, int], num_tokens: int
) -> Question:
    """Make a question that tells the tokens of each label."""
    positive_map = torch.zeros(len(labels), num_tokens, dtype=torch.bool)
    for row, places in enumerate(labels.values()):
        positive_map[row, places] = True
    weights = positive_map / positive_map.sum(-1, keepdim=True)
    return Question(Prompt("", ()), positive_map, weights, torch.tensor(list(labels)), size, size)
