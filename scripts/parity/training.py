"""A training step: assignments, targets, losses and the gradient of every parameter."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from fusion_plugins.deep import DeepFusion
from glip_pl.boxes import decode, inclusive
from glip_pl.data.collate import collate
from glip_pl.head import GroundingOutput
from glip_pl.matching import ATSSMatcher
from glip_pl.matching.atss import centerness_target
from glip_pl.model import GLIP
from glip_pl.prompts import Prompt
from glip_pl.structures import Batch, Sample, Truth
from glip_pl.training.criterion import InclusiveCriterion
from glip_pl.weights.official.conversion import official_tensors
from parity.case import Case, Stage, compare, differing
from parity.recipe import recipe_image, recipe_task

# Of a loss and of a gradient, relative to the reference; of a gradient, absolute as well.
LOSS_RTOL, GRAD_RTOL, GRAD_ATOL = 1e-4, 2e-3, 1e-5
# Our terms: their weight in the sum, and the official name.
TERMS = {
    "token": (1.0, "dot_product_token"),
    "giou": (2.0, "reg"),
    "centerness": (1.0, "centerness"),
}

Gradients = dict[str, Tensor]


def check_training(case: Case) -> Iterator[Stage]:
    """Compare the losses of a batch with all dropout off, and what they teach each parameter.

    Gradients are computed in fp32 and again in fp64, and each is compared by the nearer of both:
    where a number lies near a kink, such as a ReLU's zero, rounding decides on which side it falls,
    and with it the gradient of what came before. The reference is in fp32, and falls here with the
    one and there with the other.
    """
    facts, arrays = case.facts, case.arrays
    task = recipe_task(facts["model"])
    batch = collate([_sample(sample) for sample in facts["samples"]], task.model.text.tokenizer)
    yield differing("padded", iter([(list(batch.images.shape[-2:]), facts["padded"])]))
    real = batch.tokens.ids.shape[1]
    rows = torch.cat(
        [
            truth.shows.float() @ question.positive_map.float()
            for question, truth in zip(batch.questions, batch.known(), strict=True)
        ]
    )
    if "positive_map" in arrays:
        yield compare("positive_map", rows, arrays["positive_map"][:, :real], atol=0)
    output, terms = _step(task.model, batch)
    if "gt_index_per_anchor" in arrays:
        yield from _positives(case, output, batch)
    for term, (weight, name) in TERMS.items():
        reference = facts["losses"][f"loss_{name}"]
        deviation = abs(float(terms[term].detach()) * weight - reference)
        yield Stage(f"loss_{name}", deviation, LOSS_RTOL * abs(reference))
    single = _gradients(task.model)
    task.double().zero_grad()
    _step(task.model, batch)
    yield from _compare_gradients(case, [single, _gradients(task.model)])


def _step(model: GLIP, batch: Batch) -> tuple[GroundingOutput, dict[str, Tensor]]:
    """Run a batch forward and backward."""
    output = model(batch.images, batch.mask, batch.tokens)
    criterion = InclusiveCriterion(ATSSMatcher())
    terms = criterion(output, batch.questions, batch.known(), batch.tokens.mask)
    torch.stack([weight * terms[term] for term, (weight, _) in TERMS.items()]).sum().backward()
    return output, terms


def _positives(case: Case, output: GroundingOutput, batch: Batch) -> Iterator[Stage]:
    """Compare which anchors take a box, and what is wanted of and predicted at them."""
    arrays = case.arrays
    criterion = InclusiveCriterion(ATSSMatcher())
    objects = criterion.objects(batch.questions, batch.known())
    matching = criterion.match(output, objects)
    yield compare("gt_index_per_anchor", matching, arrays["gt_index_per_anchor"], atol=0)
    taken = matching >= 0
    yield differing("num_pos", iter([(int(taken.sum()), case.facts["num_pos"])]))
    places = taken.flatten().nonzero().flatten()
    yield compare("pos_flat_index", places, arrays["pos_flat_index"], atol=0)
    valid = batch.tokens.mask[taken.nonzero()[:, 0]]
    rows = arrays["dot_pos_rows"][:, : valid.shape[1]]
    yield compare("dot_pos_rows", output.logits[taken][valid], rows[valid])
    yield case.compare("pos_pred_centerness", output.centerness[taken])
    priors = output.priors[taken]
    # Offsets are only ever decoded here, so the reference's are compared by where they lead.
    predicted = decode(priors, arrays["pos_pred_reg"])
    yield compare("pos_pred_reg, decoded", output.boxes[taken], predicted)
    truth = torch.cat([o.boxes[m[m >= 0]] for o, m in zip(objects, matching, strict=True)])
    yield compare("pos_reg_targets, decoded", truth, decode(priors, arrays["pos_reg_targets"]))
    target = centerness_target(inclusive(priors), inclusive(truth))
    yield case.compare("pos_centerness_targets", target)


def _gradients(model: GLIP) -> Gradients:
    """Return the gradient of every parameter by official name, zeros where none reached it."""
    gradients: Gradients = {}
    for name, parameter in model.named_parameters():
        gradient = parameter.grad if parameter.grad is not None else torch.zeros_like(parameter)
        deep = isinstance(model.fusion, DeepFusion)
        gradients |= official_tensors(name, gradient.double(), deep=deep)
    return gradients


def _compare_gradients(case: Case, either: list[Gradients]) -> Iterator[Stage]:
    """Compare the norm and the sum of every gradient, and one gradient as a whole."""
    facts, arrays = case.facts, case.arrays
    total = facts["total_grad_norm"]
    norms = [sum(float(g.pow(2).sum()) for g in grads.values()) ** 0.5 for grads in either]
    yield Stage("total_grad_norm", min(abs(n - total) for n in norms), GRAD_RTOL * total)
    if "grad_norm" not in arrays:
        return
    worst_norm = worst_sum = 0.0
    for k, name in enumerate(facts["param_names"]):
        norm, total = float(arrays["grad_norm"][k]), float(arrays["grad_sum"][k])
        if norm != norm or name.startswith("rpn.head.cls_logits."):
            continue  # No gradient reaches it there; here it does not exist.
        if name not in either[0]:
            yield Stage(f"gradient of {name} is missing", float("inf"), 0.0)
            continue
        ours = [gradients[name] for gradients in either]
        scale = GRAD_RTOL * norm + GRAD_ATOL
        worst_norm = max(worst_norm, min(abs(float(g.norm()) - norm) for g in ours) / scale)
        # A sum may cancel; its rounding grows with the root of the count.
        spread = scale * ours[0].numel() ** 0.5
        worst_sum = max(worst_sum, min(abs(float(g.sum()) - total) for g in ours) / spread)
    yield Stage("grad_norm, of what is allowed", worst_norm, 1.0)
    yield Stage("grad_sum, of what is allowed", worst_sum, 1.0)
    first = min(
        (name for name in either[0] if name.endswith(".offset.weight")),
        key=lambda name: int(name.split(".")[3]),
    )
    reference = arrays["grad_slice_offset0"].double()
    step = either[0][first].shape[1] // reference.shape[1]
    distances = [float((g[first][:, ::step] - reference).norm()) for g in either]
    tolerance = GRAD_RTOL * float(reference.norm()) + GRAD_ATOL
    yield Stage("grad_slice_offset0, norm", min(distances), tolerance)


def _sample(facts: dict[str, Any]) -> Sample:
    """Make a sample of ours; the reference's boxes have inclusive ends."""
    spans = [tuple(tuple(span) for span in phrase) for phrase in facts["tokens_positive"]]
    phrases = list(dict.fromkeys(spans))
    boxes = torch.tensor(facts["boxes"]) + torch.tensor([0.0, 0.0, 1.0, 1.0])
    shows = torch.zeros(len(boxes), len(phrases), dtype=torch.bool)
    for box, phrase in enumerate(spans):
        shows[box, phrases.index(phrase)] = True
    return Sample(
        image=recipe_image(facts["h"], facts["w"], facts["seed"]),
        prompt=Prompt(facts["caption"], tuple(phrases)),  # type: ignore[arg-type]
        phrase_ids=torch.full((len(phrases),), -1),
        original_size=(facts["h"], facts["w"]),
        truth=Truth(boxes, shows, torch.zeros(len(boxes), dtype=torch.bool), image_id=0),
    )
