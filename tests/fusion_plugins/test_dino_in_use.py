"""What works for GLIP works for small models of the Grounding DINO family."""

import numpy as np
import pytest
import torch
from parity import dino_oracle as small
from PIL import Image

import glip_pl
from glip_pl.benchmark.workload import Detect
from glip_pl.export.folder import ExportSettings, export_folder
from glip_pl.prompts import PromptTemplate
from glip_pl.prompts.tokens import TokenBatch
from glip_pl.training.from_weights import open_task
from glip_pl.tuning.lora import adapters, merge
from glip_pl.tuning.modes import Tuning
from glip_pl.weights import read_weights

PROMPT = "cat. hair drier. zebra crossing."
OPTIONS = {"threshold": 0.0, "short_side": 96, "max_side": 160}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    model = small.oracle("mm-grounding-dino")
    return small.save(model, tmp_path_factory.mktemp("family") / "model")


@pytest.fixture(scope="module")
def model(folder):
    return glip_pl.load(folder)


@pytest.fixture(scope="module")
def task(folder):
    return open_task(str(folder))


def picture(width, height, seed=0):
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(noise)


def same(first, second):
    torch.testing.assert_close(first.scores, second.scores, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(first.boxes, second.boxes, atol=0.05, rtol=1e-3)
    assert first.names == second.names


def test_what_is_found_does_not_depend_on_the_other_images_of_a_batch(model):
    images = [picture(160, 96), picture(96, 96, 1)]

    together = model.predict(images, PROMPT, **OPTIONS)

    for image, found in zip(images, together, strict=True):
        same(found, model.predict(image, PROMPT, **OPTIONS)[0])


def test_an_image_smaller_than_the_coarsest_stride_is_read(model):
    found = model.predict(picture(20, 9), PROMPT, **OPTIONS)[0]

    assert len(found.boxes) > 0
    assert found.boxes.isfinite().all()


def test_more_names_than_one_prompt_takes_are_asked_in_several(model):
    names = [f"thing {i}" for i in range(150)]

    found = model.predict(picture(96, 96), ". ".join(names) + ".", **OPTIONS)[0]

    assert set(found.names) <= set(names)


def test_bf16_finds_about_the_same(folder, model):
    other = glip_pl.load(folder, precision="bf16")
    image = picture(96, 96)

    found = [m.predict(image, PROMPT, **OPTIONS)[0].scores[:3] for m in (model, other)]

    torch.testing.assert_close(*found, atol=0.02, rtol=0.1)


def test_tokenized_captions_put_together_keep_their_phrases(task):
    tokenizer = task.model.text.tokenizer
    prompts = [PromptTemplate().join(names) for names in (["cat"], ["dog", "hair drier"])]

    stacked = TokenBatch.stack([tokenizer([prompt]) for prompt in prompts])

    together = tokenizer(prompts)
    assert torch.equal(stacked.phrases[stacked.mask], together.phrases[together.mask])


def test_detection_is_timed_by_stages(task):
    work = Detect(task, task.model, names=["cat", "dog"], size=(96, 128))
    work.prepare()

    found = work.measure(1)

    assert {"fusion: cells", "fusion: decoder", "head"} <= set(found.seconds)


def test_export_says_that_it_cannot(task, tmp_path):
    settings = ExportSettings(short_side=96, max_side=160)

    with pytest.raises(ValueError, match="DinoFusion brings its own head"):
        export_folder(task.model, tmp_path / "exported", settings)


def test_linear_tuning_trains_the_head_that_the_plugin_brings(folder):
    model = read_weights(str(folder)).build()

    Tuning("linear").prepare(model, lambda: None)
    model.train()

    learning = {name for name, value in model.named_parameters() if value.requires_grad}
    assert learning == {f"fusion.head.{name}" for name, _ in model.fusion.head.named_parameters()}
    assert model.fusion.head.training
    assert not model.fusion.cells.training


@pytest.mark.parametrize("part", ["fusion", "head"])
def test_freezing_the_fusion_or_its_head_leaves_the_other(folder, part):
    model = read_weights(str(folder)).build()

    model.freeze(part)

    learns = {
        "fusion": model.fusion.project_text.weight.requires_grad,
        "head": next(model.fusion.head.parameters()).requires_grad,
    }
    assert learns == {name: name != part for name in learns}


def test_additions_to_all_weights_change_nothing_yet_and_merge_exactly(folder):
    model = read_weights(str(folder)).build()
    images, mask = torch.randint(0, 256, (1, 3, 96, 128)), torch.ones(1, 96, 128, dtype=torch.bool)
    tokens = model.text.tokenizer([PromptTemplate().join(["cat", "hair drier"])])
    with torch.no_grad():
        before = model(images, mask, tokens).logits

    Tuning("lora").prepare(model, lambda: None)

    with torch.no_grad():
        torch.testing.assert_close(model(images, mask, tokens).logits, before)
        for _, adapter in adapters(model):
            for parameter in adapter.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.01)
        added = model(images, mask, tokens).logits
        merge(model)
        torch.testing.assert_close(model(images, mask, tokens).logits, added, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(added, before, atol=1e-3)
    assert any(name.startswith("fusion.head.") for name, _ in model.named_parameters())
