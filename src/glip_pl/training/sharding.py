"""Sharding: parameters, gradients and moments of a model dealt to processes (FSDP2).

Each part of the network is gathered when it computes and dealt again after it, so that a process
holds one part whole, and its share of the others. For models that are too large for one device;
name Lightning's ModelParallelStrategy, as the recipe fsdp2 does.
"""

from collections.abc import Sequence

from pytorch_lightning import Callback
from pytorch_lightning.callbacks import WeightAveraging
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor

from glip_pl.model import GLIP

# What is called beside `forward`, and needs parameters.
_OF_THE_MODEL = ("encode_image", "encode_text", "with_prompt", "ground")


def shard(model: GLIP, mesh: DeviceMesh, *beside: nn.Module) -> None:
    """Deal out the parameters of a network, part by part.

    Args:
        model: The network, on whatever device.
        mesh: The processes that share it.
        beside: Modules that learn beside it.
    """
    for part in (model.backbone, model.fpn, model.text, model.fusion, model.head, *beside):
        if any(parameter.requires_grad for parameter in part.parameters()):
            fully_shard(part, mesh=mesh)
    register_fsdp_forward_method(model.fusion, "prepare_image")
    fully_shard(model, mesh=mesh)
    for name in _OF_THE_MODEL:
        register_fsdp_forward_method(model, name)


def refuse_averages(callbacks: Sequence[Callback]) -> None:
    """Refuse averaged weights, which copy the whole model.

    Raises:
        ValueError: A callback averages.
    """
    averaging = [type(c).__name__ for c in callbacks if isinstance(c, WeightAveraging)]
    if averaging:
        raise ValueError(
            f"{averaging[0]} keeps a copy of the whole model, which FSDP2 deals out to processes; "
            "leave the recipe ema out, or take pretrain.yaml without this callback"
        )


def gather(model: GLIP) -> None:
    """Keep all parameters whole until `deal`: processes evaluate different numbers of batches.

    A part that is gathered for a batch would wait for processes that have no batch left.
    """
    for part in _dealt(model):
        part.set_reshard_after_forward(False, recurse=False)
        part.unshard()


def deal(model: GLIP) -> None:
    """Deal the parameters out again."""
    for part in _dealt(model):
        part.set_reshard_after_forward(True, recurse=False)
        part.reshard()


def _dealt(model: GLIP) -> list[FSDPModule]:
    return [part for part in model.modules() if isinstance(part, FSDPModule)]


def whole(value: Tensor) -> Tensor:
    """Return a value that is dealt to processes as one tensor, and any other as it is."""
    return value.full_tensor() if isinstance(value, DTensor) else value
