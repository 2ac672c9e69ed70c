"""Losses of the Grounding DINO family against transformers', and the two faults of the latter."""

import copy
from dataclasses import dataclass, replace

import pytest
import torch
from helpers import Target, make_target
from parity import dino_oracle as small
from safetensors.torch import load_file
from transformers.loss.loss_grounding_dino import (
    GroundingDinoHungarianMatcher,
    GroundingDinoImageLoss,
)
from transformers.models.grounding_dino.modeling_grounding_dino import build_label_maps

from glip_pl.boxes import to_cxcywh
from glip_pl.matching import HungarianMatcher
from glip_pl.model import GLIP
from glip_pl.prompts.spans import positive_map
from glip_pl.training.criterion import GroundingCriterion
from glip_pl.training.losses import token_target
from glip_pl.weights.transformers_form import from_transformers

NAMES = (("hair drier", "person"), ("cat", "zebra crossing"))
SIZES = ((128, 192), (128, 128))
BOXES = (
    [[10.0, 20, 60, 90], [100, 5, 180, 120], [30, 30, 70, 50]],
    [[5.0, 5, 50, 100], [60, 40, 120, 90]],
)
SHOWN = ([0, 1, 1], [1, 0])
# As transformers weighs; mmdetection counts the match 2 and the loss 1.
WEIGHTS = {"token": 2.0, "l1": 5.0, "giou": 2.0}
THEIRS = {"token": "loss_ce", "l1": "loss_bbox", "giou": "loss_giou"}


@dataclass(frozen=True)
class Both:
    """The same model on both sides, the same images, and what is in them."""

    theirs: torch.nn.Module
    own: GLIP
    given: small.Inputs
    targets: list

    def labels(self):
        """The truth in the words of transformers."""
        return [
            {
                "class_labels": torch.tensor(shown),
                "boxes": to_cxcywh(torch.tensor(boxes)) / torch.tensor([width, height] * 2),
            }
            for boxes, shown, (height, width) in zip(BOXES, SHOWN, SIZES, strict=True)
        ][: len(self.targets)]


@pytest.fixture(scope="module", params=small.FAMILIES)
def models(request, tmp_path_factory):
    theirs = small.oracle(request.param, auxiliary_loss=True)
    own = small.ours(theirs, small.save(theirs, tmp_path_factory.mktemp("dino") / "model"))
    return theirs, own


@pytest.fixture(params=[1, 2])
def both(request, models):
    theirs, own = models
    given = small.inputs(own, NAMES)
    count = request.param
    given = small.Inputs(
        *(x[:count] for x in (given.images, given.mask, given.prompts)),
        given.tokens.pick(list(range(count))),
    )
    return Both(theirs, own, given, [target(given, i) for i in range(count)])


def target(given, row):
    """What the criterion is told of an image."""
    prompt = given.prompts[row]
    made = make_target(BOXES[row], SHOWN[row], prompt, [1, 2], size=SIZES[row])
    covered = positive_map(given.tokens.offsets[row], prompt.tokens_positive)
    return Target(replace(made.question, positive_map=covered), made.truth)


def own_layers(both):
    """What our proposals and every layer of our decoder say, in training's graph."""
    output = both.own(both.given.images, both.given.mask, both.given.tokens)
    return [*output.intermediate, output]


def own_terms(both, layers, criterion):
    """The unweighted terms of layers, and which region takes which box."""
    questions, truths = zip(*both.targets, strict=True)
    objects = criterion.objects(questions, truths)
    matched = [criterion.match(layer, objects) for layer in layers]
    mask = both.given.tokens.mask
    terms = [
        criterion.terms(layer, m, objects, mask) for layer, m in zip(layers, matched, strict=True)
    ]
    return terms, matched


def their_terms(found):
    """The same of the decoder of transformers, from its first layer to its last."""
    return [
        {term: found.loss_dict[name + suffix] for term, name in THEIRS.items()}
        for suffix in ("_0", "")
    ]


def weighed(terms):
    return sum(WEIGHTS[name] * layer[name] for layer in terms for name in WEIGHTS)


def their_gradients(both, folder):
    """The gradients of transformers under our names: saved and read as if they were weights."""
    saved = copy.deepcopy(both.theirs)
    for own, parameter in zip(saved.parameters(), both.theirs.parameters(), strict=True):
        own.data = torch.zeros_like(own) if parameter.grad is None else parameter.grad
    saved.save_pretrained(folder)
    return from_transformers(load_file(folder / "model.safetensors"), both.own).state


