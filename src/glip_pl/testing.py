"""The fusion contract as a check that anyone can run on a plugin of their own.

Example::

    from glip_pl.testing import check_fusion_plugin

    def test_my_plugin_keeps_the_contract():
        check_fusion_plugin(MyFusion)
"""

from dataclasses import replace

import torch
from torch import Tensor

from glip_pl.fusion import ExtraQueries, FusionOutput, FusionPlugin, PyramidFeatures, TextFeatures
from glip_pl.matching import Objects, Regions

D_MODEL, D_TEXT, BATCH, TOKENS = 32, 48, 2, 6
STRIDES, SIZE = (8, 16, 32), 96


def check_fusion_plugin(plugin: type[FusionPlugin], **init_args: object) -> None:
    """Assert every promise of `glip_pl.fusion.FusionPlugin`.

    Args:
        plugin: The class; it is built with ``d_model=32, d_text=48`` and `init_args`.
        init_args: Further arguments, for example to make it small.

    Raises:
        AssertionError: A promise is broken; the message says which.
    """
    torch.manual_seed(0)
    fusion = plugin(d_model=D_MODEL, d_text=D_TEXT, **init_args).eval()  # type: ignore[call-arg]
    image, text = _features()
    whole = fusion(fusion.prepare_image(image), text)
    _check_shapes(fusion, whole)
    _check_masked_tokens_change_nothing(fusion, image, text, whole)
    _check_items_do_not_see_each_other(fusion, image, text, whole)
    _check_prepared_images_can_be_kept(fusion, image, text, whole)
    _check_bf16(fusion, image, text)
    if fusion.takes_extra:
        _check_extra_queries(fusion, image, text, whole)
    _check_gradients(fusion, image, text)
    _check_matcher(fusion, whole)


