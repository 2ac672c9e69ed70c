import pytest
import torch
from torch import nn
from torch.autograd.graph import saved_tensors_hooks

from fusion_plugins.deep import DeepFusion
from fusion_plugins.late import LateFusion
from fusion_plugins.query import QueryFusion
from glip_pl.backbones import SwinBackbone
from glip_pl.commands.grounding_cli import GroundingCLI
from glip_pl.fusion import PyramidFeatures, TextFeatures
from glip_pl.layers.recompute import run_layer

PLUGINS = {
    DeepFusion: {"dropout": 0.5},
    LateFusion: {},
    QueryFusion: {"dropout": 0.5, "num_queries": 4},
}


def fused(plugin, *, checkpoint_layers):
    """Run two layers of a plugin in training; give the module and a loss."""
    torch.manual_seed(0)
    options = {**PLUGINS[plugin], "checkpoint_layers": checkpoint_layers}
    fusion = plugin(d_model=32, d_text=64, num_layers=2, **options).train()
    levels = tuple(torch.randn(2, 32, n, n, requires_grad=True) for n in (8, 4, 2))
    image = PyramidFeatures(levels, (8, 16, 32), torch.ones(2, 64, 64, dtype=torch.bool))
    text = TextFeatures(torch.randn(2, 5, 64), torch.ones(2, 5, dtype=torch.bool))
    output = fusion(fusion.prepare_image(image), text)
    regions = (output.regions, output.tokens, *output.intermediate)
    return fusion, sum(part.float().square().mean() for part in regions)


def encoded(*, checkpoint_blocks):
    """Run a small Swin in training; give the module and a loss."""
    torch.manual_seed(0)
    swin = SwinBackbone(
        *(12, (1, 2, 1, 1)),
        num_heads=(1, 2, 2, 2),
        window=4,
        drop_path=0.5,
        checkpoint_blocks=checkpoint_blocks,
    ).train()
    maps = swin(torch.randn(2, 3, 64, 64))
    return swin, sum(part.float().square().mean() for part in maps)


def saved_bytes(run):
    """Bytes that a forward pass keeps for the backward pass."""
    kept = {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        run()
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


def assert_same_training(plain, checkpointed):
    (plain, loss), (checkpointed, other_loss) = plain, checkpointed
    loss.backward()
    other_loss.backward()

    assert torch.equal(loss, other_loss)
    others = dict(checkpointed.named_parameters())
    for name, parameter in plain.named_parameters():
        assert torch.equal(parameter.grad, others[name].grad), name


@pytest.mark.parametrize("bf16", [False, True], ids=["fp32", "bf16"])
@pytest.mark.parametrize("plugin", PLUGINS, ids=lambda plugin: plugin.__name__)
def test_a_plugin_learns_the_same_whether_its_layers_are_kept_or_not(plugin, bf16):
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        plain, checkpointed = (fused(plugin, checkpoint_layers=c) for c in (False, True))

    assert_same_training(plain, checkpointed)


def test_a_swin_learns_the_same_whether_its_blocks_are_kept_or_not():
    assert_same_training(encoded(checkpoint_blocks=False), encoded(checkpoint_blocks=True))


@pytest.mark.parametrize("plugin", PLUGINS, ids=lambda plugin: plugin.__name__)
def test_a_plugin_whose_layers_are_not_kept_saves_less_than_a_quarter(plugin):
    plain, checkpointed = (
        saved_bytes(lambda keep=keep: fused(plugin, checkpoint_layers=not keep))
        for keep in (True, False)
    )

    assert checkpointed < plain / 4


def test_a_swin_whose_blocks_are_not_kept_saves_less_than_half():
    plain = saved_bytes(lambda: encoded(checkpoint_blocks=False))

    assert saved_bytes(lambda: encoded(checkpoint_blocks=True)) < plain / 2


class Counted(nn.Linear):
    calls = 0

    def forward(self, x):
        self.calls += 1
        return super().forward(x)


@pytest.mark.parametrize(("recompute", "calls"), [(False, 1), (True, 2)])
def test_a_layer_runs_again_in_the_backward_pass_where_asked(recompute, calls):
    layer = Counted(2, 2)

    run_layer(layer, torch.ones(1, 2), recompute=recompute).sum().backward()

    assert layer.calls == calls


def test_the_command_line_tells_the_plugin_to_checkpoint_its_layers(shapes_arguments):
    cli = GroundingCLI(
        [
            "fit",
            *shapes_arguments,
            "--model.checkpoint_layers=true",
            "--trainer.limit_train_batches=1",
            "--trainer.limit_val_batches=0",
        ]
    )

    assert cli.model.model.fusion.checkpoint_layers
