import subprocess
import sys
import textwrap

import pytest
import torch

from fusion_plugins.deep import DeepFusion
from fusion_plugins.late import LateFusion
from glip_pl.fusion import FusionOutput, FusionPlugin, PyramidFeatures, TextFeatures
from glip_pl.plugins import fusion_plugins
from glip_pl.testing import check_fusion_plugin


@pytest.mark.parametrize("plugin", fusion_plugins().values(), ids=fusion_plugins())
def test_every_installed_plugin_keeps_the_contract(plugin):
    check_fusion_plugin(plugin, num_layers=2)


def test_the_first_party_plugins_are_found_by_entry_point():
    assert {"late", "deep", "query"} <= set(fusion_plugins())


class Leaky(LateFusion):
    """Mixes the items of a batch."""

    def prepare_image(self, image):
        mixed = tuple(level + level.mean(0, keepdim=True) for level in image.levels)
        return PyramidFeatures(mixed, image.strides, image.mask)


class Unmasked(LateFusion):
    """Lets padding tokens through to the regions."""

    def forward(self, image, text):
        fused = super().forward(image, text)
        moved = fused.regions + text.hidden.mean((1, 2))[:, None, None]
        return FusionOutput(moved, fused.tokens, fused.priors, fused.level_sizes)


class Idle(LateFusion):
    """Has a parameter that nothing uses."""

    def __init__(self, **sizes):
        super().__init__(**sizes)
        self.unused = torch.nn.Parameter(torch.zeros(1))


@pytest.mark.parametrize(
    ("plugin", "message"),
    [
        (Leaky, "depend on the rest of the batch"),
        (Unmasked, "a masked token changes the regions"),
        (Idle, r"no gradient reaches the parameters \['unused'\]"),
    ],
)
def test_a_plugin_that_breaks_a_promise_is_told_which(plugin, message):
    with pytest.raises(AssertionError, match=message):
        check_fusion_plugin(plugin, num_layers=1)


def features(seed):
    generator = torch.Generator().manual_seed(seed)
    levels = tuple(torch.randn(1, 32, n, n, generator=generator) for n in (8, 4))
    image = PyramidFeatures(levels, (8, 16), torch.ones(1, 64, 64, dtype=torch.bool))
    hidden = torch.randn(1, 5, 64, generator=generator)
    return image, TextFeatures(hidden, torch.ones(1, 5, dtype=torch.bool))


@pytest.fixture
def gated():
    """Deep fusion with the exchange removed: its gates are zero."""
    torch.manual_seed(0)
    fusion = DeepFusion(d_model=32, d_text=64, num_layers=2).eval()
    with torch.no_grad():
        for exchange in fusion.exchange:
            for name, parameter in exchange.named_parameters():
                if name.endswith("gate"):
                    parameter.zero_()
    return fusion


def test_without_the_exchange_regions_do_not_depend_on_the_text(gated):
    image, text = features(0)
    _, other_text = features(1)

    assert torch.equal(gated(image, text).regions, gated(image, other_text).regions)


def test_without_the_exchange_tokens_do_not_depend_on_the_image(gated):
    image, text = features(0)
    other_image, _ = features(1)

    assert torch.equal(gated(image, text).tokens, gated(other_image, text).tokens)


def test_without_the_exchange_deep_fusion_is_the_same_layers_run_late(gated):
    image, text = features(0)

    levels, tokens = image.levels, text.hidden
    for exchange, block in zip(gated.exchange, gated.tower, strict=True):
        normed = [exchange.image_norm(level.permute(0, 2, 3, 1)) for level in levels]
        levels = block(tuple(level.permute(0, 3, 1, 2) for level in normed))
    for exchange, layer in zip(gated.exchange, gated.text_tower, strict=True):
        tokens = layer(exchange.text_norm(tokens), text.mask)

    fused = gated(image, text)
    late = torch.cat([level.flatten(2).transpose(1, 2) for level in levels], dim=1)
    torch.testing.assert_close(fused.regions, late, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(fused.tokens, tokens, atol=1e-5, rtol=1e-5)


def test_with_the_exchange_regions_depend_on_the_text():
    torch.manual_seed(0)
    fusion = DeepFusion(d_model=32, d_text=64, num_layers=2).eval()
    image, text = features(0)
    _, other_text = features(1)

    change = fusion(image, text).regions - fusion(image, other_text).regions
    assert change.abs().max() > 1e-3


PLUGIN = """
from glip_pl.layers.anchors import cell_anchors
from glip_pl.fusion import FusionOutput, FusionPlugin
from torch import nn


class MeanFusion(FusionPlugin):
    def __init__(self, *, d_model: int, d_text: int) -> None:
        super().__init__()
        self.d_token = d_text
        self.text_to_image = nn.Linear(d_text, d_model)

    def forward(self, image, text):
        weight = text.mask[..., None].float()
        mean = (text.hidden * weight).sum(1, keepdim=True) / weight.sum(1, keepdim=True)
        cells = [level.flatten(2).transpose(1, 2) for level in image.levels]
        regions = [cell + self.text_to_image(mean) for cell in cells]
        priors = cell_anchors(image.levels, image.strides)
        sizes = tuple(cell.shape[1] for cell in cells)
        import torch

        return FusionOutput(
            torch.cat(regions, 1), text.hidden, priors.expand(len(mean), -1, -1), sizes
        )
"""

PROGRAM = """
import sys
sys.path[:0] = sys.argv[1:3]
from glip_pl.commands.grounding_cli import GroundingCLI
from glip_pl.plugins import fusion_plugins
from glip_pl.testing import check_fusion_plugin

check_fusion_plugin(fusion_plugins()["mean"])
cli = GroundingCLI(["fit", "--model.fusion=MeanFusion", *sys.argv[3:]])
assert type(cli.model.model.fusion).__name__ == "MeanFusion"
"""


@pytest.mark.slow
def test_a_plugin_of_another_distribution_is_found_and_trains(tmp_path, shapes_arguments):
    package = tmp_path / "package"
    metadata = package / "mean_fusion-1.0.dist-info"
    metadata.mkdir(parents=True)
    (package / "mean_fusion.py").write_text(PLUGIN)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: mean-fusion\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[glip_pl.fusion]\nmean = mean_fusion:MeanFusion\n")
    program = tmp_path / "program.py"
    program.write_text(textwrap.dedent(PROGRAM))

    done = subprocess.run(
        [sys.executable, program, package, tmp_path, *shapes_arguments, "--trainer.max_steps=2"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )

    assert done.returncode == 0, done.stderr[-3000:]


def test_an_entry_point_that_is_no_plugin_is_refused(monkeypatch):
    from importlib.metadata import EntryPoint

    entry = EntryPoint("wrong", "glip_pl.boxes:clip", "glip_pl.fusion")
    monkeypatch.setattr("glip_pl.plugins.registered", lambda group: [entry])

    with pytest.raises(TypeError, match=r"entry point wrong = glip_pl\.boxes:clip"):
        fusion_plugins()


def test_a_plugin_must_say_how_it_fuses():
    with pytest.raises(TypeError, match="abstract"):
        FusionPlugin()