def test_matching_losses_and_gradients_of_the_decoder_are_those_of_the_oracle(both, tmp_path):
    both.theirs.zero_grad()
    both.own.zero_grad()
    given = both.given.for_oracle(both.own)
    expected = both.theirs(**given, labels=both.labels())
    criterion = GroundingCriterion(HungarianMatcher(token_cost=1.0))
    terms, matched = own_terms(both, own_layers(both)[1:], criterion)

    for layer, theirs in zip(terms, their_terms(expected), strict=True):
        for name in WEIGHTS:
            torch.testing.assert_close(layer[name], theirs[name], rtol=1e-4, atol=1e-5)
    matcher = GroundingDinoHungarianMatcher(class_cost=1.0, bbox_cost=5.0, giou_cost=2.0)
    said = {"logits": expected.logits, "pred_boxes": expected.pred_boxes}
    said["label_maps"] = build_label_maps(expected.logits, given["input_ids"])
    for own, (regions, boxes) in zip(matched[-1], matcher(said, both.labels()), strict=True):
        assert own[regions].tolist() == boxes.tolist()
        assert int((own >= 0).sum()) == len(boxes)

    weighed(terms).backward()
    weighed(their_terms(expected)).backward()
    gradients = their_gradients(both, tmp_path)
    # What lies before a norm has no gradient but rounding, which goes with the largest of all.
    largest = max(float(gradient.abs().max()) for gradient in gradients.values())
    for name, parameter in both.own.named_parameters():
        if parameter.grad is not None:
            allowed = 1e-4 * float(gradients[name].abs().max()) + 1e-6 * largest
            assert float((parameter.grad - gradients[name]).abs().max()) <= allowed, name


def test_the_oracle_takes_classes_of_a_batch_from_the_wrong_image():
    # The first image is asked of two names, the second of one: three rows in all.
    label_maps = (torch.tensor([[1, 0, 0, 0], [0, 1, 0, 0]]), torch.tensor([[0, 0, 1, 1]]))
    labels = [{"class_labels": torch.tensor([0])}, {"class_labels": torch.tensor([0])}]
    taken = [(torch.tensor([0]), torch.tensor([0]))] * 2
    said = {"logits": torch.zeros(2, 1, 4), "label_maps": label_maps}
    faulty = GroundingDinoImageLoss(None, 0.25, [])._get_target_classes_one_hot(said, labels, taken)
    own = token_target(torch.zeros(2, 1, dtype=torch.long), [m[:1].bool() for m in label_maps])

    assert faulty[:, 0].tolist() == [[1, 0, 0, 0], [0, 1, 0, 0]]  # A name of the first image.
    assert own[:, 0].int().tolist() == [[1, 0, 0, 0], [0, 0, 1, 1]]


def test_the_oracle_never_teaches_where_proposals_lie(both):
    both.theirs.zero_grad()
    both.own.zero_grad()
    both.theirs(**both.given.for_oracle(both.own), labels=both.labels()).loss.backward()
    proposals = own_layers(both)[:1]
    weighed(own_terms(both, proposals, GroundingCriterion(HungarianMatcher()))[0]).backward()

    idle = [p.grad for p in both.theirs.model.encoder_output_bbox_embed.parameters()]
    assert all(gradient is None or not gradient.any() for gradient in idle)
    assert all(
        p.grad is not None and p.grad.any() for p in both.own.fusion.head.box(0).parameters()
    )


def test_proposals_learn_from_the_chosen_cells_and_the_fused_text(both):
    with torch.no_grad():
        expected = both.theirs(**both.given.for_oracle(both.own))
        proposals = own_layers(both)[0]
    best = expected.enc_outputs_class.amax(-1).topk(small.QUERIES).indices[..., None]
    logits = expected.enc_outputs_class.gather(1, best.expand(-1, -1, 256))
    boxes = expected.enc_outputs_coord_logits.gather(1, best.expand(-1, -1, 4)).sigmoid()

    mask = both.given.tokens.mask[:, None].expand(proposals.logits.shape)
    found = proposals.logits[mask]
    torch.testing.assert_close(found, logits[..., : mask.shape[2]][mask], rtol=1e-4, atol=1e-4)
    sizes = torch.tensor([[w, h] * 2 for h, w in SIZES[: len(boxes)]])[:, None]
    torch.testing.assert_close(to_cxcywh(proposals.boxes) / sizes, boxes, rtol=1e-4, atol=1e-4)
