"""Ways to tune: what learns, what stays, and that every one of them trains, saves and resumes."""

import pytest
import torch
from small_models import built, inputs, outputs

from glip_pl.cli import main
from glip_pl.model import PARTS
from glip_pl.prompts import Prompt
from glip_pl.text import TinyBert
from glip_pl.text.tuned_prompt import TunedPrompt
from glip_pl.training.from_weights import task_of
from glip_pl.training.optim import OptimizerSettings, layers_above
from glip_pl.training.task import GroundingTask
from glip_pl.tuning.modes import Tuning
from glip_pl.weights import read_weights


def learning(model):
    return {n.partition(".")[0] for n, p in model.named_parameters() if p.requires_grad}


def prompt_of(model, caption="cat. old dog"):
    tokens = model.text.tokenizer([Prompt(caption, ())])
    return TunedPrompt.of_prompt(tokens.ids[0], caption, model.text.d_text)


def test_full_trains_every_part_but_the_frozen():
    model = built()

    Tuning("full", ("backbone", "fpn")).prepare(model, lambda: None)

    assert learning(model) == {"text", "fusion", "head"}


def test_linear_trains_the_head_alone():
    model = built()

    Tuning("linear").prepare(model, lambda: None)

    assert learning(model) == {"head"}
    assert all(p.requires_grad for p in model.head.parameters())


def test_what_is_frozen_stays_in_evaluation():
    model = built()

    Tuning("linear").prepare(model, lambda: None)
    model.train()

    assert [getattr(model, part).training for part in PARTS] == [False] * 4 + [True]


def test_nothing_left_to_learn_is_refused():
    with pytest.raises(ValueError, match=r"mode=linear with model\.tuning\.freeze=\['head'\]"):
        Tuning("linear", ("head",)).prepare(built(), lambda: None)


def test_prompt_tuning_learns_one_vector_per_token_from_zero():
    model = built()
    before = outputs(model)

    Tuning("prompt").prepare(model, lambda: prompt_of(model))
    model.train()

    assert learning(model) == {"prompt"}
    assert model.prompt.weight.shape == (len(inputs(model)[2].ids[0]), 64)
    assert not model.fusion.training
    assert outputs(model).equal(before)


def test_a_tuned_prompt_moves_the_evaluation_and_is_loaded_by_whoever_loads_weights():
    model, other = built(), built()
    Tuning("prompt").prepare(model, lambda: prompt_of(model))
    before = outputs(model)
    torch.nn.init.normal_(model.prompt.weight)

    other.load_state_dict(model.state_dict())

    assert not outputs(model).equal(before)
    assert outputs(other).equal(outputs(model))
    assert other.prompt.words == "cat. old dog"


@pytest.mark.parametrize("caption", ["cat. old cow", "cat", "cat. old dog. cow"])
def test_a_tuned_prompt_answers_no_other(caption):
    model = built()
    Tuning("prompt").prepare(model, lambda: prompt_of(model))

    with pytest.raises(ValueError, match=r"tuned for the prompt 'cat\. old dog'.*no other"):
        model.encode_text(model.text.tokenizer([Prompt(caption, ())]))


def test_a_tuned_prompt_may_stand_among_padding():
    model = built()
    Tuning("prompt").prepare(model, lambda: prompt_of(model))
    torch.nn.init.normal_(model.prompt.weight)
    tokens = model.text.tokenizer([Prompt("cat. old dog", ())])
    pad = torch.nn.functional.pad
    padded = type(tokens)(
        pad(tokens.ids, (0, 2)), pad(tokens.mask, (0, 2)), pad(tokens.offsets, (0, 0, 0, 2))
    )

    with torch.no_grad():
        longer, exact = model.encode_text(padded).hidden, model.encode_text(tokens).hidden

    torch.testing.assert_close(longer[:, : tokens.ids.shape[1]], exact)


def test_the_offsets_have_the_rate_and_decay_of_official_glip():
    model = built()
    Tuning("prompt").prepare(model, lambda: prompt_of(model))

    (group,) = OptimizerSettings().groups(model)

    assert (group["name"], group["lr"], group["weight_decay"]) == ("prompt", 0.05, 0.25)


def test_parts_may_have_rates_of_their_own():
    settings = OptimizerSettings(lr=1.0, fusion_lr=2.0, backbone_lr=3.0, text_lr=4.0)

    rates = {g["name"].partition("/")[0]: g["lr"] for g in settings.groups(built())}

    assert rates == {"backbone": 3.0, "text": 4.0, "fusion": 2.0, "head": 1.0}


def test_lower_layers_learn_slower_by_a_factor_each():
    text = TinyBert(d_text=64, num_layers=2)
    settings = OptimizerSettings(text_lr=1.0, layer_decay=0.5)
    names = {id(p): name for name, p in text.named_parameters(prefix="text")}
    rates = {}

    for group in settings.groups(torch.nn.ModuleDict({"text": text})):
        rates |= {names[id(p)]: group["lr"] for p in group["params"]}

    assert rates["text.bert.embeddings.word_embeddings.weight"] == 0.25
    assert rates["text.bert.encoder.layer.0.attention.self.query.weight"] == 0.5
    assert rates["text.bert.encoder.layer.1.output.dense.bias"] == 1.0


def test_blocks_of_a_swin_are_counted_from_above():
    above = layers_above(built(swin=True).backbone)

    assert above["patch_embed.proj.weight"] == 5
    assert above["layers.2.blocks.0.norm1.weight"] == 2
    assert above["layers.2.downsample.norm.weight"] == 1
    assert above["norm3.weight"] == 0


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["linear", "prompt", "lora"])
def test_every_mode_trains_saves_whole_weights_and_resumes(mode, shapes_arguments, tmp_path):
    arguments = [*shapes_arguments, f"--model.tuning.mode={mode}"]
    arguments += [
        "--trainer.limit_train_batches=1",
        "--trainer.limit_val_batches=1",
        "--trainer.gradient_clip_val=1",
    ]
    main(["fit", *arguments])
    path = tmp_path / "runs/run/version_0/checkpoints/last.ckpt"

    task = task_of(read_weights(str(path)))
    main(["fit", *arguments, f"--ckpt_path={path}", "--trainer.max_epochs=2"])

    assert isinstance(task, GroundingTask)
    assert not any("parametrizations" in name for name in task.state_dict())
