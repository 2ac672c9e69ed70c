import pytest
import torch

timm = pytest.importorskip("timm", reason="timm is not installed")

from glip_pl.backbones import TimmBackbone  # noqa: E402


@pytest.fixture
def weights(tmp_path):
    torch.manual_seed(0)
    network = timm.create_model("convnext_atto", pretrained=False).eval()
    path = tmp_path / "convnext_atto.pth"
    torch.save(network.state_dict(), path)
    return network, path


def test_maps_are_those_of_the_network_with_its_weights(weights):
    network, path = weights
    backbone = TimmBackbone("convnext_atto", str(path)).eval()
    images = torch.randn(1, 3, 64, 96)

    with torch.no_grad():
        maps = backbone(images)
        last = network.forward_features(images)

    assert [tuple(m.shape[1:]) for m in maps] == [(80, 8, 12), (160, 4, 6), (320, 2, 3)]
    assert backbone.channels == (80, 160, 320)
    assert torch.allclose(network.norm_pre(maps[-1]), last, atol=1e-5)


def test_pixels_are_normalised_as_timm_does():
    assert TimmBackbone("resnet18").pixel_mean.flatten().tolist() == pytest.approx(
        [123.675, 116.28, 103.53]
    )


def test_what_does_not_fit_is_named_tensor_by_tensor(weights, tmp_path):
    network, _ = weights
    state = network.state_dict()
    del state["stem.0.bias"]
    state["stages.0.blocks.0.mlp.fc1.bias"] = torch.zeros(3)
    torch.save({**state, "surplus": torch.zeros(1)}, tmp_path / "other.pth")

    with pytest.raises(ValueError, match=r"lacks stem.0\.bias.*surplus.*fc1\.bias is \[3\]"):
        TimmBackbone("convnext_atto", str(tmp_path / "other.pth"))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("convnet_tiny", "timm has no network 'convnet_tiny'; near it are conv"),
        ("vit_tiny_patch16_224", r"cannot use 'vit_tiny_patch16_224'.*\[16, 16"),
    ],
)
def test_a_network_that_cannot_serve_is_refused(name, message):
    with pytest.raises(ValueError, match=message):
        TimmBackbone(name)
