"""``glip blend``: a sweep between two models over several sets, its curve, and the chosen model."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from glip_pl.blending.blend import blend_states
from glip_pl.data.descriptors import read_descriptor
from glip_pl.inference.chart import line_chart
from glip_pl.inference.scoring import Split, score_sets
from glip_pl.model import GLIP
from glip_pl.training.from_weights import open_task, write_checkpoint

Scores = dict[float, dict[str, float]]


def blend_weights(
    first: str,
    second: str,
    *,
    alphas: Sequence[float],
    sets: Sequence[str],
    split: Split,
    output: Path,
) -> dict[str, Any]:
    """Score the models between two on some sets, and write the best one.

    The best is the one whose worst set is the closest to what the better of the two reaches there.
    With one alpha or without sets nothing is chosen, and the first alpha is written.

    Args:
        first: Weights before tuning.
        second: Weights after it.
        alphas: What to try; 0 is the first model, 1 the second.
        sets: Descriptions of data; see `read_descriptor`.
        split: Which sets of them.
        output: Folder for ``blend.json``, ``blend.png`` and ``blend.ckpt``.

    Returns:
        What ``blend.json`` holds.

    Raises:
        ValueError: The two are no weights of one model, or an alpha lies outside of 0 to 1.
    """
    if not alphas:
        raise ValueError("glip blend needs --alpha; give one number from 0 to 1, or several")
    task, other = open_task(first), open_task(second)
    before, after = (_copied(t.model.state_dict()) for t in (task, other))
    for alpha in alphas:
        blend_states(before, after, alpha)  # Refused before anything is computed.
    tried = sorted({*alphas, *((0.0, 1.0) if sets and len(alphas) > 1 else ())})
    scores: Scores = {}
    for alpha in tried if sets else ():
        task.model.load_state_dict(blend_states(before, after, alpha))
        scores[alpha] = _scores(task.model, sets, split)
    chosen = alphas[0] if len(alphas) == 1 or not scores else best_alpha(scores)
    record = {
        "first": first,
        "second": second,
        "split": split,
        "scores": {str(alpha): of for alpha, of in scores.items()},
        "chosen": chosen,
    }
    output.mkdir(parents=True, exist_ok=True)
    (output / "blend.json").write_text(json.dumps(record, indent=1) + "\n")
    if scores:
        lines = {n: [(a, scores[a][n]) for a in scores] for n in next(iter(scores.values()))}
        chart = line_chart(lines, title=f"chosen: alpha {chosen}", x="alpha", y="AP")
        Image.fromarray(chart).save(output / "blend.png")
    chosen_state = blend_states(before, after, chosen)
    write_checkpoint(other, chosen_state, output / "blend.ckpt", like=second)
    return record


def _scores(model: GLIP, sets: Sequence[str], split: Split) -> dict[str, float]:
    """Return the first score of every set that the descriptions have."""
    return {
        f"{Path(source).stem}/{name}": next(iter(values.values()))
        for source in sets
        for name, values in score_sets(
            model, read_descriptor(source, advice="--sets"), split
        ).items()
    }


def _copied(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in state.items()}


def best_alpha(scores: Scores) -> float:
    """Choose the alpha whose worst set loses the smallest share of the better end's score."""
    ends = [scores[min(scores)], scores[max(scores)]]
    most = {name: max(end[name] for end in ends) for name in ends[0]}

    def kept(alpha: float) -> tuple[float, float]:
        shares = [scores[alpha][n] / top if top > 0 else 1.0 for n, top in most.items()]
        return min(shares), sum(shares)

    return max(scores, key=kept)
