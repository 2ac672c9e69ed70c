"""The whole model on an image and a prompt, from the pixels to the detections."""

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from glip_pl.data.collate import pad_images
from glip_pl.inference.postprocess import PostProcess
from glip_pl.prompts import Prompt
from glip_pl.prompts.tokens import TokenBatch
from glip_pl.structures import Detections
from glip_pl.training.task import GroundingTask
from parity.case import Case, Stage, compare, differing
from parity.detections import label_question, unmatched
from parity.recipe import recipe_image, recipe_task

LEVELS = tuple(f"p{level}" for level in range(3, 8))
INPUT_STEP, TEXT_STEP = 8, 8


def check_forward(case: Case) -> Iterator[Stage]:
    """Compare every stage of the forward pass, then the detections."""
    task = recipe_task(case.facts["model"])
    images = [_image(case, i) for i in range(len(case.facts["images"]))]
    yield from _known_images(case, images)
    pixels, mask = pad_images(images)
    # Official GLIP pads every caption to 256 tokens; here padding them changes nothing else.
    ids, text_mask = case.arrays["input_ids"].long(), case.arrays["attention_mask"].bool()
    tokens = task.model.text.tokenizer([Prompt(c, ()) for c in case.facts["captions"]])
    real = tokens.ids.shape[1]
    yield compare("input_ids", tokens.ids, ids[:, :real] * text_mask[:, :real], atol=0)
    padded = TokenBatch(ids, text_mask, torch.zeros(*ids.shape, 2, dtype=torch.long))
    with torch.inference_mode():
        seen = _watched(task, pixels, mask, padded)
        yield from _stages(case, seen)
        # Users run without the padded tokens.
        output = task.model(pixels, mask, tokens)
    full = torch.cat([seen[f"dot_{level}"] for level in LEVELS], dim=1)[..., :real]
    valid = tokens.mask[:, None].expand_as(full)
    yield compare("dot, unpadded", output.logits[valid], full[valid], atol=_atol(case, "dot"))
    labels = _labels(case, len(images))
    questions = [
        label_question(names, (image.shape[0], image.shape[1]), real)
        for names, image in zip(labels, images, strict=True)
    ]
    for i, found in enumerate(PostProcess()(output, questions)):
        reference = Detections(
            *(case.arrays[f"det{i}_{part}"] for part in ("boxes", "scores", "labels"))
        )
        yield unmatched(
            f"det{i}",
            found,
            reference,
            list(labels[i]),
            box=_atol(case, "det_box_px") or 0.05,
            score=_atol(case, "det_score") or 1e-3,
        )


def _watched(
    task: GroundingTask, pixels: Tensor, mask: Tensor, tokens: TokenBatch
) -> dict[str, Tensor]:
    """Run the model and note what comes out of each stage, under the reference's names."""
    model, seen = task.model, dict[str, Tensor]()

    def note(module: nn.Module, name: str) -> Any:
        def hook(_: nn.Module, __: Any, output: Any) -> None:
            for key, value in _named(name, output, shapes):
                seen[key] = value

        return module.register_forward_hook(hook)

    shapes: list[torch.Size] = []
    backbone: Any = model.backbone
    seen["input"] = backbone.normalise(pixels, mask)
    with ExitStack() as stack:
        watched = [(backbone.layers[0], "c2"), (backbone, "c"), (model.fpn, "p")]
        watched += [(block, f"tower{i}") for i, block in enumerate(_tower(model.fusion))]
        for module, name in watched:
            stack.callback(note(module, name).remove)
        offsets: list[Tensor] = []
        stack.callback(
            model.head.box_offset.register_forward_hook(
                lambda _, __, output: offsets.append(output)
            ).remove
        )
        text = model.encode_text(tokens)
        output = model.ground(model.encode_image(pixels, mask), text)
    seen["lang"] = text.hidden
    split = list(output.level_sizes)
    per_level = {"dot": output.logits, "ctr": output.centerness}
    for name, value in per_level.items():
        names = (f"{name}_{level}" for level in LEVELS)
        seen |= dict(zip(names, value.split(split, 1), strict=True))
    for k, (level, part) in enumerate(zip(LEVELS, offsets[0].split(split, 1), strict=True)):
        seen[f"box_{level}"] = part * model.head.level_scale[k]
    return seen


def _tower(fusion: Any) -> Iterator[nn.Module]:
    """Yield the modules of the fusion plugin in official order."""
    if not hasattr(fusion, "exchange"):
        yield from fusion.tower
        return
    for blocks in zip(fusion.exchange, fusion.text_tower, fusion.tower, strict=True):
        yield from blocks


