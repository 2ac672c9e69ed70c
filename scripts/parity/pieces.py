"""Pieces of the pipeline on their own: blocks, anchors, pixels, prompts, tokens, detections."""

import hashlib
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from glip_pl.backbones.backbone import IMAGENET_MEAN, IMAGENET_STD
from glip_pl.boxes import decode, inclusive
from glip_pl.data.transforms import Pipeline
from glip_pl.head import GroundingOutput
from glip_pl.inference.postprocess import PostProcess
from glip_pl.layers.anchors import cell_anchors
from glip_pl.layers.attention import BiAttention
from glip_pl.layers.bert import BertLayer
from glip_pl.layers.dyhead import DyHeadBlock
from glip_pl.matching.atss import atss, centerness_target
from glip_pl.prompts import Prompt, positive_map
from glip_pl.structures import Detections, Sample, Truth
from glip_pl.system.image_size import keep_ratio_size
from glip_pl.text.bert_files import BERT_BASE, read_bert
from glip_pl.text.tokenizers import WordPieceTokenizer
from glip_pl.weights.official.conversion import STRIDES
from glip_pl.weights.official.parameter_names import BLOCKS, renamed
from glip_pl.weights.official.prompts import detection_prompt
from parity.case import Case, Stage, compare, differing
from parity.detections import label_question, unmatched
from parity.forward import LEVELS
from parity.recipe import MODELS, recipe_image, recipe_state, recipe_tensor

INCLUSIVE_END = torch.tensor([0.0, 0.0, 1.0, 1.0])
INCLUSIVE_MARGIN = 0.51


def check_blocks(case: Case) -> Iterator[Stage]:
    """Compare a DyHead block, the exchange between image and text, and a BERT layer."""
    arrays = case.arrays
    levels = tuple(arrays[f"dyconv_in_{level}"] for level in LEVELS)
    text, mask = arrays["battn_lang_in"], arrays["battn_mask"].bool()
    dyhead = _filled(DyHeadBlock(levels[0].shape[1]), "unit.dyconv.", "tower")
    with torch.no_grad():
        for level, out in zip(LEVELS, dyhead(levels), strict=True):
            yield case.compare(f"dyconv_out_{level}", out, atol=1e-4)
        coarse = dyhead.offset(levels[3])
        yield case.compare("dyconv_offsetmask_p6", coarse, atol=1e-4)
        exchange = _filled(
            BiAttention(32, 48, d_attention=64, num_heads=8), "unit.b_attn.", "exchange"
        )
        cells = torch.cat([level.flatten(2) for level in levels], 2).transpose(1, 2)
        image, hidden = exchange(cells, text, mask)
        split = image.split([level[0, 0].numel() for level in levels], 1)
        for name, part, level in zip(LEVELS, split, levels, strict=True):
            out = part.transpose(1, 2).unflatten(2, level.shape[-2:])
            yield case.compare(f"battn_v_{name}", out, atol=1e-4)
        yield case.compare("battn_lang_out", hidden, atol=1e-4)
        layer = _filled(BertLayer(48, num_heads=4, d_feedforward=96), "unit.bert.", "text_tower")
        real = mask[..., None]
        out, reference = layer(text, mask) * real, arrays["bertlayer_out"] * real
        yield compare("bertlayer_out", out, reference, atol=1e-4)


def _filled(module: nn.Module, prefix: str, block: str) -> nn.Module:
    """Fill a block with the weights of the recipe, and set it to evaluation."""
    _, _, names = BLOCKS[block]
    state = {
        name: recipe_tensor(prefix + renamed(name, names), tuple(value.shape))
        for name, value in module.state_dict().items()
    }
    module.load_state_dict(state)
    return module.eval()


