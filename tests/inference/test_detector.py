from functools import partial

import pytest
import torch
from helpers import make_sample
from torch import nn

from fusion_plugins.deep import DeepFusion
from fusion_plugins.late import LateFusion
from fusion_plugins.query import QueryFusion
from glip_pl.backbones import FPN, SwinBackbone, TinyBackbone
from glip_pl.data.collate import collate
from glip_pl.inference.detector import Detector, TextCache
from glip_pl.inference.postprocess import PostProcess
from glip_pl.layers.precision import narrow_weights
from glip_pl.model import GLIP
from glip_pl.prompts import PromptTemplate, compile_chunk
from glip_pl.prompts.compiler import compile_names
from glip_pl.text import ClassEmbedding, PhraseBertEncoder, TinyBert

NAMES = ["cat", "dog", "red bus", "kite", "old man", "cow"]
PLUGINS = {
    "late": (LateFusion, {"num_layers": 1}),
    "deep": (DeepFusion, {"num_layers": 2}),
    "query": (QueryFusion, {"num_queries": 12, "num_layers": 1}),
}


def model(plugin="deep", text=None):
    """A small model whose scores spread over (0, 1)."""
    torch.manual_seed(0)
    kind, arguments = PLUGINS[plugin]
    fusion = kind(d_model=32, d_text=128, **arguments)
    built = GLIP(
        TinyBackbone(),
        text or TinyBert(),
        fusion=fusion,
        d_model=32,
        neck=partial(FPN, extra_levels=0),
    )
    nn.init.zeros_(built.head.prior_bias)
    return built.eval()


def batch_of(tokenizer, sizes=((64, 96),), chunks=()):
    """Images of noise with the same prompt."""
    samples = [make_sample([], NAMES, size=size) for size in sizes]
    for seed, sample in enumerate(samples):
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randint(0, 256, sample.image.shape, generator=generator).byte().numpy()
        object.__setattr__(sample, "image", noise)
        object.__setattr__(sample, "chunks", chunks)
    return collate(samples, tokenizer)


def in_chunks(tokenizer, *groups):
    return tuple(
        compile_chunk(PromptTemplate().join([NAMES[k] for k in group]), group, tokenizer)
        for group in groups
    )


def counted(module):
    """Count the calls of a module."""
    calls = []
    module.register_forward_hook(lambda *_: calls.append(1))
    return calls


def assert_same(found, expected, atol=1e-4):
    assert len(expected.scores) > 0
    assert found.phrases.tolist() == expected.phrases.tolist()
    torch.testing.assert_close(found.boxes, expected.boxes, atol=1e-2, rtol=0)
    torch.testing.assert_close(found.scores, expected.scores, atol=atol, rtol=0)


def test_a_vocabulary_in_chunks_finds_the_same_where_names_do_not_see_each_other():
    text = ClassEmbedding(NAMES, d_text=128)
    whole, built = batch_of(text.tokenizer), model("late", text)
    detector = Detector(built, PostProcess())

    (expected,) = detector(whole)
    # The names are dealt out, so that ids and places differ.
    (found,) = detector(
        batch_of(text.tokenizer, chunks=in_chunks(text.tokenizer, [5, 0], [3], [1, 4, 2]))
    )

    order = [d.scores.argsort(descending=True, stable=True) for d in (found, expected)]
    assert_same(found.select(order[0]), expected.select(order[1]))


def test_phrases_of_a_chunk_keep_their_ids():
    built = model()
    nn.init.constant_(built.head.prior_bias, 4.0)  # Everything is found everywhere.
    batch = batch_of(
        built.text.tokenizer, chunks=in_chunks(built.text.tokenizer, [4, 1], [0, 2, 3, 5])
    )

    (found,) = Detector(built, PostProcess(max_detections=1000))(batch)

    assert set(found.phrases.tolist()) == set(range(6))
    assert batch.questions[0].positive_map[4].nonzero().flatten().tolist() == [1, 2]  # "old man"