def _features() -> tuple[PyramidFeatures, TextFeatures]:
    levels = tuple(torch.randn(BATCH, D_MODEL, SIZE // s, SIZE // s) for s in STRIDES)
    pixels = torch.ones(BATCH, SIZE, SIZE, dtype=torch.bool)
    tokens = torch.ones(BATCH, TOKENS, dtype=torch.bool)
    tokens[1, -2:] = False
    hidden = torch.randn(BATCH, TOKENS, D_TEXT)
    return PyramidFeatures(levels, STRIDES, pixels), TextFeatures(hidden, tokens)


def _check_shapes(fusion: FusionPlugin, output: FusionOutput) -> None:
    regions = output.regions.shape[1]
    for name, tensor, shape in (
        ("regions", output.regions, (BATCH, regions, D_MODEL)),
        ("tokens", output.tokens, (BATCH, TOKENS, fusion.d_token)),
        ("priors", output.priors, (BATCH, regions, 4)),
        *(
            (f"intermediate[{i}]", t, (BATCH, regions, D_MODEL))
            for i, t in enumerate(output.intermediate)
        ),
    ):
        assert tensor.shape == shape, f"{name} has shape {tuple(tensor.shape)}, not {shape}"
    assert sum(output.level_sizes) == regions, f"level_sizes do not sum to {regions} regions"
    sizes = output.priors[..., 2:] - output.priors[..., :2]
    assert bool((sizes > 0).all()), "a prior has no area; priors are xyxy pixels"


def _close(a: Tensor, b: Tensor) -> bool:
    return torch.allclose(a, b, atol=1e-4, rtol=1e-4)


def _check_masked_tokens_change_nothing(
    fusion: FusionPlugin, image: PyramidFeatures, text: TextFeatures, whole: FusionOutput
) -> None:
    noise = torch.randn_like(text.hidden) * 10
    hidden = torch.where(text.mask[..., None], text.hidden, noise)
    other = fusion(fusion.prepare_image(image), TextFeatures(hidden, text.mask))
    assert _close(other.regions, whole.regions), "a masked token changes the regions"
    assert _close(other.tokens[text.mask], whole.tokens[text.mask]), "a masked token changes others"


def _check_items_do_not_see_each_other(
    fusion: FusionPlugin, image: PyramidFeatures, text: TextFeatures, whole: FusionOutput
) -> None:
    first = PyramidFeatures(
        tuple(level[:1] for level in image.levels), image.strides, image.mask[:1]
    )
    alone = fusion(fusion.prepare_image(first), TextFeatures(text.hidden[:1], text.mask[:1]))
    assert _close(alone.regions, whole.regions[:1]), "regions depend on the rest of the batch"
    assert _close(alone.tokens, whole.tokens[:1]), "tokens depend on the rest of the batch"
    assert _close(alone.priors, whole.priors[:1]), "priors depend on the rest of the batch"


def _check_prepared_images_can_be_kept(
    fusion: FusionPlugin, image: PyramidFeatures, text: TextFeatures, whole: FusionOutput
) -> None:
    prepared = fusion.prepare_image(image)
    fusion(prepared, replace(text, hidden=torch.randn_like(text.hidden)))
    again = fusion(prepared, text)
    assert _close(again.regions, whole.regions), "a prepared image is changed by another prompt"


def _check_bf16(fusion: FusionPlugin, image: PyramidFeatures, text: TextFeatures) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        output = fusion(fusion.prepare_image(image), text)
    for name in ("regions", "tokens", "priors"):
        tensor: Tensor = getattr(output, name)
        assert bool(tensor.isfinite().all()), f"{name} are not finite under bf16 autocast"


def _check_extra_queries(
    fusion: FusionPlugin, image: PyramidFeatures, text: TextFeatures, whole: FusionOutput
) -> None:
    """Two extra queries that do not see each other, of which a third item is padding."""
    boxes = torch.tensor([[8.0, 8, 40, 40], [20, 30, 90, 60], [0, 0, 0, 0]]).expand(BATCH, -1, -1)
    real = torch.tensor([True, True, False]).expand(BATCH, -1)
    sees = torch.eye(3, dtype=torch.bool).expand(BATCH, -1, -1)
    first, second = torch.randn(2, BATCH, 3, D_MODEL)
    outputs = []
    for contents in (first, torch.cat([first[:, :1], second[:, 1:]], dim=1)):
        extra = ExtraQueries(contents, boxes, sees, real)
        outputs.append(fusion(fusion.prepare_image(image), text, extra))
    for output in outputs:
        assert output.extra is not None, "extra queries are not returned as FusionOutput.extra"
        assert output.extra.regions.shape == first.shape, (
            "extra queries are lost, or there are more"
        )
        assert _close(output.regions, whole.regions), "an extra query changes the regions"
    alike = [output.extra.regions[:, 0] for output in outputs]
    assert _close(*alike), "an extra query sees another that it may not see"


def _check_gradients(fusion: FusionPlugin, image: PyramidFeatures, text: TextFeatures) -> None:
    fusion.train()
    output = fusion(fusion.prepare_image(image), text)
    parts = [output.regions, output.tokens, output.priors, *output.intermediate]
    head = fusion.own_head()
    if head is not None:
        said = head(output)
        parts += [x for layer in (*said.intermediate, said) for x in (layer.logits, layer.boxes)]
    # Squares, weighted at random: the plain sum of a normalised vector has no gradient.
    loss = sum((part.float() ** 2 * torch.rand_like(part.float())).sum() for part in parts)
    assert isinstance(loss, Tensor)
    if loss.requires_grad:
        torch.autograd.backward(loss)
    idle = [n for n, p in fusion.named_parameters() if p.requires_grad and p.grad is None]
    assert not idle, f"no gradient reaches the parameters {idle}"


def _check_matcher(fusion: FusionPlugin, output: FusionOutput) -> None:
    matcher = fusion.make_matcher()
    priors, boxes = output.priors[0], output.priors[0, :1]
    logits = torch.zeros(len(priors), TOKENS)
    regions = Regions(logits, priors, priors, output.level_sizes)
    tokens = torch.ones(1, TOKENS, dtype=torch.bool)
    matching = matcher.match(regions, Objects(boxes, tokens, (SIZE, SIZE)))
    name = type(matcher).__name__
    assert matching.shape == priors.shape[:1], f"{name} does not match every region"
    assert set(matching.tolist()) == {-1, 0}, f"{name} gives a box to no region, or to all"
    nothing = Objects(boxes[:0], tokens[:0], (SIZE, SIZE))
    assert bool((matcher.match(regions, nothing) == -1).all()), f"{name} matches without boxes"
    matched = priors[matching == 0]
    centerness = matcher.centerness(matched, matched, boxes.expand(len(matched), -1))
    for kind, values in (("centerness", centerness), ("weights", matcher.weights(centerness))):
        assert values.shape == matched.shape[:1], f"{name}.{kind} has no value for each match"
    assert bool(((centerness >= 0) & (centerness <= 1)).all()), f"{name}.centerness leaves [0, 1]"