def check_assignment(case: Case) -> Iterator[Stage]:
    """Compare anchors, which anchor takes which box, offsets and centerness."""
    facts, arrays = case.facts, case.arrays
    maps = [torch.zeros(1, 1, h, w) for h, w in facts["level_shapes"]]
    anchors = cell_anchors(maps, STRIDES)
    yield case.compare("anchors", inclusive(anchors), atol=1e-4)
    sizes = [h * w for h, w in facts["level_shapes"]]
    for k in range(len(facts["cases"])):
        boxes = arrays[f"case{k}_boxes"] + INCLUSIVE_END
        taken = atss(anchors, sizes, boxes, margin=INCLUSIVE_MARGIN)
        yield compare(f"case{k}_gt_index", taken, arrays[f"case{k}_gt_index"], atol=0)
        positive = taken >= 0
        priors, truth = anchors[positive], boxes[taken[positive]]
        decoded = decode(priors, arrays[f"case{k}_reg"])
        # Offsets are only ever decoded here, so the reference's are checked by where they lead.
        yield compare(f"case{k}_reg", decoded, truth, atol=1e-3)
        target = centerness_target(inclusive(priors), inclusive(truth))
        yield case.compare(f"case{k}_ctr", target, atol=1e-4)


def check_postprocess(case: Case) -> Iterator[Stage]:
    """Compare the detections that come of given logits, offsets and centerness."""
    facts, arrays = case.facts, case.arrays
    height, width = facts["padded"]
    maps, side = [], (height // STRIDES[0], width // STRIDES[0])
    for _ in STRIDES:
        maps.append(torch.zeros(1, 1, *side))
        side = (-(-side[0] // 2), -(-side[1] // 2))
    priors = cell_anchors(maps, STRIDES)
    dot, box, ctr = (
        torch.cat([arrays[f"{kind}_{level}"] for level in LEVELS], 1)
        for kind in ("dot", "box", "ctr")
    )
    sizes = tuple(level[0, 0].numel() for level in maps)
    priors = priors.expand(len(dot), -1, -1)
    output = GroundingOutput(dot, decode(priors, box), ctr, priors, sizes)
    for v, variant in enumerate(facts["variants"]):
        labels = {int(label): places for label, places in variant["label_to_tokens"].items()}
        post = PostProcess(
            max_detections=variant["detections_per_img"], aggregate=variant["score_agg"].lower()
        )
        questions = [label_question(labels, (h, w), dot.shape[-1]) for h, w in facts["image_sizes"]]
        for i, found in enumerate(post(output, questions)):
            reference = Detections(
                *(arrays[f"v{v}_img{i}_{part}"] for part in ("boxes", "scores", "labels"))
            )
            yield unmatched(f"{variant['score_agg']} v{v}_img{i}", found, reference, list(labels))


def check_preprocess(case: Case) -> Iterator[Stage]:
    """Compare the sizes after resize, the pixels that enter the backbone, and the boxes."""
    table = case.facts["resize_table"]
    yield differing(
        "resize_table",
        ((keep_ratio_size((row[1], row[0]), row[2], row[3]), (row[4], row[5])) for row in table),
    )
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))
    for k, facts in enumerate(case.facts["cases"]):
        image = recipe_image(facts["height"], facts["width"], facts["seed"])
        boxes = case.arrays[f"case{k}_boxes"]
        sizes = {"short_sides": [facts["min_size"]], "max_side": facts["max_size"]}
        resized = Pipeline(**sizes)(_sample(image, boxes))
        yield differing(f"case{k}_out_hw", iter([(list(resized.image.shape[:2]), facts["out_hw"])]))
        pixels = torch.from_numpy(resized.image).permute(2, 0, 1)
        normalised = ((pixels - mean) / std).flip(0)
        yield case.compare(f"case{k}_out_sub", normalised[:, ::4, ::4], atol=1e-3)
        yield case.compare(f"case{k}_out_mean", normalised.mean((1, 2)), atol=1e-3)
        yield case.compare(f"case{k}_out_std", normalised.std((1, 2), correction=0), atol=1e-3)
        boxes = _boxes(resized)
        yield case.compare(f"case{k}_boxes_resized", boxes, atol=1e-3)
        # A flip is the same in both frames when the ends are inclusive before and after; boxes are
        # clipped on the way.
        given = _sample(resized.image, boxes + INCLUSIVE_END)
        # Asked for the size that it has, the image is not resized a second time.
        as_is = {
            "short_sides": [min(resized.image.shape[:2])],
            "max_side": max(resized.image.shape),
        }
        flipped = inclusive(_boxes(Pipeline(**as_is, flip=1.0)(given)))
        limit = torch.tensor(resized.image.shape[1::-1]).repeat(2) - 1.0
        reference = case.arrays[f"case{k}_boxes_flipped"].clamp(min=0).minimum(limit)
        yield compare(f"case{k}_boxes_flipped", flipped, reference, atol=1e-3)


def _sample(image: np.ndarray, boxes: Tensor) -> Sample:
    shows = torch.ones(len(boxes), 1, dtype=torch.bool)
    return Sample(
        image=image,
        prompt=Prompt("a", (((0, 1),),)),
        phrase_ids=torch.tensor([-1]),
        original_size=(image.shape[0], image.shape[1]),
        truth=Truth(boxes, shows, torch.zeros(len(boxes), dtype=torch.bool), image_id=0),
    )


def _boxes(sample: Sample) -> Tensor:
    assert sample.truth is not None
    return sample.truth.boxes


def check_prompts(case: Case) -> Iterator[Stage]:
    """Compare the caption of each list of names, and the tokens of each name."""
    tokenizer = _tokenizer()
    for k, facts in enumerate(case.facts["cases"]):
        described = facts.get("caption_prompt")
        prompt = detection_prompt(
            facts["names"],
            described=described and [(d["prefix"], d["name"], d["suffix"]) for d in described],
            suppressed=facts.get("suppress") or (),
        )
        yield differing(f"query {k}", iter([(prompt.caption, facts["query"])]))
        rows = positive_map(tokenizer([prompt]).offsets[0], prompt.tokens_positive)
        places = [row.nonzero().flatten().tolist() for row in rows]
        yield differing(f"tokens {k}", iter([(places, list(facts["label_to_tokens"].values()))]))


def check_tokens(case: Case) -> Iterator[Stage]:
    """Compare token ids, and the tokens of phrases given by their characters."""
    tokenizer = _tokenizer()
    for k, item in enumerate(case.facts["items"]):
        tokens = tokenizer([Prompt(item["caption"], ())])
        limit = len(item["input_ids"])
        ids = tokens.ids[0].tolist()
        # The reference cuts a caption that is too long; here such a caption is refused.
        cut = [*ids[: limit - 1], ids[-1]] if len(ids) > limit else ids
        yield differing(f"ids {k}", iter([(cut, item["input_ids"])]))
        offsets = tokens.offsets[0][:limit].clone()
        offsets[-1] = 0
        places = [_places(offsets, spans) for spans in item["char_spans"]]
        yield differing(f"positive_tokens {k}", zip(places, item["positive_tokens"], strict=True))


def _places(offsets: Tensor, spans: list[list[int]]) -> list[int]:
    """Return the tokens of a phrase, none where they were cut off."""
    try:
        (row,) = positive_map(offsets, [[(start, end) for start, end in spans]])
    except ValueError:
        return []
    places: list[int] = row.nonzero().flatten().tolist()
    return places


def _tokenizer() -> WordPieceTokenizer:
    """Return the tokenizer of the released models, without a limit of length."""
    with torch.device("meta"):
        _, tokenizer, _ = read_bert(BERT_BASE, load_weights=False)
    return WordPieceTokenizer(tokenizer, 10_000)


def check_weights(case: Case) -> Iterator[Stage]:
    """Compare the hash of every tensor that the recipe gives to a model, by official name."""
    for model, reference in case.facts["models"].items():
        if model not in MODELS:
            yield Stage(f"{model} is unknown", float("inf"), 0.0)
            continue
        ours = {
            name: hashlib.sha256(value.numpy().tobytes()).hexdigest()[:16]
            for name, value in recipe_state(model).items()
            if name in reference
        }
        yield differing(
            f"{model} tensors", ((ours.get(name), digest) for name, digest in reference.items())
        )