def test_an_image_is_encoded_once_for_all_chunks():
    built = model()
    images, grounded = counted(built.backbone), counted(built.head)

    Detector(built, PostProcess())(
        batch_of(built.text.tokenizer, chunks=in_chunks(built.text.tokenizer, [0], [1], [2]))
    )

    assert (len(images), len(grounded)) == (1, 3)


def test_the_best_of_all_chunks_are_kept():
    built = model()
    batch = batch_of(
        built.text.tokenizer, chunks=in_chunks(built.text.tokenizer, [0, 1, 2], [3, 4, 5])
    )

    (all_of_them,) = Detector(built, PostProcess(max_detections=1000))(batch)
    (few,) = Detector(built, PostProcess(max_detections=3))(batch)

    assert len(all_of_them.scores) > 3
    assert few.scores.tolist() == all_of_them.scores[:3].tolist()
    assert few.scores.tolist() == sorted(few.scores.tolist(), reverse=True)


def test_a_caption_is_encoded_once():
    text = TinyBert().eval()
    calls, cache = counted(text.bert), TextCache(text, 4)
    tokens = text.tokenizer([PromptTemplate().join(names) for names in (["cat"], ["cat", "dog"])])

    with torch.no_grad():
        first, again = cache(tokens), cache(tokens)

    assert len(calls) == 1
    assert again.hidden.equal(first.hidden)
    expected = text(tokens).hidden
    torch.testing.assert_close(first.hidden[tokens.mask], expected[tokens.mask])
    assert (first.hidden[~tokens.mask] == 0).all()


def test_the_same_caption_with_more_padding_is_known():
    text = TinyBert().eval()
    calls, cache = counted(text.bert), TextCache(text, 4)
    short, long = (PromptTemplate().join(names) for names in (["cat"], ["cat", "dog", "cow"]))

    with torch.no_grad():
        cache(text.tokenizer([short]))
        cache(text.tokenizer([long]))
        cache(text.tokenizer([short, long]))

    assert len(calls) == 2


def test_images_of_one_prompt_have_the_features_of_each():
    text = TinyBert().eval()
    tokens = text.tokenizer([PromptTemplate().join(["cat", "old dog"])] * 3)

    with torch.no_grad():
        alike, alone = TextCache(text, 4)(tokens), TextCache(text, 4)(tokens.pick([0]))

    assert alike.hidden.equal(alone.hidden.repeat(3, 1, 1))
    assert alike.mask.equal(tokens.mask)


def test_an_encoder_that_reads_phrases_alone_encodes_each_name_once(tmp_path):
    TinyBert(d_text=32, num_heads=2).eval().write_files(tmp_path)
    text = PhraseBertEncoder(str(tmp_path), load_weights=False).eval()
    calls, cache = counted(text.bert), TextCache(text, 4)
    known, asked = (
        text.tokenizer([PromptTemplate().join(names) for names in captions])
        for captions in ([["red cat", "dog"]], [["dog", "old cow", "red cat"], ["dog"]])
    )

    with torch.no_grad():
        cache(known)
        found = cache(asked).hidden
        cache(text.tokenizer([PromptTemplate().join(["old cow", "dog"])]))
        expected = text(asked).hidden

    assert len(calls) == 3  # The last one is the encoder itself.
    torch.testing.assert_close(found[asked.mask], expected[asked.mask])


@pytest.mark.parametrize("change", ["step", "load", "train"])
def test_other_weights_are_not_served_from_the_cache(change):
    text = TinyBert(dropout=0.5).eval()
    cache, tokens = TextCache(text, 4), text.tokenizer([PromptTemplate().join(["cat"])])
    with torch.no_grad():
        before = cache(tokens).hidden
        if change == "step":
            next(text.parameters()).add_(0.1)
        elif change == "load":
            text.load_state_dict({k: v + 0.1 for k, v in text.state_dict().items()})
        else:
            text.train()

        assert not cache(tokens).hidden.equal(before)


