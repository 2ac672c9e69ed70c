"""Ways to write names, and what a model that reads each name alone makes of them."""

from functools import partial

import pytest
import torch
from helpers import write_coco

from fusion_plugins.late import LateFusion
from glip_pl.audit import variants_of
from glip_pl.audit.run import ENSEMBLE, Auditor
from glip_pl.audit.variants import plural, with_article
from glip_pl.backbones import FPN, TinyBackbone
from glip_pl.data import CategoryDetection
from glip_pl.data.datasets.samples import SampleContext
from glip_pl.inference.ensemble import join_prompts
from glip_pl.inference.postprocess import PostProcess
from glip_pl.model import GLIP
from glip_pl.structures import Detections
from glip_pl.text import ClassEmbedding


@pytest.mark.parametrize(
    ("name", "expected"), [("cat", "cats"), ("berry", "berries"), ("bus", "buses"), ("toy", "toys")]
)
def test_plurals_follow_the_common_rules(name, expected):
    assert plural(name) == expected


def test_articles_follow_the_sound():
    assert (with_article("apple"), with_article("red apple")) == ("an apple", "a red apple")


def test_every_variant_answers_for_every_name():
    variants = variants_of(["cat", "red_bus"], distractors=["kite", "cat"])

    for variant in variants:
        assert sorted(a for a in variant.answers if a >= 0) == [0, 1]
    assert variants[0].words == ("cat", "red bus")
    assert "kite" in variants[-1].words
    assert variants[-1].words.count("cat") == 1


def test_an_ensemble_gives_the_mean_score_of_the_prompts():
    box = torch.tensor([[0.0, 0.0, 10.0, 10.0]])
    sure, unsure = (Detections(box, torch.tensor([s]), torch.tensor([0])) for s in (0.8, 0.4))
    none = Detections(box[:0], torch.zeros(0), torch.zeros(0).long())

    joined = join_prompts([sure, unsure, none], PostProcess())

    assert joined.scores.tolist() == pytest.approx([0.4])


def test_a_model_that_reads_each_name_alone_does_not_mind_their_order(tmp_path):
    names = {1: "cat", 2: "dog", 3: "cow"}
    boxes = {"a.png": [(1, (2, 3, 20, 20)), (3, (30, 5, 20, 30))]}
    write_coco(tmp_path, boxes, names=names)
    dataset = CategoryDetection("annotations/train.json")
    text = ClassEmbedding(list(names.values()), d_text=32)
    dataset.load(tmp_path)
    samples = dataset.samples(SampleContext(text.tokenizer))
    torch.manual_seed(0)
    fusion = LateFusion(d_model=32, d_text=32, num_layers=1)
    model = GLIP(
        TinyBackbone(16), text, fusion=fusion, d_model=32, neck=partial(FPN, extra_levels=0)
    ).eval()
    torch.nn.init.zeros_(model.head.prior_bias)
    orders = [v for v in variants_of(dataset.names) if v.name in ("as given", "order 1", "order 2")]
    auditor = Auditor(model, dataset, orders)

    auditor.add(samples[0])

    report = auditor.report()
    assert report["spread"] == pytest.approx(0, abs=1e-6)
    assert all(share == 0 for name, share in report["flips"].items() if name != ENSEMBLE)
    assert set(report["classes"]) == {"cat", "dog", "cow"}