def _named(name: str, output: Any, shapes: list[torch.Size]) -> Iterator[tuple[str, Tensor]]:
    """Name what a module returned: maps, tokens, or flattened cells and tokens."""
    if name == "c2":
        yield "c2", output[0].permute(0, 3, 1, 2)
    elif name == "c":
        yield from ((f"c{k + 3}", level) for k, level in enumerate(output))
    elif isinstance(output, Tensor):
        yield f"{name}_lang", output
    elif len(output) == 2:
        cells, text = output
        yield f"{name}_lang", text
        levels = cells.split([shape.numel() for shape in shapes], 1)
        for level, part, shape in zip(LEVELS, levels, shapes, strict=True):
            yield f"{name}_{level}", part.transpose(1, 2).unflatten(2, shape)
    else:
        shapes[:] = [level.shape[-2:] for level in output]
        prefix = name if name == "p" else f"{name}_p"
        yield from ((f"{prefix}{k + 3}", level) for k, level in enumerate(output))


def _stages(case: Case, seen: dict[str, Tensor]) -> Iterator[Stage]:
    """Compare what was seen with every array that the case has of it."""
    unused = set(case.arrays)
    hidden, real = seen.pop("lang"), case.arrays["attention_mask"].bool()
    pixels = seen.pop("input")[..., ::INPUT_STEP, ::INPUT_STEP]
    lang, width = _atol(case, "lang"), hidden.shape[-1]
    special = {
        "input_sub": (pixels, None),
        "lang_hidden": (hidden[:, : case.facts["tokens_saved"]], lang),
        # A sum over 768 channels gathers their rounding.
        "lang_embedded_sum": ((hidden * real[..., None]).sum(-1), lang and lang * width**0.5),
    }
    for name, (value, tolerance) in special.items():
        if name in unused:
            unused.remove(name)
            yield case.compare(name, value, atol=tolerance)
    for name, value in seen.items():
        atol = _atol(case, _part(name))
        for kind in ("_cmean", "_cstd", "_sub", "_tokmean", ""):
            if f"{name}{kind}" in unused:
                unused.remove(f"{name}{kind}")
                reference = case.arrays[f"{name}{kind}"]
                yield case.compare(f"{name}{kind}", _reduced(kind, value, reference), atol=atol)
    given = ("input_ids", "attention_mask", "image", "det")
    left = [name for name in sorted(unused) if not name.startswith(given)]
    yield differing("arrays not compared", iter((name, None) for name in left))


def _part(name: str) -> str:
    """Name the tolerance that holds for a stage."""
    for prefix, part in (("c", "body"), ("p", "fpn"), ("box", "box"), ("ctr", "ctr")):
        if name.startswith(prefix) and (prefix != "c" or name[1].isdigit()):
            return part
    return "dot"


def _reduced(kind: str, value: Tensor, reference: Tensor) -> Tensor:
    """Reduce a map or the logits as the reference was reduced."""
    if kind == "_cmean":
        return value.mean((2, 3))
    if kind == "_cstd":
        return value.std((2, 3), correction=0)
    if kind == "_sub":
        kept = reference.shape[1]
        return value[:, :: max(1, value.shape[1] // kept)][:, :kept]
    if kind == "_tokmean":
        return value.mean(1)
    if value.ndim == 3 and value.shape[:2] == reference.shape[:2]:
        return value[..., : reference.shape[2]]
    if value.ndim == 3:  # Tokens: the first of them, every eighth channel.
        return value[:, : reference.shape[1], ::TEXT_STEP]
    return value


def _atol(case: Case, part: str) -> float | None:
    """Return what the case allows for a part, if it says so."""
    stated: dict[str, float] = case.facts.get("tolerances_atol", {})
    return stated.get(part)


def _image(case: Case, i: int) -> np.ndarray:
    """Paint image i by its recipe, or take it from the case."""
    facts = case.facts["images"][i]
    if "seed" in facts:
        return recipe_image(facts["height"], facts["width"], facts["seed"])
    return case.arrays[f"image{i}"].numpy()


def _known_images(case: Case, images: list[np.ndarray]) -> Iterator[Stage]:
    """Compare the images with their hashes, and with their pixels where the case has them."""
    for i, image in enumerate(images):
        known = case.facts["images"][i].get("sha256")
        digest = hashlib.sha256(image.tobytes()).hexdigest()
        if known is not None:
            yield differing(f"image{i} hash", iter([(digest, known)]))
        if f"image{i}" in case.arrays:
            yield case.compare(f"image{i}", torch.from_numpy(image), atol=0)


def _labels(case: Case, count: int) -> list[dict[int, list[int]]]:
    """Return the tokens of each label, per image; one set of labels may serve all images."""
    stated = case.facts["label_to_tokens"]
    per_image = stated if isinstance(stated, list) else [stated] * count
    return [{int(label): places for label, places in labels.items()} for labels in per_image]