def test_the_cache_forgets_what_was_not_used_for_longest():
    text = TinyBert().eval()
    cache = TextCache(text, 2)
    cat, dog, cow = (text.tokenizer([PromptTemplate().join([n])]) for n in ("cat", "dog", "cow"))
    with torch.no_grad():
        for tokens in (cat, dog, cat, cow):  # The dog goes.
            cache(tokens)
        calls = counted(text.bert)
        cache(cat)
        cache(dog)

    assert (len(cache), len(calls)) == (2, 1)


@pytest.mark.parametrize("plugin", PLUGINS)
def test_an_image_has_the_same_detections_alone_and_in_any_batch(plugin):
    built = model(plugin)
    detector = Detector(built, PostProcess(score_threshold=0.1))
    both = batch_of(built.text.tokenizer, sizes=((64, 96), (64, 96)))
    alone = batch_of(built.text.tokenizer)

    assert_same(detector(both)[0], detector(alone)[0])


@pytest.mark.parametrize("plugin", ["late", "deep"])
def test_bf16_moves_boxes_and_scores_little(plugin):
    built = model(plugin)
    batch = batch_of(built.text.tokenizer)
    with torch.no_grad():
        exact = built(batch.images, batch.mask, batch.tokens)
        narrow_weights(built)
        with torch.autocast("cpu", torch.bfloat16):
            rough = built(batch.images, batch.mask, batch.tokens)

    assert built.fpn.laterals[0].weight.dtype == torch.bfloat16
    assert built.head.token_bias.dtype == torch.float32
    assert (rough.logits.sigmoid() - exact.logits.sigmoid()).abs().max() < 0.05
    sides = exact.boxes[..., 2:] - exact.boxes[..., :2]
    assert ((rough.boxes - exact.boxes).abs().amax(-1) / sides.amax(-1)).max() < 0.05


@pytest.mark.slow
@pytest.mark.parametrize("plugin", ["late", "deep"])
def test_encoding_and_grounding_compile_without_a_graph_break(plugin):
    built = model(plugin)
    batch = batch_of(built.text.tokenizer)
    image = built.encode_image(batch.images, batch.mask)
    text = built.encode_text(batch.tokens)
    expected = built.ground(image, text)
    encode, ground = (
        torch.compile(step, fullgraph=True, backend="aot_eager")
        for step in (built.encode_image, built.ground)
    )

    with torch.no_grad():
        found = ground(encode(batch.images, batch.mask), text)

    torch.testing.assert_close(found.logits, expected.logits, atol=1e-4, rtol=1e-4)


@pytest.mark.slow
def test_swin_compiles_without_a_graph_break():
    torch.manual_seed(0)
    swin = SwinBackbone(8, (2, 2, 2, 2), num_heads=(1, 1, 2, 2), window=4).eval()
    images = torch.randn(1, 3, 64, 96)

    with torch.no_grad():
        maps = torch.compile(swin, fullgraph=True, backend="aot_eager")(images)
        for found, expected in zip(maps, swin(images), strict=True):
            torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_a_long_vocabulary_is_packed_into_prompts_that_fit():
    built = model()
    built.text.tokenizer.max_tokens = 12
    compiled = compile_names(NAMES, built.text.tokenizer)
    batch = batch_of(built.text.tokenizer, chunks=compiled.chunks)

    (found,) = Detector(built, PostProcess(score_threshold=0.0))(batch)

    assert len(batch.chunk_sizes) > 1
    assert max(batch.chunk_sizes) <= 12
    assert set(found.phrases.tolist()) == set(range(6))


def test_prompts_of_different_numbers_of_chunks_do_not_share_a_batch():
    text = TinyBert()
    one, two = (make_sample([], NAMES) for _ in range(2))
    object.__setattr__(two, "chunks", in_chunks(text.tokenizer, [0, 1, 2], [3, 4, 5]))

    with pytest.raises(ValueError, match="different numbers of chunks"):
        collate([one, two], text.tokenizer)
